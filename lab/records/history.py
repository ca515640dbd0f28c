"""The one record of a run: an append-only JSONL file, the same schema on all backends. Owns the record types and their
codec; knows nothing of backends, probes or plots.

The first line is a `Meta`, every other line one of the other records; `kind` tells them apart. Times (`t`) are
integer nanoseconds since the start of the run. Checks, figures and the report are pure functions of such a file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from lab.errors import Unreadable

SCHEMA = 1


class Record(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """Base of all records: the time."""

    t: int


class Meta(Record, frozen=True, kw_only=True, tag="meta"):
    """What was run, and on what. `scenario` is the resolved scenario; `machine` has cores, kernel, memory."""

    schema: int = SCHEMA
    scenario: dict[str, Any]
    backend: str
    seed: int
    version: str
    started: str
    """Wall-clock start, ISO 8601 with zone; empty in simulated runs (which have none)."""
    machine: dict[str, Any] = {}
    kept_from: int = 0
    """From this time on the history is complete; of earlier records only steps, stops of peers, and each host's last
    view are kept (`lab.records.bounded`)."""


class Event(Record, frozen=True, kw_only=True, tag="event"):
    """An action, or an expectation that was judged.

    `what`: up launch connect run partition heal kill restart scale exec expect down. A step that takes time writes two
    events of the same `step`, `phase` start and end; a fault's `end` is written when it is healed.
    """

    step: int
    what: str
    phase: Literal["start", "end", "point"] = "point"
    ok: bool | None = None
    detail: dict[str, Any] = {}
    """Data for readers. Keys with a meaning for checkers and plots, each optional:

    - `hosts`: list of hosts that the step affects (launched, killed, restarted …);
    - `replicas`: {replica: host}, where every service replica runs from now on (the whole map, not a change);
    - `addresses`: {replica: overlay address}, the whole map, next to `replicas`;
    - `unjudged`: replicas that `replicas` no longer contains are not judged any more;
    - `label`: the step in a few words, such as `partition orion | macbook`; `expect`: the expectation in words;
    - `within`: its deadline (ns); `took`: duration of a step or an expectation (ns); `error`: why it failed;
    - `samples`: the last samples of a failed expectation (as dicts).
    """
    groups: tuple[tuple[str, ...], ...] = ()
    """Hosts that can reach each other from now on (a partition of all live hosts), if this event changed it."""


class Sample(Record, frozen=True, kw_only=True, tag="sample"):
    """One try of a probe. `t` is when it was due (not when it was answered)."""

    probe: str
    """Kind of probe: http, icmp, dns, or one of another package (`lab.kinds.probes`)."""
    source: str
    """Name of the service replica that sent it, such as `svc1` or `files-2`."""
    target: str
    """Name of the target replica; for dns: the name to resolve."""
    ok: bool
    latency: int | None = None
    """Nanoseconds from sending to the complete answer; None if there was none."""
    error: str = ""
    answers: tuple[str, ...] = ()
    """For dns: addresses, sorted."""
    measured: dict[str, int] = {}
    """Measurements besides time (`lab.kinds.probes`): `jitter` (ns), `sent` and `lost` (packets), `throughput` (bits
    per second)."""
    late: int = 0
    """Nanoseconds between due and sent (the prober's own scheduling delay)."""


class View(Record, frozen=True, kw_only=True, tag="view"):
    """The view of one peer from this moment on. Digests are hex; equal digests mean equal views."""

    host: str
    peer: str
    topology: str
    """Digest of the records of all peers that it can reach."""
    ring: str
    dns: str
    """Digest of its DNS entries."""
    endpoints: str
    reachable: int
    """Number of peers that it can reach, including itself."""
    neighbours: tuple[str, ...] = ()
    """Host names (nicknames) of the peers with which it has an established connection, sorted."""
    ring_share: float = 0.0
    """Share of the address range that it owns, 0 to 1."""
    sent_bytes: int = 0
    sent_messages: int = 0


class PeerGone(Record, frozen=True, kw_only=True, tag="gone"):
    """A host's peer stopped or died; it has no view until its next `View`."""

    host: str
    asked: bool = False
    """It stopped gracefully, on request."""


class Load(Record, frozen=True, kw_only=True, tag="load"):
    """Load of the machine: fraction of all cores used since the previous record, and the 1-minute load average."""

    cpu: float
    loadavg: float


class LinkUse(Record, frozen=True, kw_only=True, tag="link"):
    """Counters of one relayed direction of the underlay under one link, until the link is changed or the run ends."""

    sender: str
    receiver: str
    asked: dict[str, Any]
    """Parameters of `lab.links.Link` that differ from a perfect link."""
    lasted: int
    """Nanoseconds for which the link was in force, up to `t`."""
    packets: int
    lost: int = 0
    """Packets dropped on purpose: by loss, or because the queue of the rate limit was full."""
    duplicated: int = 0
    corrupted: int = 0
    cut: int = 0
    """Packets in flight when the direction was cut."""
    failed: int = 0
    """Packets that could not be delivered."""
    held_p50: int = 0
    """Transit time of packets in nanoseconds."""
    held_p99: int = 0
    late_p50: int = 0
    """Nanoseconds by which packets left too late."""
    late_p99: int = 0
    overruns: int = 0
    """Packets of any direction that the relay dropped for lack of buffer; only in the first record of a moment."""


class RunFigure(Record, frozen=True, kw_only=True, tag="figure"):
    """A number computed at the end of a run of a protocol overlay (`lab.sim.group`)."""

    name: str
    """For example `first_detection_mean`."""
    value: float
    unit: str = ""


AnyRecord = Meta | Event | Sample | View | PeerGone | Load | LinkUse | RunFigure

_decoder = msgspec.json.Decoder(AnyRecord)
_encoder = msgspec.json.Encoder()


def encode(record: AnyRecord) -> bytes:
    """Encode a record as one line, with its newline."""
    return _encoder.encode(record) + b"\n"


def decode(line: bytes) -> AnyRecord:
    """Decode one line; raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    record: AnyRecord = _decoder.decode(line)
    return record


class Writer:
    """Appends records to a file, line by line, and flushes each, so that a killed run keeps its records."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, record: AnyRecord) -> None:
        self._file.write(encode(record))
        self._file.flush()


def read(path: Path) -> Iterator[AnyRecord]:
    """All records of a file, in order; raises `Unreadable`. A truncated last line (the run was killed) is skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                continue
            try:
                record = decode(line)
            except (msgspec.MsgspecError, RecursionError, ValueError) as error:
                raise Unreadable(
                    f"{path}:{number}: no line of a history of this version ({error}): it was changed, or another "
                    "version wrote it"
                ) from None
            yield record

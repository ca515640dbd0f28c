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
    """Base of all lines: when it happened."""

    t: int


class Meta(Record, frozen=True, kw_only=True, tag="meta"):
    """What was run, on what. `scenario` is the resolved scenario; `machine` says cores, kernel, memory."""

    schema: int = SCHEMA
    scenario: dict[str, Any]
    backend: str
    seed: int
    version: str
    started: str
    """Wall-clock start, ISO 8601 with zone; empty in simulated runs (which have none)."""
    machine: dict[str, Any] = {}
    kept_from: int = 0
    """From here on the history is whole; of what was before, only steps and ends of peers are left, and each host's
    last view (`lab.records.bounded`)."""


class Event(Record, frozen=True, kw_only=True, tag="event"):
    """Something that was done, or an expectation that was judged.

    `what`: up launch connect run partition heal kill restart scale exec expect down. A step that takes time writes
    two events of the same `step`, `phase` start and end; a fault's `end` is written when it is healed.
    """

    step: int
    what: str
    phase: Literal["start", "end", "point"] = "point"
    ok: bool | None = None
    detail: dict[str, Any] = {}
    """What a reader needs to know. Keys with a meaning for checkers and plots, each optional:

    - `hosts`: list of hosts that the step is about (launched, killed, restarted …);
    - `replicas`: {replica: host}, where every service replica runs from now on (the whole map, not a change);
    - `addresses`: {replica: overlay address}, the whole map, besides `replicas`;
    - `unjudged`: nothing is demanded of the replicas that `replicas` does not name any more;
    - `label`: the step in a few words, as `partition orion | macbook`; `expect`: the expectation in words;
    - `within`: its deadline (ns); `took`: what a step or an expectation needed (ns); `error`: why it failed;
    - `samples`: the last samples of a failed expectation (as dicts).
    """
    groups: tuple[tuple[str, ...], ...] = ()
    """Hosts that can reach each other from now on (a partition of all live hosts), when this event changed it."""


class Sample(Record, frozen=True, kw_only=True, tag="sample"):
    """One probe, one try. `t` is when it was due (not when it was answered)."""

    probe: str
    """Its kind: http, icmp, dns, or one of another package (`lab.kinds.probes`)."""
    source: str
    """Name of the service replica that asked, as `svc1` or `files-2`."""
    target: str
    """Name of the replica asked; for dns: the name asked for."""
    ok: bool
    latency: int | None = None
    """Nanoseconds from sending to the whole answer; None when there was none."""
    error: str = ""
    answers: tuple[str, ...] = ()
    """For dns: addresses, sorted."""
    measured: dict[str, int] = {}
    """What the try measured besides its time (`lab.kinds.probes`): `jitter` (ns), `sent` and `lost` (packets),
    `throughput` (bits per second)."""
    late: int = 0
    """Nanoseconds between due and sent (the prober's own scheduling delay)."""


class View(Record, frozen=True, kw_only=True, tag="view"):
    """What one peer believed from this moment on. Digests are hex; equal digests mean equal views."""

    host: str
    peer: str
    topology: str
    """Of the records of all peers that it can reach."""
    ring: str
    dns: str
    """Of the DNS entries that it would answer with."""
    endpoints: str
    reachable: int
    """How many peers it can reach, itself included."""
    neighbours: tuple[str, ...] = ()
    """Host names (nicknames) of the peers with which it has an established connection, sorted."""
    ring_share: float = 0.0
    """Part of the address range that it owns, 0 to 1."""
    sent_bytes: int = 0
    sent_messages: int = 0


class PeerGone(Record, frozen=True, kw_only=True, tag="gone"):
    """A host's peer stopped or died; it has no view until its next `View`."""

    host: str
    asked: bool = False
    """It said farewell, because somebody told it to end."""


class Load(Record, frozen=True, kw_only=True, tag="load"):
    """How busy the machine was: fraction of all cores used since the record before, and the 1-minute load."""

    cpu: float
    loadavg: float


class LinkUse(Record, frozen=True, kw_only=True, tag="link"):
    """What a relayed direction of the underlay did under one link, which has been changed or ends with the run."""

    sender: str
    receiver: str
    asked: dict[str, Any]
    """Parameters of `lab.links.Link` that are not those of a perfect one."""
    lasted: int
    """Nanoseconds for which the link held, up to `t`."""
    packets: int
    lost: int = 0
    """On purpose: by loss, or because the queue of the rate was full."""
    duplicated: int = 0
    corrupted: int = 0
    cut: int = 0
    """Were under way when the direction was cut."""
    failed: int = 0
    """Could not be delivered."""
    held_p50: int = 0
    """Nanoseconds that packets were under way."""
    held_p99: int = 0
    late_p50: int = 0
    """Nanoseconds by which they left later than they should have."""
    late_p99: int = 0
    overruns: int = 0
    """Packets of any direction for which the relay had no room; in the first record of a moment."""


class RunFigure(Record, frozen=True, kw_only=True, tag="figure"):
    """A number that a run came to, at its end: of an overlay that is a protocol (`lab.sim.group`)."""

    name: str
    """As `first_detection_mean`."""
    value: float
    unit: str = ""


AnyRecord = Meta | Event | Sample | View | PeerGone | Load | LinkUse | RunFigure

_decoder = msgspec.json.Decoder(AnyRecord)
_encoder = msgspec.json.Encoder()


def encode(record: AnyRecord) -> bytes:
    """One line, with its newline."""
    return _encoder.encode(record) + b"\n"


def decode(line: bytes) -> AnyRecord:
    """The record of one line; raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    record: AnyRecord = _decoder.decode(line)
    return record


class Writer:
    """Appends records to a file, line by line, flushed as they come so that a killed run keeps what it had."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, record: AnyRecord) -> None:
        self._file.write(encode(record))
        self._file.flush()


def read(path: Path) -> Iterator[AnyRecord]:
    """All records of a file, in order; raises `Unreadable`. A torn last line (the run was killed) is left out."""
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

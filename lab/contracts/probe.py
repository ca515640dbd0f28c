"""Commands to a probe agent, how probes are spread over time, and the parts from which a kind of probe builds its
tries.

Pure; the agent's answers are `Sample` lines.

A command is one JSON line: `{"add": [Probe…]}`, `{"remove": [[probe, source, target]…]}`, `{"stop": true}`, or any
combination (removals first). An added probe replaces the one with the same key; this is how an agent learns that a
container is back with another pid.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Literal, Protocol, TypeVar
from zlib import crc32

import msgspec
from msgspec import Struct

from lab.contracts.lab import Probe

__all__ = [
    "AgentCommand",
    "Attempt",
    "Closable",
    "Done",
    "Key",
    "Poller",
    "SharedByTries",
    "SimulatedTry",
    "decode_command",
    "encode_command",
    "first_due",
    "key_of",
    "phase_of",
    "seeded_phase",
]

T = TypeVar("T", bound="Closable")

Key = tuple[str, str, str]
"""(probe, source, target): identifies a series."""


class AgentCommand(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of an agent's standard input."""

    add: tuple[Probe, ...] = ()
    remove: tuple[Key, ...] = ()
    stop: bool = False


_decoder = msgspec.json.Decoder(AgentCommand)


def encode_command(command: AgentCommand) -> bytes:
    """One line, with its newline."""
    return msgspec.json.encode(command) + b"\n"


def decode_command(line: bytes) -> AgentCommand:
    """The command of one line; raises `msgspec.DecodeError` or `msgspec.ValidationError` (its subclass)."""
    return _decoder.decode(line)


def key_of(probe: Probe) -> Key:
    """The series of a probe."""
    return (probe.probe, probe.source, probe.target)


def phase_of(probe: Probe) -> int:
    """Nanoseconds in [0, every): when in its interval a probe is due.

    Without an explicit phase it is derived from the name, so that a host's probes spread evenly.
    """
    if probe.first:
        return probe.first % probe.every
    return crc32("\0".join(key_of(probe)).encode()) * probe.every >> 32


def seeded_phase(seed: int, key: Key, every: int) -> int:
    """A phase in [1, every] for this series in runs with this seed.

    Phases of different seeds and series are independent: if an event always occurred at the same phase of a probe's
    interval, the time until the probe detects it would be the same in all runs.
    """
    digest = blake2b("\0".join((str(seed), *key)).encode(), digest_size=8).digest()
    return 1 + (int.from_bytes(digest, "big") * every >> 64)


def first_due(probe: Probe, now: int) -> int:
    """The first time at or after `now` on the probe's grid: the clock is `phase_of(probe)` modulo `every`.

    The grid depends on the clock and not on the time of the command, so that a series that is replaced, or moved to
    another agent of the same machine, continues without a shift.
    """
    return now + (phase_of(probe) - now) % probe.every


# Parts of tries on real hosts (`ProbeKind.attempt`)


class Closable(Protocol):
    """A resource that the tries of a container share."""

    def close(self) -> None:
        """Release it; idempotent."""
        ...


class Poller(Protocol):
    """Event registration for tries."""

    def watch(self, fd: int, mask: int, ready: Callable[[], None]) -> None:
        """Call `ready` whenever the descriptor is ready (epoll's masks)."""
        ...

    def change(self, fd: int, mask: int) -> None:
        """Change the events of a descriptor."""
        ...

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor; call before closing it."""
        ...

    def call_at(self, when: int, ready: Callable[[], None]) -> None:
        """Call `ready` at `when` on the agent's clock, or soon after; the callback checks if it is still needed."""
        ...


class SharedByTries(Protocol):
    """Resources that the tries of one container share."""

    def once(self, key: object, make: Callable[[int, int, Poller], T]) -> T:
        """The object with this key in the container's namespace; or a new one from `make(number, secret, poller)`."""
        ...


class Attempt(Protocol):
    """One try of one probe: the agent owns its schedule and its deadline, the try its sockets (`lab.probes.tries`)."""

    probe: Probe
    due: int
    number: int
    """Running number in its agent; identifies the try on the wire."""
    sent: int
    over: bool

    def start(self, poller: Poller, done: "Done") -> None:
        """Create the socket and send, in the container's namespace; raises `OSError`."""
        ...

    def close(self) -> None:
        """Release everything; idempotent."""
        ...


Done = Callable[[Attempt, bool, str, tuple[str, ...]], None]
"""(try, ok, error, answers): called once, unless the try is closed before."""


class SimulatedTry(Protocol):
    """One try on a simulated host (`ProbeKind.simulate`), which calls one of these methods. Sizes are bytes."""

    probe: Probe

    def exchange(
        self, there: int, back: int, *, port: int = 0, protocol: Literal["tcp", "udp", "icmp"] | None = None
    ) -> None:
        """One packet there and one back; port 0 means ICMP. Successful when the reply arrives in time."""
        ...

    def connect(self, there: int = 0, back: int = 0, *, serving: int = 0) -> None:
        """A TCP connection to the probe's port, a request and its response, which takes `serving` ns to produce."""
        ...

    def resolve(self) -> None:
        """Resolve the probe's target as a name at the host's name server."""
        ...

    def train(self, packets: int, gap: int, size: int) -> None:
        """Datagrams to the probe's port and their replies, `gap` nanoseconds apart (`lab.probes.train`)."""
        ...

    def transfer(self, size: int) -> None:
        """A TCP connection to the probe's port, `size` bytes, and the acknowledgement of their arrival."""
        ...

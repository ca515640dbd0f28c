"""What the lab says to a probe agent, how it spreads probes over time, and what a kind of probe makes its tries with.

Pure; the agent's answers are `Sample` lines.

A command is one JSON line: `{"add": [Probe…]}`, `{"remove": [[probe, source, target]…]}`, `{"stop": true}`, or any of
them together (removals first). An added probe replaces the one with the same key, which is how an agent learns that
a container has come back under another pid.
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
"""(probe, source, target): what makes two probes the same series."""


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
    """The series that a probe belongs to."""
    return (probe.probe, probe.source, probe.target)


def phase_of(probe: Probe) -> int:
    """Nanoseconds in [0, every): where in its interval a probe is due.

    Without a phase of its own it gets one from its name, so that a host's probes spread evenly.
    """
    if probe.first:
        return probe.first % probe.every
    return crc32("\0".join(key_of(probe)).encode()) * probe.every >> 32


def seeded_phase(seed: int, key: Key, every: int) -> int:
    """A phase in [1, every] for this series in runs of this seed.

    Phases of different seeds and series have nothing to do with each other: if an event always met a probe at the same
    place of its interval, then the time until the probe sees the event would be the same in all runs.
    """
    digest = blake2b("\0".join((str(seed), *key)).encode(), digest_size=8).digest()
    return 1 + (int.from_bytes(digest, "big") * every >> 64)


def first_due(probe: Probe, now: int) -> int:
    """The first moment not before `now` that lies on the probe's grid: the clock is `phase_of(probe)` modulo `every`.

    The grid hangs on the clock and not on the moment of the command, so that a series that is replaced, or moved to
    another agent of the same machine, goes on without a shift.
    """
    return now + (phase_of(probe) - now) % probe.every


# What tries on real hosts are made with (`ProbeKind.attempt`)


class Closable(Protocol):
    """Something of a container that its tries share."""

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...


class Poller(Protocol):
    """Where a try says what it waits for."""

    def watch(self, fd: int, mask: int, ready: Callable[[], None]) -> None:
        """Call `ready` whenever the descriptor is (epoll's masks)."""
        ...

    def change(self, fd: int, mask: int) -> None:
        """Wait for something else of a descriptor."""
        ...

    def forget(self, fd: int) -> None:
        """Wait for nothing of it any more; before it is closed."""
        ...

    def call_at(self, when: int, ready: Callable[[], None]) -> None:
        """Call `ready` when the agent's clock shows `when`, or soon after; it checks whether it is still wanted."""
        ...


class SharedByTries(Protocol):
    """What the tries of one container share."""

    def once(self, key: object, make: Callable[[int, int, Poller], T]) -> T:
        """What was made under this key in the container's namespace; made now with (number, secret, poller) if none."""
        ...


class Attempt(Protocol):
    """One try of one probe: the agent has its schedule and its deadline, the try its sockets (`lab.probes.tries`)."""

    probe: Probe
    due: int
    number: int
    """Running number in its agent; identifies the try on the wire."""
    sent: int
    over: bool

    def start(self, poller: Poller, done: "Done") -> None:
        """Make the socket and send, within the container's namespace; raises `OSError`."""
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...


Done = Callable[[Attempt, bool, str, tuple[str, ...]], None]
"""(try, ok, error, answers): to be called once, unless it is closed before."""


class SimulatedTry(Protocol):
    """One try on a simulated host (`ProbeKind.simulate`), of which one method is called. Sizes are bytes."""

    probe: Probe

    def exchange(
        self, there: int, back: int, *, port: int = 0, protocol: Literal["tcp", "udp", "icmp"] | None = None
    ) -> None:
        """One packet there and one back; port 0 is ICMP. Good when the answer comes in time."""
        ...

    def connect(self, there: int = 0, back: int = 0, *, serving: int = 0) -> None:
        """A TCP connection to the probe's port, a request and its answer, which takes `serving` ns to make."""
        ...

    def resolve(self) -> None:
        """The probe's target as a name, asked of the host's name server."""
        ...

    def train(self, packets: int, gap: int, size: int) -> None:
        """Datagrams to the probe's port and their answers, `gap` nanoseconds apart (`lab.probes.train`)."""
        ...

    def transfer(self, size: int) -> None:
        """A TCP connection to the probe's port, `size` bytes, and the answer that they are there."""
        ...

"""What the lab says to a probe agent and how it spreads probes over time. Pure; the agent's answers are `Sample` lines.

A command is one JSON line: `{"add": [Probe…]}`, `{"remove": [[probe, source, target]…]}`, `{"stop": true}`, or any of
them together (removals first). An added probe replaces the one with the same key, which is how an agent learns that
a container has come back under another pid.
"""

from zlib import crc32

import msgspec
from msgspec import Struct

from lab.contracts.lab import Probe

__all__ = ["AgentCommand", "Key", "decode_command", "encode_command", "first_due", "key_of", "phase_of"]

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

    Without a phase of its own it gets one from its name, so that a lab's probes spread evenly, the same in every run.
    """
    if probe.first:
        return probe.first % probe.every
    return crc32("\0".join(key_of(probe)).encode()) * probe.every >> 32


def first_due(probe: Probe, now: int) -> int:
    """The first moment not before `now` that lies on the probe's grid: the clock is `phase_of(probe)` modulo `every`.

    The grid hangs on the clock and not on the moment of the command, so that a series that is replaced, or moved to
    another agent of the same machine, goes on without a shift.
    """
    return now + (phase_of(probe) - now) % probe.every

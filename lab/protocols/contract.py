"""What a protocol class is told and what it answers: the inputs and effects between it and the simulator.

Owns the vocabulary and what a class must have to be a protocol. It is the contract of `overlay.node` (`handle(input,
now)`, `deadline()`), in the words of a protocol whose members are known by their names. Knows no protocol.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from overlay.effects import Effect
from overlay.env import Random
from overlay.inputs import Input

__all__ = [
    "Believe",
    "Broken",
    "Delivered",
    "Farewell",
    "HangUp",
    "Joined",
    "Measure",
    "Published",
    "Received",
    "Send",
    "SimulatedProtocol",
    "why_no_protocol",
]


# --- inputs -----------------------------------------------------------------------------------------------------


class Joined(Input, frozen=True):
    """Somebody told this member of others (a `connect` step): join the group through them. May come again."""

    seeds: tuple[str, ...]


class Received(Input, frozen=True):
    """A message of another member, as the object that was sent; it must not be changed."""

    sender: str
    message: Any
    reliable: bool = False
    """It came over a connection."""


class Broken(Input, frozen=True):
    """The connection with a member cannot be made, or has ended; what was sent on it last may be lost."""

    peer: str
    reason: str


class Published(Input, frozen=True):
    """The application (a `publish` step) wants every member to get a message. `size`: bytes of its payload."""

    id: str
    size: int


class Farewell(Input, frozen=True):
    """This member leaves in good order: what is sent now still goes out, and nothing later."""


# --- effects ----------------------------------------------------------------------------------------------------


class Send(Effect, frozen=True):
    """Send a message (a msgspec struct) to a member: in one datagram, which may be lost; or, `reliable`, on the
    connection with it, which is made if there is none, and ends in `Broken` if it cannot be.

    `size`: bytes of the message on the wire; 0: what it has in MessagePack. A payload message has an `id` and a `size`
    of its own, which counts on top (`SimulatedProtocol.payloads`).
    """

    to: str
    message: Any
    reliable: bool = False
    size: int = 0


class HangUp(Effect, frozen=True):
    """End the connection with a member behind what was sent; it gets `Broken`, we do not."""

    peer: str


class Delivered(Effect, frozen=True):
    """The application here has got the message of this id, for the first time."""

    id: str


class Believe(Effect, frozen=True):
    """What this member believes from now on, itself never included. Replaces what it said before."""

    members: tuple[str, ...] = ()
    """Who is in the group, as far as it knows (of a class with `partial`: ignored)."""
    neighbours: tuple[str, ...] = ()
    """With whom it talks."""
    suspects: tuple[str, ...] = ()
    """Of `members`: those that it takes for failed, but not yet for gone."""
    tree: tuple[str, ...] = ()
    """Of `neighbours`: those to which payload is sent at once."""


class Measure(Effect, frozen=True):
    """A number of the protocol's own; its mean, greatest and count become figures of the run."""

    name: str
    value: float


# --- a protocol -------------------------------------------------------------------------------------------------


class SimulatedProtocol(Protocol):
    """One member's life: made when it is launched, gone when it is killed. All state is in it; it does no I/O."""

    about: str
    """Its line of reference."""
    defaults: Mapping[str, bool | int | str]
    """Its options with their defaults; one whose default is a duration (`1s`) arrives in nanoseconds."""
    partial: bool
    """A member knows a few others only, on purpose: the group is what is connected by `neighbours`."""
    payloads: Sequence[type[Struct]]
    """Messages that carry what was published; each has `id` and `size`."""

    def __init__(self, me: str, rng: Random, options: Mapping[str, Any]) -> None: ...

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Take one input at `now` (ns of this host's clock): `Joined`, `Received`, `Broken`, `Published`, `Farewell`,
        or `Wake` when the deadline has passed; what is to be done, in order."""
        ...

    def deadline(self) -> int | None:
        """When it wants a `Wake`; None: not at all."""
        ...


_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def why_no_protocol(found: object) -> str:
    """Why this is no class of a protocol, in words; empty when it is one."""
    if not isinstance(found, type):
        return f"it is of type {type(found).__name__}, expected a class"
    lacking = [name for name in ("handle", "deadline") if not callable(getattr(found, name, None))]
    if lacking:
        return f"the class has no method {' and no method '.join(lacking)}"
    defaults = getattr(found, "defaults", {})
    if not isinstance(defaults, Mapping):
        return "its `defaults` are no mapping"
    for name, value in defaults.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(value, bool | int | str):
            return f"its option {name!r} is no name with a truth value, a whole number or a text"
    for payload in getattr(found, "payloads", ()):
        if not isinstance(payload, type) or not {"id", "size"} <= set(getattr(payload, "__struct_fields__", ())):
            return f"its payload {payload!r} is no msgspec struct with the fields id and size"
    return ""

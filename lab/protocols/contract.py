"""The interface of a protocol class: the inputs from the simulator and the effects for it.

Owns the vocabulary, and the requirements on a protocol class. It is the contract of `overlay.node` (`handle(input,
now)`, `deadline()`) for a protocol whose members are identified by name. Knows no protocol.
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
    """This member got contacts (a `connect` step): join the group through them. May be repeated."""

    seeds: tuple[str, ...]


class Received(Input, frozen=True):
    """A message of another member, as the object that was sent; it must not be changed."""

    sender: str
    message: Any
    reliable: bool = False
    """It arrived on a connection."""


class Broken(Input, frozen=True):
    """The connection with a member cannot be made, or has ended; the last messages sent on it may be lost."""

    peer: str
    reason: str


class Published(Input, frozen=True):
    """The application (a `publish` step) broadcasts a message to all members. `size`: bytes of its payload."""

    id: str
    size: int


class Farewell(Input, frozen=True):
    """This member leaves gracefully: messages sent now are still delivered, later ones are not."""


# --- effects ----------------------------------------------------------------------------------------------------


class Send(Effect, frozen=True):
    """Send a message (a msgspec struct) to a member: in one datagram, which may be lost; or, if `reliable`, on the
    connection with it, which is made if there is none; `Broken` reports that it cannot be made.

    `size`: bytes of the message on the wire; 0: its size in MessagePack. A payload message has an `id` and a `size` of
    its own, which is added (`SimulatedProtocol.payloads`).
    """

    to: str
    message: Any
    reliable: bool = False
    size: int = 0


class HangUp(Effect, frozen=True):
    """Close the connection with a member after everything sent so far; the member gets `Broken`, the
    sender does not."""

    peer: str


class Delivered(Effect, frozen=True):
    """The application of this member got the message of this id for the first time."""

    id: str


class Believe(Effect, frozen=True):
    """The view of this member from now on, always without itself. Replaces the previous one."""

    members: tuple[str, ...] = ()
    """Members of the group, as far as known (ignored for a class with `partial`)."""
    neighbours: tuple[str, ...] = ()
    """Members with which it communicates."""
    suspects: tuple[str, ...] = ()
    """Those of `members` that it suspects of having failed, but has not removed yet."""
    tree: tuple[str, ...] = ()
    """Those of `neighbours` to which it sends payload immediately."""


class Measure(Effect, frozen=True):
    """A number specific to the protocol; its mean, maximum and count become figures of the run."""

    name: str
    value: float


# --- a protocol -------------------------------------------------------------------------------------------------


class SimulatedProtocol(Protocol):
    """One life of a member: created at launch, dropped at a kill. Holds all its state; does no I/O."""

    about: str
    """Its description for the reference, in one line."""
    defaults: Mapping[str, bool | int | str]
    """Its options with their defaults; an option whose default is a duration (`1s`) arrives in nanoseconds."""
    partial: bool
    """A member knows only a few others by design: the group is the connected component under `neighbours`."""
    payloads: Sequence[type[Struct]]
    """Messages that carry published data; each has `id` and `size`."""

    def __init__(self, me: str, rng: Random, options: Mapping[str, Any]) -> None: ...

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Process one input at `now` (ns of this host's clock): `Joined`, `Received`, `Broken`, `Published`,
        `Farewell`, or `Wake` when the deadline has passed. Returns the effects in order."""
        ...

    def deadline(self) -> int | None:
        """Time of the next `Wake`; None for no `Wake`."""
        ...


_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def why_no_protocol(found: object) -> str:
    """Why the object is not a protocol class, in words; empty if it is one."""
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

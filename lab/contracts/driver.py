"""The words between the lab and somebody else's overlay: one driver on each host, which knows how to run that overlay.

A driver is an executable that speaks JSON lines (`lab.driven.lines`), or a Python class with the same words as methods.
Owns these words. Knows no overlay, and neither containers' engines nor scenarios: the lab starts containers, counts up
addresses and breaks the network; a driver attaches a container, and says what its overlay believes.

docs/overlays.md is the specification for people who write drivers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from lab.contracts.lab import Host
from lab.errors import LabError

Addressing = Literal["chosen", "prefix", "own"]
"""How containers get overlay addresses: any that the lab chooses, one of a prefix that the host has, or one that
follows from a key or a certificate."""


class DriverFault(LabError):
    """A driver failed, did not answer in time, or answered something else than the words allow."""


class DriverPlace(Struct, frozen=True, kw_only=True):
    """Where one driver works."""

    host: str
    address: str
    """Of this host on the underlay."""
    hosts: Mapping[str, str]
    """All hosts of the lab with their underlay addresses, this one too."""
    directory: str
    """On the host's disk: keeps its files through a power cut."""
    subnet: str
    """The range from which the lab chooses addresses (`chosen`), or whose prefixes hosts get (`prefix`)."""
    prefix: str
    """This host's own part of the range, for overlays whose addresses come by `prefix`; its first address is for the
    host itself."""
    options: Mapping[str, bool | int | str] = {}
    """The scenario's `overlay.options`."""


class DriverHello(Struct, frozen=True, kw_only=True):
    """What a driver says of its overlay, before anything is launched."""

    name: str
    version: str
    """Of the overlay's program, as it calls itself: `tinc 1.0.36`."""
    addresses: Addressing = "chosen"
    carries: Literal["frames", "packets"] = "packets"
    """Ethernet frames, so that a broadcast reaches all containers, or IP packets."""
    moves: bool = False
    """Whether a container's address can go with it to another host."""
    discovers: bool = False
    """Whether peers find the rest when both ends of each connection are told of the other; else the lab tells each peer
    of all others."""
    daemon: bool = True
    """Whether a process of the overlay runs on the host, which `kill` ends; a kernel's own device needs none."""
    card: str = ""
    """What other peers need to know to connect to this one, a public key for example; given to them in `DriverPeer`."""


class DriverPeer(Struct, frozen=True, kw_only=True):
    """Another host of the overlay."""

    name: str
    address: str
    prefix: str
    """See `DriverPlace.prefix`."""
    card: str = ""


class DriverPlug(Struct, frozen=True, kw_only=True):
    """A container that is to have an interface of the overlay. `pid`: of a process in its network namespace."""

    container: str
    pid: int
    address: str = ""
    """With its prefix length; empty where the overlay has its own way to addresses (`own`)."""


class DriverStatus(Struct, frozen=True, kw_only=True):
    """What a peer believes."""

    running: bool
    """Whether its daemon runs, or its devices are there."""
    peers: tuple[str, ...] = ()
    """Names of the hosts that it can reach, as far as it knows; overlays that cannot tell say none."""
    detail: str = ""


class Driver(Protocol):
    """One host's driver. Every method may raise `LabError`; each is called for one thing at a time."""

    async def hello(self) -> DriverHello:
        """What overlay this is. Makes keys if the overlay has some; starts nothing."""
        ...

    async def launch(self) -> None:
        """Start the overlay on this host, or start it again after `kill`, `stop` or a power cut.

        Containers that were attached before a `kill` or `stop`, and still run, must be reached again afterwards."""
        ...

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """From now on these are the peers to connect to, and no others. May be called again with more."""
        ...

    async def attach(self, what: DriverPlug) -> str:
        """Give a container its interface; returns its address, with its prefix length."""
        ...

    async def detach(self, what: DriverPlug) -> None:
        """Take the interface away; a container without one is fine."""
        ...

    async def status(self) -> DriverStatus:
        """What it believes now."""
        ...

    async def stop(self) -> None:
        """End the overlay in good order, as its own command does; nothing of it runs afterwards."""
        ...

    async def kill(self) -> None:
        """`kill -9` of the overlay's processes."""
        ...

    async def logs(self) -> str:
        """The last lines of the overlay's log, for a person."""
        ...

    async def close(self) -> None:
        """The lab ends: let go of what the driver holds outside of the host."""
        ...


DriverFactory = Callable[[Host, DriverPlace], Driver]
"""Makes the driver of one host; nothing runs yet."""

WORDS: Mapping[str, type[Any] | None] = {
    "hello": DriverHello,
    "launch": None,
    "connect": None,
    "attach": None,
    "detach": None,
    "status": DriverStatus,
    "stop": None,
    "kill": None,
    "logs": None,
}
"""Each word of the wire, with what its answer holds besides `ok` (`attach`: `address`, `logs`: `text`)."""

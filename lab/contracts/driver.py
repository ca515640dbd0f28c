"""The protocol between the lab and a foreign overlay: one driver on each host, which knows how to run that overlay.

A driver is an executable that speaks JSON lines (`lab.driven.lines`), or a Python class with the same requests as
methods. Owns these requests. Knows no overlay, no container engines and no scenarios: the lab starts containers,
assigns addresses and breaks the network; a driver attaches a container, and reports the beliefs of its overlay.

docs/overlays.md is the specification for authors of drivers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from lab.contracts.lab import Host
from lab.errors import LabError

Addressing = Literal["chosen", "prefix", "own"]
"""How containers get overlay addresses: any that the lab chooses, one of the host's prefix, or one derived from a key
or a certificate."""


class DriverFault(LabError):
    """A driver failed, did not answer in time, or gave an answer that the protocol does not allow."""


class DriverPlace(Struct, frozen=True, kw_only=True):
    """The environment of one driver."""

    host: str
    address: str
    """This host's address on the underlay."""
    hosts: Mapping[str, str]
    """All hosts of the lab with their underlay addresses, including this one."""
    directory: str
    """Folder on the host's disk: its files survive a power cut."""
    subnet: str
    """The range from which the lab chooses addresses (`chosen`), or from which hosts get prefixes (`prefix`)."""
    prefix: str
    """This host's own part of the range, if addresses come by `prefix`; its first address is for the host itself."""
    options: Mapping[str, bool | int | str] = {}
    """The scenario's `overlay.options`."""


class DriverHello(Struct, frozen=True, kw_only=True):
    """A driver's description of its overlay, before anything is launched."""

    name: str
    version: str
    """Version of the overlay's program, in its own words: `tinc 1.0.36`."""
    addresses: Addressing = "chosen"
    carries: Literal["frames", "packets"] = "packets"
    """Whether it carries Ethernet frames, so that a broadcast reaches all containers, or IP packets."""
    moves: bool = False
    """Whether a container can move to another host with its address."""
    discovers: bool = False
    """Whether peers discover the rest when both ends of each connection know of each other; otherwise the lab tells
    each peer about all others."""
    daemon: bool = True
    """Whether a process of the overlay runs on the host, which `kill` ends; a kernel device needs none."""
    card: str = ""
    """Data that other peers need to connect to this one, for example a public key; passed to them in `DriverPeer`."""


class DriverPeer(Struct, frozen=True, kw_only=True):
    """Another host of the overlay."""

    name: str
    address: str
    prefix: str
    """See `DriverPlace.prefix`."""
    card: str = ""


class DriverPlug(Struct, frozen=True, kw_only=True):
    """A container that gets an interface of the overlay. `pid`: of a process in its network namespace."""

    container: str
    pid: int
    address: str = ""
    """Address with its prefix length; empty if the overlay assigns addresses itself (`own`)."""


class DriverStatus(Struct, frozen=True, kw_only=True):
    """The beliefs of a peer."""

    running: bool
    """Whether its daemon runs, or its devices exist."""
    peers: tuple[str, ...] = ()
    """Names of the hosts that it believes reachable; empty for overlays that cannot tell."""
    detail: str = ""


class Driver(Protocol):
    """One host's driver. Every method may raise `LabError`; requests to a driver are sequential."""

    async def hello(self) -> DriverHello:
        """Describe this overlay. Creates keys if the overlay has any; starts nothing."""
        ...

    async def launch(self) -> None:
        """Start the overlay on this host, or start it again after `kill`, `stop` or a power cut.

        Containers that were attached before a `kill` or `stop`, and still run, must be reachable again afterwards.
        """
        ...

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """From now on connect to these peers, and no others. May be called again with more peers."""
        ...

    async def attach(self, what: DriverPlug) -> str:
        """Give a container its interface; returns its address, with its prefix length."""
        ...

    async def detach(self, what: DriverPlug) -> None:
        """Remove the interface; does nothing if the container has none."""
        ...

    async def status(self) -> DriverStatus:
        """The current beliefs."""
        ...

    async def stop(self) -> None:
        """Stop the overlay gracefully, like its own command; no part of it runs afterwards."""
        ...

    async def kill(self) -> None:
        """`kill -9` of the overlay's processes."""
        ...

    async def logs(self) -> str:
        """The last lines of the overlay's log, for users."""
        ...

    async def close(self) -> None:
        """The lab ends: release resources that the driver holds outside the host."""
        ...


DriverFactory = Callable[[Host, DriverPlace], Driver]
"""Creates the driver of one host; nothing runs yet."""

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
"""Each request of the protocol, with the fields of its answer besides `ok` (`attach`: `address`, `logs`: `text`)."""

"""Docker's plugin protocol as data: which request is about what, and what the answers look like. Pure.

Owns the JSON of libnetwork's remote network driver and remote IPAM driver (docs/remote.md and docs/ipam.md of
moby/libnetwork). What is done about a request is decided in `overlay.docker.plugin`.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from overlay.errors import UsageError
from overlay.owners import PLUGIN

__all__ = [
    "ACTIVATE",
    "ADDRESS_SPACE",
    "CAPABILITIES",
    "DRIVERS",
    "IPAM_CAPABILITIES",
    "MULTICAST",
    "OWNER",
    "AddressPool",
    "Endpoint",
    "Settings",
    "endpoint",
    "joined",
    "network_name",
    "pool",
    "pool_of",
    "settings",
    "settings_of",
    "source_name",
]

Json = dict[str, Any]

ACTIVATE: Json = {"Implements": ["NetworkDriver", "IpamDriver"]}
CAPABILITIES: Json = {"Scope": "local", "ConnectivityScope": "global"}
"""Each engine knows its networks for itself; what is connected to them reaches over all hosts."""
IPAM_CAPABILITIES: Json = {"RequiresMACAddress": False, "RequiresRequestReplay": False}

DRIVERS = ("weave", "weavemesh")
"""What the driver is called; the second is the original's word for networks that every engine knows for itself."""
ADDRESS_SPACE = "weave"
_OPTIONS = "works.weave."
SPOOFING = "works.weave.allow-spoofing"
"""Option of a network: its containers may send with any MAC and any address."""
MULTICAST = "works.weave.multicast"
"""Option of a network: multicast of its containers goes there. Off, because a container has one such route, and may be
on several networks."""
_GENERIC = "com.docker.network.generic"
OWNER = PLUGIN
"""Leads the owners of what the plugin books: endpoints, and addresses that the engine asked for."""


class AddressPool(Struct, frozen=True):
    """A subnet of a network, and the part of it that the IPAM driver takes addresses from."""

    subnet: str
    """"a.b.c.0/n": every address has its prefix length, whatever part it comes from."""
    part: str = ""
    """Of the subnet, "a.b.c.0/n" (`--ip-range`); empty: all of it."""

    @property
    def id(self) -> str:
        """What the engine calls it. It says everything, so that nothing of it needs to be kept."""
        return "-".join((ADDRESS_SPACE, *(text.replace("/", "-") for text in (self.subnet, self.part) if text)))

    def whole(self, address: str) -> str:
        """An address, with or without a prefix length, with that of the subnet."""
        return f"{address.partition('/')[0]}/{self.subnet.partition('/')[2]}"


class Endpoint(Struct, frozen=True):
    """A container's place on a network."""

    id: str
    network: str
    address: str
    """"a.b.c.d/n"."""
    mac: str
    """Asked for; empty: ours to choose."""


class Settings(Struct, frozen=True):
    """What a network's options say."""

    spoofing: bool = False
    multicast: bool = False


def pool(request: Mapping[str, Any], default: str) -> AddressPool:
    """`IpamDriver.RequestPool`. Raises `UsageError`."""
    if request.get("V6"):
        raise UsageError("the weave IPAM driver gives out IPv4 addresses only: leave --ipv6 away")
    subnet = _subnet("--subnet", str(request.get("Pool") or default))
    if not request.get("SubPool"):
        return AddressPool(str(subnet))
    part = _subnet("--ip-range", str(request["SubPool"]))
    if not part.subnet_of(subnet):
        raise UsageError(f"--ip-range {part} is not within the subnet {subnet}: choose a part of it")
    return AddressPool(str(subnet), str(part) if part != subnet else "")


def _subnet(flag: str, text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text}: {error}") from None


def pool_of(id: str) -> AddressPool:
    """A pool by its id. Raises `UsageError`."""
    head, *words = id.split("-")
    try:
        if head != ADDRESS_SPACE or len(words) not in (2, 4):
            raise ValueError(f"expected {ADDRESS_SPACE}-ADDRESS-LENGTH")
        pairs = [f"{words[at]}/{words[at + 1]}" for at in range(0, len(words), 2)]
        return AddressPool(*(str(ipaddress.IPv4Network(pair)) for pair in pairs))
    except ValueError as error:
        raise UsageError(f"there is no address pool `{id}`: {error}") from None


def endpoint(request: Mapping[str, Any]) -> Endpoint:
    """`NetworkDriver.CreateEndpoint`. Raises `UsageError`."""
    interface = request.get("Interface")
    interface = interface if isinstance(interface, dict) else {}
    address = str(interface.get("Address") or "")
    if not address:
        raise UsageError("the engine gives this endpoint no IPv4 address: the weave driver needs one")
    return Endpoint(
        id=str(request.get("EndpointID") or ""),
        network=str(request.get("NetworkID") or ""),
        address=address,
        mac=str(interface.get("MacAddress") or "").lower(),
    )


def settings(request: Mapping[str, Any]) -> Settings:
    """`NetworkDriver.CreateNetwork`. Raises `UsageError`."""
    return settings_of((request.get("Options") or {}).get(_GENERIC) or {})


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The options of a network that there is, or will be. Raises `UsageError`."""
    for key in options:
        if str(key).startswith(_OPTIONS) and key not in (SPOOFING, MULTICAST):
            raise UsageError(f"there is no option {key}: expected {SPOOFING} or {MULTICAST}")
    return Settings(spoofing=_switch(options, SPOOFING), multicast=_switch(options, MULTICAST))


def _switch(options: Mapping[str, Any], key: str) -> bool:
    """`-o KEY` alone switches it on."""
    text = str(options.get(key, "false")).lower()
    if text not in ("true", "false", ""):
        raise UsageError(f"-o {key}={text}: expected true or false")
    return text != "false"


def network_name(network: str) -> str:
    """What a network is called where attached containers are called by their ids."""
    return f"weave:network:{network}"


def joined(name: str, multicast: bool) -> Json:
    """`NetworkDriver.Join`: the engine takes this interface into the container. Its way out stays the engine's own."""
    answer: Json = {"InterfaceName": {"SrcName": name, "DstPrefix": "ethwe"}}
    if multicast:
        answer["StaticRoutes"] = [{"Destination": "224.0.0.0/4", "RouteType": 1}]
    return answer


def source_name(endpoint: str) -> str:
    """What an endpoint is called where attached containers are called by their ids."""
    return OWNER + endpoint

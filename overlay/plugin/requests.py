"""Docker's plugin protocol as data: requests and responses. Pure.

Owns the JSON of libnetwork's remote network driver and remote IPAM driver (docs/remote.md and docs/ipam.md of
moby/libnetwork). `overlay.docker.plugin` handles the requests.
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
"""Each engine has its own list of networks; their endpoints are connected across all hosts."""
IPAM_CAPABILITIES: Json = {"RequiresMACAddress": False, "RequiresRequestReplay": False}

DRIVERS = ("weave", "weavemesh")
"""Names of the driver; the second is the original's word for networks that each engine lists by itself."""
ADDRESS_SPACE = "weave"
_OPTIONS = "works.weave."
SPOOFING = "works.weave.allow-spoofing"
"""Network option: its containers may send with any MAC and any address."""
MULTICAST = "works.weave.multicast"
"""Network option: its containers send multicast to this network. Off by default, because a container has one multicast
route and may be on several networks."""
_GENERIC = "com.docker.network.generic"
OWNER = PLUGIN
"""Prefix of the owners of everything that the plugin books: endpoints, and addresses that the engine requested."""


class AddressPool(Struct, frozen=True):
    """A subnet of a network, and the part of it from which the IPAM driver takes addresses."""

    subnet: str
    """"a.b.c.0/n": every address has this prefix length, also one from `part`."""
    part: str = ""
    """A part of the subnet, "a.b.c.0/n" (`--ip-range`); empty: the whole subnet."""

    @property
    def id(self) -> str:
        """The engine's id for the pool. It contains all fields, so the pool needs no storage."""
        return "-".join((ADDRESS_SPACE, *(text.replace("/", "-") for text in (self.subnet, self.part) if text)))

    def whole(self, address: str) -> str:
        """An address, with or without a prefix length, with the prefix length of the subnet."""
        return f"{address.partition('/')[0]}/{self.subnet.partition('/')[2]}"


class Endpoint(Struct, frozen=True):
    """A container's place on a network."""

    id: str
    network: str
    address: str
    """"a.b.c.d/n"."""
    mac: str
    """The requested MAC; empty: we choose it."""


class Settings(Struct, frozen=True):
    """The options of a network."""

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
    """The settings in the options of a network. Raises `UsageError`."""
    for key in options:
        if str(key).startswith(_OPTIONS) and key not in (SPOOFING, MULTICAST):
            raise UsageError(f"there is no option {key}: expected {SPOOFING} or {MULTICAST}")
    return Settings(spoofing=_switch(options, SPOOFING), multicast=_switch(options, MULTICAST))


def _switch(options: Mapping[str, Any], key: str) -> bool:
    """`-o KEY` without a value switches the option on."""
    text = str(options.get(key, "false")).lower()
    if text not in ("true", "false", ""):
        raise UsageError(f"-o {key}={text}: expected true or false")
    return text != "false"


def network_name(network: str) -> str:
    """The name of a network where attached containers have their ids."""
    return f"weave:network:{network}"


def joined(name: str, multicast: bool) -> Json:
    """`NetworkDriver.Join`: the engine moves this interface into the container. The engine keeps the default
    gateway."""
    answer: Json = {"InterfaceName": {"SrcName": name, "DstPrefix": "ethwe"}}
    if multicast:
        answer["StaticRoutes"] = [{"Destination": "224.0.0.0/4", "RouteType": 1}]
    return answer


def source_name(endpoint: str) -> str:
    """The name of an endpoint where attached containers have their ids."""
    return OWNER + endpoint

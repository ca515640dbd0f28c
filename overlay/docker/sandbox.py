"""The network namespace of a container while the engine moves one of our endpoints into it.

Owns entering the namespace by the engine's file for it, and applying the routes of `overlay.plugin.container_routes`
there. Does not ask the engine, because the engine itself waits for the answer to `Join`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from socket import AF_INET
from typing import Any

from overlay.datapath.vxlan import CONTAINER_DEVICE
from overlay.errors import UsageError
from overlay.kernel import rtnl
from overlay.kernel.attach import MULTICAST, addresses_on
from overlay.kernel.host_files import host_file
from overlay.kernel.messages import RTM_GETROUTE
from overlay.kernel.netlink import Netlink
from overlay.kernel.netns import inside
from overlay.plugin.container_routes import clash, ways

__all__ = ["make_room", "settle"]


def make_room(key: str, subnet: IPv4Network, apart: Sequence[IPv4Network], name_of: Callable[[str], str]) -> bool:
    """Before the engine adds an address of `subnet` to a container; `apart`: subnets of this and its other endpoints.

    `name_of`: returns the name of the container with this address on `ethwe`. Returns whether the container has a
    multicast route already. Does nothing if the namespace does not exist (yet), because the container is about to
    start. Raises `UsageError` if `ethwe` has an address of that subnet, and `OSError`.
    """
    with _opened(key) as there:
        if there is None:
            return False
        index = there.index(CONTAINER_DEVICE)
        if index:
            held = _held(there, index)
            cidr = clash(held, subnet)
            if cidr:
                container = name_of(cidr)
                raise UsageError(
                    f"the container has {cidr} on {CONTAINER_DEVICE}, an address of this network's subnet {subnet}: "
                    f"`weave detach {cidr} {container}` first, or give the network a subnet outside of the default one"
                )
            _settle(there, index, held, apart)
        return any(_network(route) == IPv4Network(MULTICAST) for route in _routes(there))


def settle(key: str, apart: Sequence[IPv4Network]) -> None:
    """After an endpoint has left: restore the routes that `ethwe` has without it. Raises `OSError`."""
    with _opened(key) as there:
        index = there.index(CONTAINER_DEVICE) if there is not None else 0
        if there is not None and index:
            _settle(there, index, _held(there, index), apart)


@contextmanager
def _opened(key: str) -> Iterator[Netlink | None]:
    try:
        fd = os.open(host_file(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        yield None
        return
    try:
        found, ours = os.fstat(fd), Path("/proc/self/ns/net").stat()
        if found.st_dev != ours.st_dev or found.st_ino == ours.st_ino:  # nothing is mounted on the file, or our own
            yield None
            return
        with inside(fd):
            netlink = Netlink()
        with netlink:
            yield netlink
    finally:
        os.close(fd)


def _held(there: Netlink, index: int) -> list[str]:
    return [cidr for cidr in addresses_on(there, index) if ":" not in cidr]


def _settle(there: Netlink, index: int, held: Sequence[str], apart: Sequence[IPv4Network]) -> None:
    """Add routes before removing others, so that packets always have a route."""
    wanted = ways(held, apart)
    found = {
        _network(route)
        for route in _routes(there)
        if route.get_attr("RTA_OIF") == index and route["proto"] == rtnl.RTPROT_KERNEL
    }
    there.run(
        (
            *(
                rtnl.connected_route(index, str(network), source)
                for network, source in wanted.items()
                if network not in found
            ),
            *(rtnl.del_connected_route(index, str(network)) for network in sorted(found) if network not in wanted),
        )
    )


def _routes(there: Netlink) -> list[Any]:
    return [route for route in there.dump(RTM_GETROUTE, AF_INET) if route["table"] == rtnl.RT_TABLE_MAIN]


def _network(route: Any) -> IPv4Network:
    return IPv4Network(f"{route.get_attr('RTA_DST') or '0.0.0.0'}/{route['dst_len']}")

"""The networks that this host has routes to, for checking whether an overlay's range overlaps them.

Reads the kernel. The caller (`overlay.cli.launch`) decides what an overlap means.
"""

from ipaddress import ip_network
from socket import AF_INET, AF_INET6

from overlay.datapath.vxlan import BRIDGE
from overlay.kernel.messages import RTM_GETROUTE
from overlay.kernel.netlink import Netlink, NetlinkError
from overlay.ranges import Network

__all__ = ["host_routes"]

_MAIN = 254
_UNICAST = 1


def host_routes() -> list[tuple[Network, str]]:
    """(network, device) of the main table, without default routes and the overlay's own; empty if the kernel does not
    answer."""
    found: list[tuple[Network, str]] = []
    try:
        with Netlink() as netlink:
            devices = {link.index: link.name for link in netlink.links()}
            for family in (AF_INET, AF_INET6):
                for route in netlink.dump(RTM_GETROUTE, family):
                    target = route.get_attr("RTA_DST")
                    device = devices.get(route.get_attr("RTA_OIF") or 0, "")
                    if route["table"] != _MAIN or route["type"] != _UNICAST or target is None or device == BRIDGE:
                        continue
                    found.append((ip_network(f"{target}/{route['dst_len']}"), device))
    except (OSError, NetlinkError):
        return []
    return [(network, device) for network, device in found if network.prefixlen and not network.is_link_local]

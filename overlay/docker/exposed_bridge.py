"""The bridge of a real host as the host's own port on the overlay (`expose.HostPort`), and its packet filter."""

import asyncio
from collections.abc import Callable, Sequence

from overlay.datapath.vxlan import BRIDGE
from overlay.kernel import firewall, rtnl
from overlay.kernel.attach import addresses_on
from overlay.kernel.bridge import BridgeDevices, allow_ipv6
from overlay.kernel.netlink import Netlink

__all__ = ["Bridge"]


class Bridge:
    """The bridge of a real host, and its packet filter."""

    def __init__(self, netlink: Netlink, devices: Callable[[], BridgeDevices], neighbours: Callable[[], None]) -> None:
        """`neighbours` restores the bridge's permanent neighbours, which the kernel drops with the last address
        (arp_ifdown)."""
        self._netlink = netlink
        self._devices = devices
        self._neighbours = neighbours
        self._watch = firewall.Watch()

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """See `HostPort`."""
        if any(":" in cidr for cidr in addresses):
            allow_ipv6(BRIDGE)
        index = self._devices().bridge
        stale = [cidr for cidr in addresses_on(self._netlink, index) if cidr not in addresses]
        self._netlink.run(
            (
                *(rtnl.del_address(index, cidr) for cidr in stale),
                *(rtnl.new_address(index, cidr) for cidr in addresses),
            )
        )
        if stale:
            self._neighbours()

    async def let_through(self, subnets: Sequence[str], before: Sequence[str], masquerade: bool) -> None:
        """See `HostPort`."""
        made = await asyncio.to_thread(firewall.ensure, subnets, before=before, masquerade=masquerade)
        self._watch.settled(made)

    def filter_changes(self) -> tuple[str, ...]:
        """See `HostPort`."""
        return self._watch.changes()

    def close(self) -> None:
        """Close the socket; addresses and packet filter stay."""
        self._watch.close()

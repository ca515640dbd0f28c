"""Updates the kernel's forwarding to match the control plane.

Owns three tables of the data path: the bridge's forwarding database (this MAC is behind the VXLAN port), the VXLAN
device's (this MAC is on that host; frames without an entry go to those hosts) and the bridge's permanent neighbours
(this address has that MAC), from which the kernel answers ARP and ND for the remote container. Also tells
`vxlan_filter` which hosts' packets the VXLAN device accepts.

Entries of an earlier daemon are adopted: they stay until the control plane replaces them or `drop_unconfirmed` is
called. Every call returns after the kernel has changed.
"""

import logging
import os
from collections.abc import Callable
from ipaddress import ip_address

from overlay.config import PeerName
from overlay.crypto.secure_peer import in_tunnel
from overlay.datapath.announcement import announcement
from overlay.datapath.vxlan import BRIDGE, bridge_mac
from overlay.effects import Announce, RemoveForwarding, SetFlood, SetForwarding, SetSources
from overlay.env import SECOND
from overlay.errors import EnvironmentProblem
from overlay.kernel import rtnl
from overlay.kernel.announcing import send_frames
from overlay.kernel.bridge import BridgeDevices
from overlay.kernel.messages import RTM_GETNEIGH
from overlay.kernel.netlink import Netlink, NetlinkError, NetlinkRequest
from overlay.kernel.vxlan_filter import VxlanFilter

__all__ = ["Forwarding"]

log = logging.getLogger(__name__)


class Forwarding:
    """The kernel's forwarding to remote hosts, mirrored so that only differences need a system call."""

    def __init__(
        self, netlink: Netlink, devices: BridgeDevices, guard: VxlanFilter, *, clear: Callable[[str], bool]
    ) -> None:
        """`clear` says to which hosts unencrypted frames may go; adopted entries for other hosts are removed at
        once."""
        self._netlink = netlink
        self.devices = devices
        """Replaced when WireGuard is added."""
        self._guard = guard
        self._remote: dict[str, str] = {}
        """MAC to underlay host."""
        self._addresses: dict[str, tuple[str, ...]] = {}
        """MAC to the addresses for which the kernel answers with it."""
        self._owner: dict[str, str] = {}
        """Address to the MAC that the kernel answers with."""
        self._flood: dict[str, None] = {}
        self._unconfirmed: dict[str, None] = {}
        self._bridges: dict[str, str] = {}
        """MAC of a peer's bridge (the target of probes) to the peer's host."""
        if devices.adopted:
            self._adopt()
            self._drop_secret(clear)

    def believed(self) -> tuple[dict[tuple[str, int], str], dict[str, int], dict[str, str]]:
        """The expected entries: host by (MAC, VXLAN device), the bridge's port by MAC, MAC by address.

        Broadcasts go to several hosts, so the host is part of their key.
        """
        devices = self.devices.vxlans
        hosts = {(mac, self.port(host)): host for mac, host in {**self._bridges, **self._remote}.items() if host}
        hosts |= {(f"{rtnl.ALL_ZERO} {_bare(host)}", self.port(host)): host for host in self._flood}
        entries = {key: _bare(host) for key, host in hosts.items() if key[1] in devices}
        ports = {mac: port for mac, host in self._remote.items() if (port := self.port(host))}
        return entries, ports, dict(self._owner)

    def vxlan_entry(self, device: int, mac: str, host: str) -> NetlinkRequest:
        """The request that adds an entry of `believed` to the kernel."""
        over = self.devices.wireguard if device == self.devices.secure else 0
        if mac == rtnl.ALL_ZERO:
            return rtnl.append_flood(device, host, over)
        return rtnl.replace_vxlan_fdb(device, mac, host, over)

    @property
    def macs(self) -> int:
        """The number of remote MACs."""
        return len(self._remote)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that receive frames by VXLAN."""
        return tuple(dict.fromkeys((*self._flood, *(host for host in self._remote.values() if host))))

    @property
    def flood(self) -> tuple[str, ...]:
        """Hosts that receive broadcasts."""
        return tuple(self._flood)

    def set_forwarding(self, effect: SetForwarding) -> None:
        """Carry out `effects.SetForwarding`."""
        mac = effect.mac
        self._unconfirmed.pop(mac, None)
        requests: list[NetlinkRequest] = []
        before = self._remote.get(mac)
        if before != effect.remote:
            port = self.port(effect.remote)
            if before:
                # Replacing would keep the old host next to the new one if their address families differ.
                requests.append(rtnl.del_fdb(self.port(before), mac, rtnl.NTF_SELF))
            if effect.remote:
                requests.append(rtnl.replace_vxlan_fdb(port, mac, effect.remote, self._over(effect.remote)))
            if before is None or self.port(before) != port:
                requests.append(rtnl.replace_bridge_fdb(port, mac))
        addresses = tuple(address.partition("/")[0] for address in effect.addresses)
        requests += self._release(mac, keep=addresses)
        for address in addresses:
            if self._owner.get(address) != mac:
                requests.append(rtnl.replace_neighbour(self.devices.bridge, address, mac))
                self._owner[address] = mac
        self._remote[mac] = effect.remote
        self._addresses[mac] = addresses
        self._run(requests)

    def remove_forwarding(self, effect: RemoveForwarding) -> None:
        """Carry out `effects.RemoveForwarding`."""
        self._run(self._forget(effect.mac))

    def announce(self, effect: Announce) -> None:
        """Carry out `effects.Announce`. It stays on this host, because ports with neighbour suppression do not get
        it."""
        # Send from the bridge, because the new interface needs a moment until it transmits. So the host does not
        # receive it itself; its own neighbour entries for remote MACs were replaced with the tables.
        local = [address for address, mac in effect.addresses if mac not in self._remote]
        self._run([rtnl.del_neighbour(self.devices.bridge, address) for address in local])
        try:
            send_frames(BRIDGE, (announcement(address, mac) for address, mac in effect.addresses))
        except EnvironmentProblem as error:
            log.error("data path: %s", error)

    def set_flood(self, effect: SetFlood) -> None:
        """Carry out `effects.SetFlood`: add before removing, so that every host gets every broadcast."""
        wanted = dict.fromkeys(effect.remotes)
        requests = [
            rtnl.append_flood(self.port(remote), remote, self._over(remote))
            for remote in wanted
            if remote not in self._flood
        ]
        requests += [
            rtnl.del_fdb(self.port(remote), rtnl.ALL_ZERO, rtnl.NTF_SELF, remote, self._over(remote))
            for remote in self._flood
            if remote not in wanted
        ]
        self._flood = wanted
        self._run(requests)

    def put_neighbours(self) -> None:
        """Put all neighbours in again, including existing ones."""
        self._run([rtnl.replace_neighbour(self.devices.bridge, address, mac) for address, mac in self._owner.items()])

    def set_sources(self, effect: SetSources) -> None:
        """Carry out `effects.SetSources`."""
        try:
            self._guard.allow(effect.hosts)
        except OSError as error:
            # Somebody else changed the table; it drops too much, never too little.
            log.error("data path: the filter of the VXLAN port: %s", error)

    def now_local(self, mac: str, addresses: tuple[str, ...]) -> None:
        """These addresses belong to a container of this host; remove entries that place them on other hosts."""
        requests: list[NetlinkRequest] = []
        if mac in self._unconfirmed:
            requests += self._forget(mac)
        for address in addresses:
            literal = address.partition("/")[0]
            owner = self._owner.get(literal)
            if owner is not None and owner in self._unconfirmed:
                requests += self._forget(owner)
        self._run(requests)

    def drop_unconfirmed(self) -> int:
        """Remove adopted entries that the control plane has not confirmed. Returns the number of MACs."""
        stale = list(self._unconfirmed)
        for mac in stale:
            self._run(self._forget(mac))
        return len(stale)

    def clear(self) -> None:
        """Remove all forwarding (for a farewell); local containers still reach each other."""
        self.set_flood(SetFlood(()))
        self.set_sources(SetSources(()))
        for mac in list(self._remote):
            self._run(self._forget(mac))
        self._run([rtnl.del_fdb(self.port(host), mac, rtnl.NTF_SELF) for mac, host in self._bridges.items()])
        self._bridges.clear()

    def set_bridge_of(self, peer: PeerName, host: str) -> None:
        """Send probes for `peer` through the VXLAN device (plain, or within WireGuard) to `host`."""
        mac = bridge_mac(peer)
        before = self._bridges.get(mac)
        if before != host:
            requests = [rtnl.del_fdb(self.port(before), mac, rtnl.NTF_SELF)] if before else []
            self._bridges[mac] = host
            self._run([*requests, rtnl.replace_vxlan_fdb(self.port(host), mac, host, self._over(host))])

    def used(self, within: int) -> list[str]:
        """The remote MACs to which the bridge has sent frames in the last `within` nanoseconds."""
        if not self._remote:
            return []
        ticks = within * os.sysconf("SC_CLK_TCK") // SECOND
        return [
            mac
            for port in self.devices.vxlans
            for mac, age in self._netlink.forwarding_ages(port)
            if age <= ticks and mac in self._remote
        ]

    def _forget(self, mac: str) -> list[NetlinkRequest]:
        self._unconfirmed.pop(mac, None)
        requests = self._release(mac, keep=())
        self._addresses.pop(mac, None)
        remote = self._remote.pop(mac, None)
        if remote:
            requests.append(rtnl.del_fdb(self.port(remote), mac, rtnl.NTF_SELF))
        if remote is not None:
            requests.append(rtnl.del_fdb(self.port(remote), mac, rtnl.NTF_MASTER))
        return requests

    def port(self, remote: str) -> int:
        """The bridge's port for frames to this host; 0 if this host has none for its address family."""
        if not remote:
            return self.devices.tunnel
        if in_tunnel(remote):
            return self.devices.secure
        return self.devices.vxlan6 if ":" in remote else self.devices.vxlan

    def _over(self, remote: str) -> int:
        """The WireGuard interface for an address within WireGuard; 0 for others, which use the routing table."""
        return self.devices.wireguard if in_tunnel(remote) else 0

    def _release(self, mac: str, keep: tuple[str, ...]) -> list[NetlinkRequest]:
        requests = []
        for address in self._addresses.get(mac, ()):
            if address not in keep and self._owner.get(address) == mac:
                del self._owner[address]
                requests.append(rtnl.del_neighbour(self.devices.bridge, address))
        return requests

    def _run(self, requests: list[NetlinkRequest]) -> None:
        try:
            self._netlink.run(requests)
        except NetlinkError as error:
            # Somebody else changed the devices; the rest of the batch is done.
            log.error("data path: %s", error)

    def _adopt(self) -> None:
        dump = self._netlink.dump(RTM_GETNEIGH, rtnl.AF_BRIDGE)
        bridged = {entry.get_attr("NDA_LLADDR") for entry in dump if not entry["flags"] & rtnl.NTF_SELF}
        for entry in dump:
            mac = entry.get_attr("NDA_LLADDR")
            remote = entry.get_attr("NDA_DST")
            if entry["ifindex"] == self.devices.tunnel and int(entry["state"]) & rtnl.NUD_NOARP:
                self._remote[mac] = ""
                self._unconfirmed[mac] = None
            if entry["ifindex"] not in (self.devices.vxlan, self.devices.vxlan6) or not remote:
                continue
            if mac == rtnl.ALL_ZERO:
                self._flood[remote] = None
            elif mac not in bridged:
                self._run([rtnl.del_fdb(entry["ifindex"], mac, rtnl.NTF_SELF)])  # probes add it again
            else:
                self._remote[mac] = remote
                self._unconfirmed[mac] = None
        for entry in self._netlink.dump(RTM_GETNEIGH):
            mac, address = entry.get_attr("NDA_LLADDR"), entry.get_attr("NDA_DST")
            if entry["ifindex"] != self.devices.bridge or not int(entry["state"]) & rtnl.NUD_PERMANENT:
                continue
            if mac not in self._remote:
                self._run([rtnl.del_neighbour(self.devices.bridge, address)])
                continue
            self._owner[address] = mac
            self._addresses[mac] = (*self._addresses.get(mac, ()), address)
        if self._remote:
            log.info("data path: adopted %d remote containers from before", len(self._remote))

    def _drop_secret(self, clear: Callable[[str], bool]) -> None:
        """Remove unencrypted entries of an earlier daemon that this one may not use, before it sends the first
        frame."""
        self.set_flood(SetFlood(tuple(host for host in self._flood if clear(host))))
        for mac, host in list(self._remote.items()):
            if host and not clear(host):
                self._run(self._forget(mac))


def _bare(host: str) -> str:
    """An address in the kernel's format, without its interface."""
    return str(ip_address(host.partition("%")[0]))

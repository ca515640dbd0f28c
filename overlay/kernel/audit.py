"""Audits the kernel's tables periodically: repairs differences from what this daemon expects, and reports them.

Owns the timer, the reading and the repair; `overlay.datapath.audit` compares. An audit runs in one turn of the event
loop, so that no effect comes in between, and may use a hundredth of the time. It repairs the bridge and its devices
(creates them again if they are gone), containers' ports, the host's own addresses, nftables, iptables, forwarding
entries and neighbours.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from overlay.crypto.secure_peer import SECURE_DEVICE, SECURE_PORT, SECURE_VNI
from overlay.datapath import audit as a
from overlay.datapath.vxlan import BRIDGE, TUNNEL_DEVICE, TUNNEL_PORT, VXLAN6_DEVICE, VxlanPlan
from overlay.errors import OverlayError
from overlay.kernel import rtnl
from overlay.kernel.attach import addresses_on, plugged
from overlay.kernel.bridge import BridgeDevices
from overlay.kernel.forwarding import Forwarding
from overlay.kernel.kernel_tables import LOCAL, STICKY, KernelLink, entries, links, manner
from overlay.kernel.netlink import Netlink, NetlinkError, NetlinkRequest
from overlay.kernel.nftables import Table
from overlay.kernel.port_filter import PortFilter

__all__ = ["Audit", "AuditTarget"]

log = logging.getLogger(__name__)

INTERVAL = 3.0
"""Seconds between two audits, unless one takes more than `SHARE` of that."""
SHARE = 0.01
_PASSES = 3
_TOLD = 3
"""Maximum number of changes that `status` lists."""
_LOGGED = 20
"""Maximum number of changes of one audit that the log lists."""
_FLOODING = "unicast flooding, multicast flooding, broadcast flooding"


class AuditTarget(Protocol):
    """The functions of the daemon that the audit needs."""

    def remake_devices(self) -> None:
        """Create or repair the bridge and devices, and everything attached to them. Raises `OverlayError`,
        `OSError`."""
        ...

    def exposed(self) -> tuple[str, ...]:
        """This host's addresses on the overlay ("a.b.c.d/n")."""
        ...

    def expose_again(self) -> None:
        """Put these addresses on the bridge again."""
        ...

    def look_at_filter(self) -> tuple[str, ...]:
        """Start the repair of the packet filter if others changed it; returns what was repaired since the last call."""
        ...

    def container_of(self, port: str) -> str:
        """The container of this port if the router plugs it, else empty."""
        ...

    def look_at(self, container: str) -> None:
        """Plug a container in again if it runs."""
        ...


class Audit:
    """The periodic audit. Call `start` once everything is in place; `report` is for `status`."""

    def __init__(
        self,
        netlink: Netlink,
        plan: VxlanPlan,
        clear: bool,
        forwarding: Forwarding,
        guard: PortFilter,
        filters: Mapping[str, tuple[Table, Callable[[], None]]],
        host: AuditTarget,
        clock: Callable[[], int],
    ) -> None:
        """`clear`: plain VXLAN is in use; `filters`: nftables tables by name, each with a function that creates it
        again."""
        self._netlink = netlink
        self._plan = plan
        self._clear = clear
        self._forwarding = forwarding
        self._guard = guard
        self._filters = filters
        self._host = host
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._awaited: dict[str, None] = {}
        """Missing ports whose containers are being examined."""
        self.mended = 0
        self._last: int | None = None
        self._what: tuple[str, ...] = ()
        self._left: tuple[str, ...] = ()
        self._looks = 0
        self._closed = False

    def start(self) -> None:
        """Start the periodic audit."""
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._due)

    def close(self) -> None:
        """Stop the audit."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def devices(self) -> BridgeDevices:
        """The current devices; creates them again first if the bridge is gone."""
        if self._netlink.index(BRIDGE) != self._forwarding.devices.bridge:
            self.look()
        return self._forwarding.devices

    def report(self) -> dict[str, Any]:
        """The number of repairs, the time since the last one (nanoseconds), what was repaired, and what cannot be."""
        age = None if self._last is None else self._clock() - self._last
        told = {"what": list(self._what), "left": list(self._left[:_TOLD])}
        return {"looks": self._looks, "mended": self.mended, "age": age, **told}

    def look(self) -> None:
        """Compare everything now and repair it."""
        mended = dict.fromkeys(self._host.look_at_filter())
        left: tuple[a.TableDifference, ...] = ()
        for _ in range(_PASSES):
            there = links(self._netlink)
            mended |= dict.fromkeys(self._returned(there))
            left = a.compare(self._believed(there), self._found(there), self._foreign)
            if not left:
                break
            mended |= dict.fromkeys(map(str, left))
            self._mend(left, there)
        self._looks += 1
        remaining = tuple(map(str, left))
        done = [what for what in mended if what not in remaining]
        if done:
            self.mended += len(done)
            self._last, self._what = self._clock(), tuple(done[:_TOLD])
            more = f"; and {len(done) - _LOGGED} more" if done[_LOGGED:] else ""
            log.warning("mended in the kernel: %s%s", "; ".join(done[:_LOGGED]), more)
        if remaining != self._left:
            for what in remaining[:_TOLD]:
                log.error("cannot be mended in the kernel: %s", what)
        self._left = remaining

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self.look()
        except (OSError, OverlayError) as error:
            log.error("the kernel's tables cannot be looked at: %s", error)
            self._left = (str(error),)
        except Exception:
            log.exception("looking at the kernel's tables failed")
        if not self._closed:
            self._timer = loop.call_later(max(INTERVAL, (loop.time() - began) / SHARE), self._due)

    # --- expected state -----------------------------------------------------------------------------------------------

    def _believed(self, there: Mapping[str, KernelLink]) -> a.Tables:
        devices = self._forwarding.devices
        names = {link.index: link.name for link in there.values()}
        ports = {port: rule for port, rule in self._guard.rules.items() if port in there}
        vxlan, forwarding, neighbours = self._forwarding.believed()
        mtu = self._plan.mtu
        behind = f"on {BRIDGE}, {_FLOODING}, neighbour suppression, isolation"
        own = {BRIDGE: f"bridge {self._plan.bridge_mac} up, MTU {mtu}", TUNNEL_DEVICE: f"veth up, MTU {mtu}"}
        own[TUNNEL_PORT] = f"veth up, MTU {mtu}, {behind}"
        clear = "up" if self._clear else "down"
        plain = f"vxlan {self._plan.vni} on UDP port {self._plan.port} {clear}, MTU {mtu}, {behind}"
        own |= {self._plan.device: plain} | ({VXLAN6_DEVICE: plain} if devices.vxlan6 else {})
        if devices.secure:
            own[SECURE_DEVICE] = f"vxlan {SECURE_VNI} on UDP port {SECURE_PORT} up, MTU {mtu}, {behind}"
        return {
            a.DEVICE: own,
            a.PORT: {
                port: f"up, MTU {mtu}, on {BRIDGE}, {'learning, ' if rule.free else ''}{_FLOODING}"
                for port, rule in ports.items()
            },
            a.ADDRESS: dict.fromkeys(self._host.exposed(), "there"),
            a.FILTER: dict.fromkeys(self._filters, "as it was made"),
            a.VXLAN: {f"{mac} {names.get(device, '')}".rstrip(): host for (mac, device), host in vxlan.items()},
            a.FORWARDING: {mac: f"{names.get(port, '')}, {STICKY}" for mac, port in forwarding.items()}
            | {rule.mac: f"{port}, {STICKY}" for port, rule in ports.items()},
            a.NEIGHBOUR: neighbours,
        }

    def _foreign(self, table: str, key: str) -> bool:
        """Others may put addresses on the bridge, and add entries for ports that we do not guard."""
        return table == a.ADDRESS

    # --- actual state -------------------------------------------------------------------------------------------------

    def _found(self, there: Mapping[str, KernelLink]) -> a.Tables:
        names = {link.index: link.name for link in there.values()}
        bridge = there[BRIDGE].index if BRIDGE in there else -1
        own = (BRIDGE, TUNNEL_DEVICE, TUNNEL_PORT, self._plan.device, VXLAN6_DEVICE, SECURE_DEVICE)
        vxlans = [name for name in (self._plan.device, VXLAN6_DEVICE, SECURE_DEVICE) if name in there]
        vxlan: dict[str, list[str]] = {}
        forwarding: dict[str, str] = {}
        known = self._forwarding.believed()[1]
        locals_ = {rule.mac for rule in self._guard.rules.values()}
        for entry in entries(self._netlink, rtnl.AF_BRIDGE):
            name = names.get(entry.device, "")
            if entry.flags & rtnl.NTF_SELF:
                if name in vxlans and entry.destination:
                    several = entry.mac == rtnl.ALL_ZERO
                    key = f"{entry.mac} {entry.destination} {name}" if several else f"{entry.mac} {name}"
                    vxlan.setdefault(key, []).append(entry.destination)
            elif entry.master == bridge and (
                entry.mac in known
                or entry.mac in locals_
                or (name in (*vxlans, TUNNEL_PORT) and not entry.state & rtnl.NUD_PERMANENT)
            ):
                forwarding[entry.mac] = f"{name}, {manner(entry)}"
        return {
            a.DEVICE: {name: _told(there[name], names) for name in own if name in there},
            a.PORT: {port: _told(there[port], names).partition(" ")[2] for port in self._guard.rules if port in there},
            a.ADDRESS: dict.fromkeys(self._addresses(bridge), "there"),
            a.FILTER: {
                name: "; ".join(table.differences()) or "as it was made" for name, (table, _) in self._filters.items()
            },
            a.VXLAN: {key: ", ".join(sorted(hosts)) for key, hosts in vxlan.items()},
            a.FORWARDING: forwarding,
            a.NEIGHBOUR: {
                entry.destination: entry.mac
                for entry in entries(self._netlink, socket.AF_UNSPEC)
                if entry.device == bridge and entry.state & rtnl.NUD_PERMANENT
            },
        }

    def _addresses(self, bridge: int) -> list[str]:
        return addresses_on(self._netlink, bridge) if self._host.exposed() and bridge > 0 else []

    def _returned(self, there: Mapping[str, KernelLink]) -> list[str]:
        """Ports that were missing and are back. Also starts to examine the containers of ports that are missing now."""
        back = [port for port in self._awaited if port in there]
        for port in [port for port in self._guard.rules if port not in there]:
            container = self._host.container_of(port)
            if not container:
                self._guard.forget(port)  # it disappeared with its container
            elif port not in self._awaited:
                self._awaited[port] = None
                self._host.look_at(container)
        self._awaited = {port: None for port in self._awaited if port not in there and port in self._guard.rules}
        return [f"port {port} was missing" for port in back]

    # --- repair -------------------------------------------------------------------------------------------------------

    def _mend(self, differences: tuple[a.TableDifference, ...], there: Mapping[str, KernelLink]) -> None:
        if any(each.table == a.DEVICE for each in differences):
            try:
                self._host.remake_devices()
            except (OSError, OverlayError) as error:
                log.error("the bridge and its devices cannot be made again: %s", error)
            return  # the next audit repairs what depends on them
        indices = {link.name: link.index for link in there.values()}
        exposed = False
        requests: list[NetlinkRequest] = []
        for each in differences:
            match each.table:
                case a.PORT:
                    rule = self._guard.rules[each.key]
                    requests += plugged(indices[each.key], self._forwarding.devices, rule)
                case a.ADDRESS:
                    exposed = True
                case a.FILTER:
                    self._filters[each.key][1]()
                case _:
                    requests += self._entry(each, indices)
        if exposed:
            self._host.expose_again()
        try:
            self._netlink.run(requests)
        except NetlinkError as error:
            log.debug("mending: %s", error)

    def _entry(self, each: a.TableDifference, indices: Mapping[str, int]) -> list[NetlinkRequest]:
        """The request that restores one entry of an address table."""
        bridge = self._forwarding.devices.bridge
        if each.table == a.NEIGHBOUR:
            if each.believed:
                return [rtnl.replace_neighbour(bridge, each.key, each.believed)]
            return [rtnl.del_neighbour(bridge, each.key)]
        if each.table == a.FORWARDING:
            old, new = (indices.get(value.partition(",")[0], 0) for value in (each.found, each.believed))
            gone = [rtnl.del_fdb(old, each.key, rtnl.NTF_MASTER)] if old and (not new or LOCAL in each.found) else []
            return gone + ([rtnl.replace_bridge_fdb(new, each.key)] if new else [])
        words = each.key.split(" ")
        mac, device = words[0], indices.get(words[-1], 0)
        stale = [host for host in each.found.split(", ") if host and host != each.believed]
        requests = [rtnl.del_fdb(device, mac, rtnl.NTF_SELF, host) for host in stale]
        if each.believed:
            requests.append(self._forwarding.vxlan_entry(device, mac, each.believed))
        return requests


def _told(link: KernelLink, names: Mapping[int, str]) -> str:
    """A link as text."""
    kind = link.kind
    if kind == "vxlan":
        number, port, learns = link.vxlan
        kind = f"vxlan {number} on UDP port {port}{' learning' if learns else ''}"
    if kind == "bridge":
        kind = f"bridge {link.mac}"
    words = [f"{kind or 'link'} {'up' if link.up else 'down'}", f"MTU {link.mtu}"]
    words += [f"on {names.get(link.master, '?')}"] if link.master else []
    return ", ".join((*words, *link.switched_on))

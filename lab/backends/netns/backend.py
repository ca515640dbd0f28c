"""The netns backend: a resolved scenario's underlay becomes namespaces, cables and containers' engines.

Owns the order in which a lab comes up and goes down, and what this backend refuses. Works inside of
`lab.backends.netns.launch` only.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from ipaddress import ip_address

from lab.backends.netns import runtime
from lab.backends.netns.host import NetnsHost
from lab.backends.netns.init import HostPlan
from lab.backends.netns.paths import host_dir, search_path
from lab.backends.netns.spawn import Spawner
from lab.errors import LabError
from lab.fabric import features
from lab.fabric.fabric import Fabric
from lab.fabric.plan import Underlay
from lab.fabric.rules import queued
from lab.topology import Resolved

_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv4/ping_group_range": "0 0",
}
"""A host is a router for its containers; duplicate address detection would only delay every interface."""


_NO_DEVICES = {
    "slow_disk": "hosts of the netns backend share one disk, which cannot be slowed for one of them; use sim",
    "clock": "hosts of the netns backend share this machine's clock (Linux cannot move it for one of them); use sim",
}
"""Why these verbs cannot be honoured."""


class NetnsLab:
    """A running lab of namespaces."""

    def __init__(self, hosts: Mapping[str, NetnsHost], fabric: Fabric, spawner: Spawner, origin: int) -> None:
        self.hosts: Mapping[str, NetnsHost] = hosts
        self.cut: frozenset[tuple[str, str]] = frozenset()
        """The directions (sender, receiver) that are cut now."""
        self._fabric = fabric
        self._spawner = spawner
        self._origin = origin
        self._down = False

    async def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Cut exactly these directions (sender, receiver); all others pass. One atomic switch."""
        for name in sorted({name for pair in pairs for name in pair}):
            if name not in self.hosts:
                raise LabError(f"no host named {name}; hosts: {', '.join(self.hosts)}")
        await self._fabric.set_cut(pairs)
        self.cut = pairs

    def now(self) -> int:
        """Nanoseconds since the run started."""
        return time.monotonic_ns() - self._origin

    async def sleep_until(self, t: int) -> None:
        """Wait until `now()` is at least `t`."""
        # In a loop, for the event loop's clock may wake a little early.
        while (left := t - self.now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left / 1e9)

    async def down(self) -> None:
        """End all hosts; idempotent. The rest goes with the supervisor, when the runner returns."""
        if self._down:
            return
        self._down = True
        await asyncio.gather(*(host.end() for host in self.hosts.values()), return_exceptions=True)
        self._spawner.close()


class NetnsBackend:
    """Hosts are namespaces. `engine=False` leaves the container engines out, for measuring."""

    name = "netns"

    def __init__(self, *, engine: bool = True) -> None:
        self._engine = engine

    def refuse(self, scenario: Resolved) -> list[str]:
        """What of this scenario this backend cannot honour, one sentence each; starts nothing."""
        reasons = [
            f"underlay.routers.{router}: the netns backend joins no networks by routers yet; use one network"
            for router in scenario.routers
        ]
        reasons += [
            f"timeline[{index}].{step.verb}: {_NO_DEVICES[step.verb]}"
            for index, step in enumerate(scenario.timeline)
            if step.verb in _NO_DEVICES
        ]
        impaired = list(scenario.links.impaired(list(scenario.hosts)))
        for tool, wanted in (("netem", lambda link: link.timed), ("htb", queued)):
            asking = [(sender, receiver, link) for sender, receiver, link in impaired if wanted(link)]
            if asking and not (feature := features.check(tool)).found:
                sender, receiver, link = asking[0]
                more = f" and {len(asking) - 1} more" if len(asking) > 1 else ""
                reasons.append(
                    f"underlay.links: this kernel has no {tool} ({feature.detail}), which the link "
                    f"{sender} -> {receiver}{more} needs for {', '.join(link.asks())}; {feature.remedy}"
                )
        return reasons

    async def up(self, scenario: Resolved) -> NetnsLab:
        """Bring up all hosts, their engines and the network between them; no overlay yet."""
        origin = time.monotonic_ns()
        inside = runtime.current()
        if reasons := self.refuse(scenario):
            raise LabError("\n".join(reasons))
        fabric = Fabric(underlay_of(scenario))
        spawner = Spawner(inside.zygote)
        addresses = {name: spec.address for name, spec in scenario.hosts.items()}
        hosts = {
            name: NetnsHost(self._plan(index, name, addresses, fabric, inside.keep), address, spawner, fabric, origin)
            for index, (name, address) in enumerate(addresses.items())
        }
        lab = NetnsLab(hosts, fabric, spawner, origin)
        try:
            await asyncio.gather(fabric.build(), *(host.prepare() for host in hosts.values()))
            await fabric.plug([(host.name, host.pid) for host in hosts.values()])
            await asyncio.gather(*(host.finish() for host in hosts.values()))
        except BaseException:
            await lab.down()
            raise
        return lab

    def _plan(
        self, index: int, name: str, addresses: Mapping[str, str], fabric: Fabric, keep: tuple[str, ...]
    ) -> HostPlan:
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
        lines += [f"{address} {_names(host)}" for host, address in addresses.items()]
        env = {
            "PATH": search_path(os.environ.get("PATH", "")),
            "HOME": "/root",
            "USER": "root",
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOSTNAME": name,
        }
        with contextlib.suppress(KeyError):
            env["PYTHONDONTWRITEBYTECODE"] = os.environ["PYTHONDONTWRITEBYTECODE"]
        return HostPlan(
            name=name,
            disk=str(host_dir(index)),
            keep=keep,
            files={
                "hosts": "\n".join(lines) + "\n",
                "hostname": f"{name}\n",
                "resolv.conf": "# a lab has no name server outside of its overlay\n",
            },
            network=fabric.host_commands(name),
            sysctls=_SYSCTLS,
            env=env,
            engine=self._engine,
        )


def underlay_of(scenario: Resolved) -> Underlay:
    """The part of a scenario that the fabric builds."""
    return Underlay(
        networks=scenario.networks,
        hosts={
            name: [(place.network, str(ip_address(place.address))) for place in spec.interfaces]
            for name, spec in scenario.hosts.items()
        },
        links=scenario.links,
    )


def _names(host: str) -> str:
    short = host.partition(".")[0]
    return host if short == host else f"{host} {short}"

"""Where commands run on a simulated host: the host itself, or one of its containers (`network_commands.NetworkPlace`).

Owns the output of `ip addr`, name resolution, and fetches and pings from there in virtual time.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence

from lab.backends.simulated.commands import Program
from lab.backends.simulated.engine import SimContainer
from lab.backends.simulated.machine import SimMachine
from lab.backends.simulated.network_commands import NETWORK, HttpFetch, ShownInterface, page
from lab.contracts.lab import CommandResult
from lab.probes.kinds.http import ANSWER, REQUEST, SERVING
from lab.sim.filters import Files
from lab.sim.link_model import RTO_MIN
from overlay.datapath.vxlan import BRIDGE as BRIDGE_DEVICE
from overlay.docker.containers import EXPOSED
from overlay.env import SECOND

__all__ = ["ContainerPlace", "HostPlace"]

ECHO_HEADERS = 28
"""Bytes of the IPv4 and ICMP headers."""
_MTU = 1500


class HostPlace:
    """A host's own network."""

    container = ""

    def __init__(self, host: SimMachine) -> None:
        self.host = host

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def files(self) -> Files:
        return self.host.files

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin", "HOME": "/root", "USER": "root", "HOSTNAME": self.name}

    @property
    def programs(self) -> Mapping[str, Program]:
        return {**NETWORK, "weave": self.host.weave}

    def interfaces(self) -> list[ShownInterface]:
        host = self.host
        links = [_LOOPBACK]
        links += [
            ShownInterface(f"eth{number}", _mac(address), _MTU, (address,))
            for number, address in enumerate(host.addresses)
        ]
        links.append(ShownInterface("docker0", "02:42:00:00:00:01", _MTU, (str(host.engine.bridge),)))
        exposed = host.kernel.ports.get(EXPOSED)
        for name in host.devices:
            own = exposed if name == BRIDGE_DEVICE else None
            links.append(ShownInterface(name, own.mac if own else "", host.mtu, own.cidrs if own else ()))
        return links

    def resolve(self, name: str) -> list[str]:
        if _literal(name):
            return [name]
        return self.host.named(name)

    async def fetch(self, address: str, port: int, path: str, timeout: float) -> HttpFetch:
        """GET, as curl does it: connect first, retrying with exponential back-off."""
        host = self.host
        world, reach = host.world, host.reach
        deadline = world.now + round(timeout * SECOND)
        pause = world.model.syn_retry
        while True:
            route = reach.route(host.name, self.container, address, port)
            asked, opened = reach.asked, None
            if route is not None:
                target = reach.target(route)
                refused = target is None or target.port != route.port
                opened = reach.exchange(route, world.now, 60, 60, refused=refused)
            if route is not None and opened is not None and opened < deadline:
                break
            again = min(world.now + pause, deadline)
            pause *= 2
            await host.until(again)
            if again >= deadline:
                return HttpFetch(28, f"Connection timed out after {timeout * 1000:.0f} milliseconds")
        await host.until(opened)
        target = reach.target(route)
        if target is None or target.port != route.port:
            return HttpFetch(7, f"Failed to connect to {address} port {port}: Connection refused")
        answer = _served(target, path)
        pause = RTO_MIN
        while world.now < deadline:
            # A packet larger than a link's MTU is retransmitted until there is another path or a larger MTU.
            done = None
            if route is not None and not target.stopped:
                done = reach.stream(route, world.now, REQUEST, ANSWER + len(answer.body), asked)
            done = done + reach.spread.around(SERVING) if done is not None else None
            if done is not None and done < deadline:
                await host.until(done)
                if reach.route(host.name, self.container, address, port) == route:
                    return answer
            await host.until(min(world.now + pause, deadline))
            pause *= 2
            now = reach.route(host.name, self.container, address, port)
            route = now if now is not None and reach.target(now) is target else None
        return HttpFetch(28, f"Operation timed out after {timeout * 1000:.0f} milliseconds with 0 bytes received")

    async def echo(self, address: str, timeout: float, size: int) -> int | None:
        host = self.host
        begun = host.world.now
        deadline = begun + round(timeout * SECOND)
        route = host.reach.route(host.name, self.container, address, 0)
        packet = size + ECHO_HEADERS
        answered = host.reach.exchange(route, begun, packet, packet) if route is not None else None
        if answered is None or answered > deadline:
            await host.until(deadline)
            return None
        await host.until(answered)
        return answered - begun

    def configure(self, argv: Sequence[str]) -> CommandResult:
        return self.host.configure(argv)

    def inside(self, pid: int) -> "ContainerPlace | None":
        found = self.host.engine.by_pid(pid)
        return ContainerPlace(self.host, found) if found is not None else None

    async def engine(self, method: str, path: str, body: str) -> tuple[int, str]:
        return await self.host.engine.request(method, path, body)


class ContainerPlace(HostPlace):
    """A container's network."""

    def __init__(self, host: SimMachine, container: SimContainer) -> None:
        super().__init__(host)
        self._container = container
        self.container = container.id

    @property
    def name(self) -> str:
        return self._container.hostname

    @property
    def programs(self) -> Mapping[str, Program]:
        return NETWORK

    def interfaces(self) -> list[ShownInterface]:
        links = [
            _LOOPBACK,
            ShownInterface(
                "eth0",
                _mac(self._container.eth0),
                _MTU,
                (f"{self._container.eth0}/{self.host.engine.bridge.network.prefixlen}",),
            ),
        ]
        port = self.host.kernel.ports.get(self.container)
        if port is not None:
            links.append(ShownInterface("ethwe", port.mac, self.host.mtu, port.cidrs))
        return links

    def resolve(self, name: str) -> list[str]:
        if _literal(name):
            return [name]
        daemon = self.host.daemon
        found: list[str] = []
        if daemon is not None and daemon.config.dns:
            # Resolve like a resolver with the overlay's domain as search list.
            found = daemon.resolve(name) or daemon.resolve(f"{name}.{daemon.config.dns_domain}")
        return found or self.host.named(name)

    def configure(self, argv: Sequence[str]) -> CommandResult:
        return self.host.configure_inside(self._container, argv)


_LOOPBACK = ShownInterface("lo", "", 65536, ("127.0.0.1/8", "::1/128"))


def _served(target: SimContainer, path: str) -> HttpFetch:
    if target.greets:
        name = target.args[0] if target.args else target.hostname
        return HttpFetch(0, status=200, body=page(name, target.eth0))
    if target.files is not None and path != "/":
        text = target.files.get(path)
        return HttpFetch(0, status=404) if text is None else HttpFetch(0, status=200, body=text)
    # The response of a user's program is unknown; its `port` only promises that it answers.
    return HttpFetch(0, status=200)


def _literal(name: str) -> bool:
    return ":" in name or re.fullmatch(r"[0-9.]+", name) is not None


def _mac(address: str) -> str:
    octets = ipaddress.ip_interface(address).ip.packed[-4:] if address else bytes(4)
    return (b"\x02\x42" + octets).hex(":")

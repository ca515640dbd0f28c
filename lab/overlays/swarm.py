"""`overlay.kind: swarm`: Docker's own overlay: hosts join a swarm, containers a network that is attachable.

It is a part of the Docker Engine, so it runs where hosts have one: `dind`, `vagrant`. The first host of the lab is the
manager, as `docker swarm init` and `docker swarm join` make it. Tuned: `options: {managers: 3}`, as Docker advises for
production: then no single host is needed to attach a container. Docker chooses addresses, from `iprange`,
and its default for such networks is kernel VXLAN without encryption.

A swarm has no process of its own that could be killed, and what its managers know is theirs: hosts without a way to one
keep what they have.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab.contracts.driver import Driver, DriverFactory, DriverHello, DriverPeer, DriverPlace, DriverPlug, DriverStatus
from lab.contracts.lab import Host
from lab.driven.kind import driven
from lab.driven.kit import HostDriver, host_number
from lab.errors import LabError
from lab.host_engine import HostEngine
from lab.scenario.resolve import Resolved

__all__ = ["KIND", "address_among", "ready_hosts"]

NETWORK = "overlay-lab"
_PORT = 2377
_NO_LIVE_RESTORE = """\
config=/etc/docker/daemon.json
grep -q '"live-restore": *true' $config 2>/dev/null || exit 0
sed -i 's/"live-restore": *true/"live-restore": false/' $config
kill -HUP $(pidof dockerd)
"""
"""Docker refuses a swarm on an engine with `live-restore`, which engines of a lab have: it would outlive its engine."""
_PATIENCE = 50
"""Seconds that an engine may need after a start until it is in its swarm again."""


class SwarmTokens:
    """What the drivers of one lab share: how to join the swarm that its first host has made."""

    def __init__(self) -> None:
        self.worker = ""
        self.manager = ""


def address_among(networks: Any) -> str:
    """A container's address in the network, from what the engine says of its networks; empty: it is not in it."""
    found = networks.get(NETWORK) if isinstance(networks, dict) else None
    if not isinstance(found, dict) or not found.get("IPAddress"):
        return ""
    return f"{found['IPAddress']}/{found.get('IPPrefixLen', 32)}"


def ready_hosts(nodes: Any, names: Mapping[str, str]) -> tuple[str, ...]:
    """Hosts whose node is ready, from the manager's list; `names`: address -> host."""
    rows = [node.get("Status", {}) for node in nodes if isinstance(node, dict)]
    return tuple(names[row["Addr"]] for row in rows if row.get("State") == "ready" and row.get("Addr") in names)


class SwarmDriver(HostDriver):
    """One host's engine in the swarm."""

    def __init__(self, host: Host, place: DriverPlace, tokens: SwarmTokens) -> None:
        super().__init__(host, place)
        self._engine = HostEngine(host)
        self._tokens = tokens
        self._first = host_number(place, place.host) == 1
        self._waits = False
        """Whether the engine joins at the first `connect`."""
        self._manages = host_number(place, place.host) <= self.number("managers", 1)

    async def hello(self) -> DriverHello:
        """The engine's version."""
        version = json.loads(await self._engine.ask("GET", "/version"))["Version"]
        return DriverHello(name="swarm", version=f"docker {version}", addresses="own", carries="frames", daemon=False)

    async def launch(self) -> None:
        """The first host makes the swarm and its network; any other one that has joined before waits until it is in."""
        await self.sh(_NO_LIVE_RESTORE)
        await self._until(lambda info: not info.get("LiveRestoreEnabled"), "still has `live-restore`")
        # After a start an engine is `pending` until it has found a manager.
        info = await self._until(lambda info: _state(info) in ("active", "inactive"), "is not in its swarm")
        if not self._first:
            self._waits = _state(info) == "inactive"
            return
        if _state(info) == "inactive":
            body = {"ListenAddr": f"0.0.0.0:{_PORT}", "AdvertiseAddr": self.place.address}
            await self._engine.ask("POST", "/swarm/init", body)
            network = {
                "Name": NETWORK,
                "Driver": "overlay",
                "Attachable": True,
                "IPAM": {"Config": [{"Subnet": self.place.subnet}]},
            }
            await self._engine.ask("POST", "/networks/create", network)
        tokens = json.loads(await self._engine.ask("GET", "/swarm"))["JoinTokens"]
        self._tokens.worker, self._tokens.manager = tokens["Worker"], tokens["Manager"]

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Join the swarm of the first host."""
        if self._first or _state(await self._info()) != "inactive":
            return
        first = next(iter(self.place.hosts))
        if first not in [peer.name for peer in peers]:
            raise LabError(f"{self.place.host}: a swarm has its manager on {first}, so hosts must connect to that one")
        body = {
            "ListenAddr": f"0.0.0.0:{_PORT}",
            "AdvertiseAddr": self.place.address,
            "RemoteAddrs": [f"{self.place.hosts[first]}:{_PORT}"],
            "JoinToken": self._tokens.manager if self._manages else self._tokens.worker,
        }
        await self._engine.ask("POST", "/swarm/join", body)
        self._waits = False

    async def attach(self, what: DriverPlug) -> str:
        """`docker network connect`; a container that was in it before has been put back by the engine."""
        if not (address := await self._address(what.container)):
            await self._engine.ask("POST", f"/networks/{NETWORK}/connect", {"Container": what.container})
            address = await self._address(what.container)
        return address

    async def detach(self, what: DriverPlug) -> None:
        """`docker network disconnect`."""
        body = {"Container": what.container, "Force": True}
        await self._engine.ask("POST", f"/networks/{NETWORK}/disconnect", body, fine=(403, 404))

    async def status(self) -> DriverStatus:
        """Whether the engine is in the swarm, or waits for `connect`; a manager knows who else is."""
        if self._waits:
            return DriverStatus(running=True)
        state = _state(await self._info())
        if state != "active" or not self._manages:
            return DriverStatus(running=state == "active")
        names = {address: name for name, address in self.place.hosts.items() if name != self.place.host}
        nodes = json.loads(await self._engine.ask("GET", "/nodes"))
        return DriverStatus(running=True, peers=ready_hosts(nodes, names))

    async def stop(self) -> None:
        """`docker swarm leave`."""
        self._waits = False
        await self._engine.ask("POST", "/swarm/leave?force=1", fine=(503,))

    async def logs(self) -> str:
        """What the engine complains of."""
        return str((await self._info())["Swarm"].get("Error", ""))

    async def _address(self, container: str) -> str:
        return address_among((await self._engine.inspect(container))["NetworkSettings"]["Networks"])

    async def _info(self) -> Mapping[str, Any]:
        info: Mapping[str, Any] = json.loads(await self._engine.ask("GET", "/info"))
        return info

    async def _until(self, holds: Callable[[Mapping[str, Any]], bool], otherwise: str) -> Mapping[str, Any]:
        for _ in range(_PATIENCE * 2):
            if holds(info := await self._info()):
                return info
            await asyncio.sleep(0.5)
        error = (await self._info())["Swarm"].get("Error") or "it does not say why"
        raise LabError(f"{self.place.host}: the engine {otherwise} after {_PATIENCE} s: {error}")


def _state(info: Mapping[str, Any]) -> str:
    return str(info["Swarm"]["LocalNodeState"])


def _making(scenario: Resolved) -> DriverFactory:
    tokens = SwarmTokens()

    def make(host: Host, place: DriverPlace) -> Driver:
        return SwarmDriver(host, place, tokens)

    return make


KIND = driven(
    name="swarm",
    about="Docker's own overlay network in swarm mode, where hosts have a Docker Engine (`dind`, `vagrant`)",
    making=_making,
    numbers={"managers": (1, 7)},
    variants={"tuned": {"managers": 3}},
    has_daemons=False,
    backends=("dind", "vagrant"),
)

"""`overlay.kind: none`: containers on their engine's own network, services reached by published ports. For comparison.

On one host containers reach each other by their engine addresses; from another host by HOST:PORT, if the service has a
port. There are no names, and nothing is launched.
"""

from collections.abc import Sequence

from lab.contracts.lab import Lab
from lab.host_engine import HostEngine
from lab.kinds.options import Options
from lab.kinds.overlays import OverlayKind
from lab.scenario.resolve import Replica, Resolved


class PlainOverlay:
    """No overlay."""

    kind = "none"
    has_daemons = False
    has_views = False
    has_dns = False

    def __init__(self, lab: Lab, scenario: Resolved) -> None:
        self._lab = lab
        self._scenario = scenario
        self._addresses: dict[str, str] = {}
        self._published: dict[str, dict[int, int]] = {}

    async def launch(self, hosts: Sequence[str], options: Options) -> None:
        """Nothing to launch."""

    async def connect(self, source: str, targets: Sequence[str]) -> None:
        """Nothing to connect."""

    async def run(self, replica: Replica) -> None:
        """`docker run` with the service's port published."""
        await HostEngine(self._lab.hosts[replica.host]).run(replica)
        await self._learn(replica)

    async def remove(self, replica: Replica) -> None:
        """`docker rm -f`."""
        self._addresses.pop(replica.name, None)
        self._published.pop(replica.name, None)
        await HostEngine(self._lab.hosts[replica.host]).remove(replica.name)

    async def kill(self, replica: Replica) -> None:
        """`docker kill`."""
        await HostEngine(self._lab.hosts[replica.host]).kill(replica.name)

    async def restart(self, replica: Replica) -> None:
        """`docker start`; address and port may be new."""
        await HostEngine(self._lab.hosts[replica.host]).start(replica.name)
        await self._learn(replica)

    async def relaunch(self, host: str) -> bool:
        """No daemon, nothing to bring back."""
        return False

    async def stop(self, host: str) -> None:
        """There is no daemon to stop."""

    async def kill_daemon(self, host: str) -> None:
        """There is no daemon to kill."""

    def address_of(self, replica: str) -> str:
        """Its address on its engine's network, which other hosts cannot reach."""
        return self._addresses.get(replica, "")

    def endpoint(self, source: Replica, target: Replica, port: int) -> tuple[str, int] | None:
        """Directly on one host, else by the host's address and the published port."""
        if source.host == target.host:
            address = self._addresses.get(target.name)
            return (address, port) if address else None
        published = self._published.get(target.name, {}).get(port)
        return (self._lab.hosts[target.host].address, published) if published else None

    async def resolver(self, host: str) -> str:
        """There is no name server."""
        return ""

    async def log_tail(self, host: str) -> str:
        """There is no daemon."""
        return ""

    async def _learn(self, replica: Replica) -> None:
        settings = (await HostEngine(self._lab.hosts[replica.host]).inspect(replica.name))["NetworkSettings"]
        self._addresses[replica.name] = settings["IPAddress"]
        self._published[replica.name] = {
            int(inside.partition("/")[0]): int(outside[0]["HostPort"])
            for inside, outside in (settings.get("Ports") or {}).items()
            if outside
        }


KIND = OverlayKind(
    name="none",
    about="containers on their engine's own network; other hosts reach them at `HOST:PUBLISHED-PORT`",
    make=PlainOverlay,
)

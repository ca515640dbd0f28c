"""The overlay `islands`: containers of one host see each other; with `bridges`, published ports of others."""

from collections.abc import Iterator, Sequence
from typing import Any

from lab.contracts.lab import Lab
from lab.host_engine import HostEngine
from lab.kinds.options import OptionFault, Options
from lab.kinds.overlays import OverlayKind
from lab.scenario.resolve import Replica, Resolved


class Islands:
    """Each host is an island."""

    kind = "islands"
    has_daemons = False
    has_views = False
    has_dns = False

    def __init__(self, lab: Lab, scenario: Resolved) -> None:
        self._engines = {name: HostEngine(host) for name, host in lab.hosts.items()}
        self._hosts = {name: host.address for name, host in scenario.hosts.items()}
        self._bridges = scenario.options.get("bridges", False)
        self._found: dict[str, dict[str, Any]] = {}

    async def launch(self, hosts: Sequence[str], options: Options) -> None:
        """Nothing runs on hosts."""

    async def connect(self, source: str, targets: Sequence[str]) -> None:
        """Nobody to connect."""

    async def run(self, replica: Replica) -> None:
        """`docker run`."""
        await self._engines[replica.host].run(replica)
        await self._look(replica)

    async def remove(self, replica: Replica) -> None:
        """`docker rm -f`."""
        self._found.pop(replica.name, None)
        await self._engines[replica.host].remove(replica.name)

    async def kill(self, replica: Replica) -> None:
        """`docker kill`."""
        await self._engines[replica.host].kill(replica.name)

    async def restart(self, replica: Replica) -> None:
        """`docker start`."""
        await self._engines[replica.host].start(replica.name)
        await self._look(replica)

    async def relaunch(self, host: str) -> bool:
        """No daemon to bring back."""
        return False

    async def stop(self, host: str) -> None:
        """No daemon to end."""

    async def kill_daemon(self, host: str) -> None:
        """No daemon runs that could be killed."""

    def address_of(self, replica: str) -> str:
        """On its engine's network."""
        return str(self._found.get(replica, {}).get("IPAddress", ""))

    def endpoint(self, source: Replica, target: Replica, port: int) -> tuple[str, int] | None:
        """Directly on one host; elsewhere by the port that is published, if there are bridges."""
        found = self._found.get(target.name)
        if found is None:
            return None
        if source.host == target.host:
            return found["IPAddress"], port
        outside = (found.get("Ports") or {}).get(f"{port}/tcp")
        return (self._hosts[target.host], int(outside[0]["HostPort"])) if outside and self._bridges else None

    async def resolver(self, host: str) -> str:
        """There are no names."""
        return ""

    async def log_tail(self, host: str) -> str:
        """There is no daemon."""
        return ""

    async def _look(self, replica: Replica) -> None:
        self._found[replica.name] = (await self._engines[replica.host].inspect(replica.name))["NetworkSettings"]


def _faults(options: Options) -> Iterator[OptionFault]:
    for key, value in options.items():
        if key != "bridges":
            yield KIND.unknown(key)
        elif not isinstance(value, bool):
            yield OptionFault(key, repr(value), "true or false")


KIND = OverlayKind(
    name="islands",
    about="containers of one host see each other; with `bridges: true` published ports of others too",
    make=Islands,
    options=lambda: ("bridges",),
    faults=_faults,
)

"""Deaths: the overlay's daemon, a whole host, the containers of a service; healing one is starting it again.

Everything dies by SIGKILL, without a farewell. What survives is what a crash leaves: the kernel's state when only a
daemon dies, the disk when a host does.
"""

from lab.faults.base import Bench, Fault, Mark
from lab.scenario_steps import Victim
from lab.topology import Replica

DAEMON_MARK = Mark("daemon killed", "#edae49")
HOST_MARK = Mark("host down", "#5b5f97")
CONTAINER_MARK = Mark("container killed", "#8d6a9f")


class DaemonDeath:
    """`kill -9` of a host's overlay daemon. The kernel's part of the data path goes on."""

    what = "kill"
    mark = DAEMON_MARK

    def __init__(self, host: str) -> None:
        self.victim = ("daemon", host)
        self.hosts: tuple[str, ...] = (host,)
        self.label = f"daemon of {host}"

    async def inject(self, bench: Bench, step: int) -> None:
        """Kill it."""
        bench.daemon_stops(self.hosts[0])
        await bench.lab.hosts[self.hosts[0]].kill_daemon()

    async def heal(self, bench: Bench, step: int) -> None:
        """Launch it again with the options that it had."""
        if await bench.overlay.relaunch(self.hosts[0]):
            bench.daemon_runs(self.hosts[0])


class HostDeath:
    """A power cut. Containers that ran are started again when the host is back."""

    what = "kill"
    mark = HOST_MARK

    def __init__(self, host: str) -> None:
        self.victim = ("host", host)
        self.hosts: tuple[str, ...] = (host,)
        self.label = f"host {host}"

    async def inject(self, bench: Bench, step: int) -> None:
        """Switch it off."""
        bench.host_stops(self.hosts[0])
        await bench.lab.hosts[self.hosts[0]].kill()

    async def heal(self, bench: Bench, step: int) -> None:
        """Switch it on, launch the overlay, start its containers."""
        host = self.hosts[0]
        await bench.lab.hosts[host].start()
        bench.host_runs(host)
        if await bench.overlay.relaunch(host):
            bench.daemon_runs(host)
        for replica in [item for item in bench.placed.values() if item.host == host]:
            await bench.overlay.restart(replica)
            bench.container_runs(replica.name)


class ContainerDeath:
    """SIGKILL of all containers of a service, or of one replica."""

    what = "kill"
    mark = CONTAINER_MARK
    hosts: tuple[str, ...] = ()

    def __init__(self, service: str) -> None:
        self.victim = ("service", service)
        self.label = f"service {service}"

    async def inject(self, bench: Bench, step: int) -> None:
        """Kill them."""
        for replica in self._replicas(bench):
            bench.container_stops(replica.name)
            await bench.overlay.kill(replica)

    async def heal(self, bench: Bench, step: int) -> None:
        """Start them again."""
        for replica in self._replicas(bench):
            await bench.overlay.restart(replica)
            bench.container_runs(replica.name)

    def _replicas(self, bench: Bench) -> list[Replica]:
        name = self.victim[1]
        return [item for item in bench.placed.values() if name in (item.service, item.name)]


def death_of(step: Victim) -> Fault:
    """The fault of a `kill` step."""
    if step.daemon is not None:
        return DaemonDeath(step.daemon)
    if step.host is not None:
        return HostDeath(step.host)
    assert step.service is not None
    return ContainerDeath(step.service)

"""Deaths: the overlay's daemon, a whole host, the containers of a service; healing one is starting it again.

Everything dies by SIGKILL, without a farewell. What survives is what a crash leaves: the kernel's state when only a
daemon dies, the disk when a host does. Who else keeps the victim down is `lab.faults.upkeep`'s.
"""

from collections.abc import Sequence

from lab.contracts.fault import Bench, Mark
from lab.errors import LabError
from lab.scenario.resolve import Replica
from lab.scenario.steps import Victim

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

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return self.hosts

    async def inject(self, bench: Bench, step: int) -> None:
        """Kill it."""
        await bench.upkeep.daemon_down(self.hosts[0], step)

    async def heal(self, bench: Bench, step: int | None) -> None:
        """Launch it again with the options that it had."""
        await bench.upkeep.daemon_up(self.hosts[0], step)


class HostDeath:
    """A power cut. Containers that ran are started again when the host is back."""

    what = "kill"
    mark = HOST_MARK

    def __init__(self, host: str) -> None:
        self.victim = ("host", host)
        self.hosts: tuple[str, ...] = (host,)
        self.label = f"host {host}"

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return self.hosts

    async def inject(self, bench: Bench, step: int) -> None:
        """Switch it off."""
        await bench.upkeep.host_down(self.hosts[0], step)

    async def heal(self, bench: Bench, step: int | None) -> None:
        """Switch it on, launch the overlay, start its containers."""
        await bench.upkeep.host_up(self.hosts[0], step)


class ContainerDeath:
    """SIGKILL of all containers of a service, or of one replica."""

    what = "kill"
    mark = CONTAINER_MARK
    hosts: tuple[str, ...] = ()

    def __init__(self, service: str) -> None:
        self.victim = ("service", service)
        self.label = f"service {service}"

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return [replica.host for replica in self._replicas(bench)]

    async def inject(self, bench: Bench, step: int) -> None:
        """Kill them."""
        for replica in self._some(bench):
            await bench.upkeep.container_down(replica, step)

    async def heal(self, bench: Bench, step: int | None) -> None:
        """Start them again."""
        replicas = self._some(bench) if step is None else self._replicas(bench)
        await bench.upkeep.containers_up(replicas, step)

    def _some(self, bench: Bench) -> list[Replica]:
        if not (found := self._replicas(bench)):
            raise LabError(f"there is no container of {self.victim[1]}: it was not started yet, or removed")
        return found

    def _replicas(self, bench: Bench) -> list[Replica]:
        name = self.victim[1]
        return [item for item in bench.placed.values() if name in (item.service, item.name)]


Death = DaemonDeath | HostDeath | ContainerDeath
"""Its `heal` without a step is a restart: whatever holds the victim lets go of it."""


def death_of(step: Victim) -> Death:
    """The fault of a `kill` step."""
    if step.daemon is not None:
        return DaemonDeath(step.daemon)
    if step.host is not None:
        return HostDeath(step.host)
    assert step.service is not None
    return ContainerDeath(step.service)

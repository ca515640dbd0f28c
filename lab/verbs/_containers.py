"""Starting, finding and removing the containers of services, for the verbs that do."""

from collections.abc import Sequence

from lab.contracts.fault import Bench
from lab.contracts.overlay import together
from lab.errors import LabError
from lab.scenario.resolve import Replica


async def start(bench: Bench, replicas: Sequence[Replica]) -> None:
    """Start containers: side by side on different hosts, in order on one."""
    live = bench.live
    for replica in replicas:
        if replica.name in live.placed:
            raise LabError(f"{replica.name} was started already; `remove` it first, or `scale` its service")
    by_host: dict[str, list[Replica]] = {}
    for replica in replicas:
        by_host.setdefault(replica.host, []).append(replica)

    async def on_host(host: str, mine: list[Replica]) -> None:
        async with bench.upkeep.working_on((host,)):
            for replica in mine:
                if host in live.hosts_down:
                    raise LabError(f"{replica.name} belongs on {host}, which is switched off")
                await bench.overlay.run(replica)
                live.container_placed(replica)

    await together(on_host(host, mine) for host, mine in by_host.items())
    await bench.probing.sync()


async def remove(bench: Bench, replicas: Sequence[Replica]) -> None:
    """Remove containers; those of a host that is off go when it is back."""
    async with bench.upkeep.working_on(replica.host for replica in replicas):
        for replica in replicas:
            bench.live.container_removed(replica.name)
            bench.upkeep.removed(replica)
        await bench.probing.sync()
        alive = [replica for replica in replicas if replica.host not in bench.live.hosts_down]
        await together(bench.overlay.remove(replica) for replica in alive)


def some(bench: Bench, service: str) -> list[Replica]:
    """The containers of a service that run; raises `LabError` if none does."""
    replicas = bench.live.chosen((service,), alive=True)
    if not replicas:
        raise LabError(f"no container of {service} runs")
    return replicas

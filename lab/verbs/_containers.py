"""Starting, finding and removing the containers of services, for the verbs that do."""

from collections.abc import Awaitable, Callable, Sequence

from lab.contracts.fault import Bench
from lab.contracts.overlay import together
from lab.errors import Exhausted, LabError, Violation
from lab.scenario.base import listed
from lab.scenario.resolve import Replica


async def start(bench: Bench, replicas: Sequence[Replica]) -> None:
    """Start containers: side by side on different hosts, in order on one. On a failure nothing more is started on that
    host; the error names the containers that run."""
    live = bench.live
    for replica in replicas:
        if replica.name in live.placed:
            raise LabError(f"{replica.name} was started already; `remove` it first, or `scale` its service")
    by_host: dict[str, list[Replica]] = {}
    for replica in replicas:
        by_host.setdefault(replica.host, []).append(replica)
    failed: list[LabError] = []

    async def on_host(host: str, mine: list[Replica]) -> None:
        async with bench.upkeep.working_on((host,)):
            for replica in mine:
                try:
                    if host in live.hosts_down:
                        raise LabError(f"{replica.name} belongs on {host}, which is switched off")
                    await bench.overlay.run(replica)
                except LabError as error:
                    failed.append(of_step(error))
                    return
                live.container_placed(replica)

    # Not cancelled by a failure elsewhere: a container that is half started belongs to nobody.
    await together(on_host(host, mine) for host, mine in by_host.items())
    await bench.probing.sync()
    if failed:
        raise unfinished(failed[0], "started", [one.name for one in replicas if one.name in live.placed])


async def remove(bench: Bench, replicas: Sequence[Replica]) -> None:
    """Remove containers; those of a host that is off go when it is back. Those that cannot be removed count as before,
    so that they can be removed later."""
    failed: dict[str, LabError] = {}

    async def one(replica: Replica) -> None:
        try:
            await bench.overlay.remove(replica)
        except LabError as error:
            failed[replica.name] = of_step(error)

    async with bench.upkeep.working_on(replica.host for replica in replicas):
        ran = {replica.name for replica in replicas if replica.name in bench.live.running}
        for replica in replicas:
            bench.live.container_removed(replica.name)
            bench.upkeep.removed(replica)
        await bench.probing.sync()
        await together(one(replica) for replica in replicas if replica.host not in bench.live.hosts_down)
        if failed:
            for replica in replicas:
                if replica.name in failed:
                    bench.live.container_placed(replica)
                    if replica.name not in ran:
                        bench.live.container_stops(replica.name)
            await bench.probing.sync()
            gone = [replica.name for replica in replicas if replica.name not in failed]
            raise unfinished(next(iter(failed.values())), "removed", gone)


def of_step(error: LabError) -> LabError:
    """The error, if it is the step's; an error of the machine, or of the overlay as such, ends the run as it is."""
    if isinstance(error, Exhausted | Violation):
        raise error
    return error


def unfinished(error: LabError, what: str, done: Sequence[str]) -> LabError:
    """The error of a step that did a part before it failed: with the containers of that part."""
    if not done:
        return error
    return LabError(f"{error}; {what} before that: {listed(done)}")


async def on_each(
    bench: Bench, replicas: Sequence[Replica], work: Callable[[Replica], Awaitable[None]], what: str
) -> None:
    """Do something to one container after the other. On a failure the error names those to which it was done."""
    done: list[str] = []
    try:
        for replica in replicas:
            async with bench.upkeep.working_on((replica.host,)):
                await work(replica)
            done.append(replica.name)
    except LabError as error:
        if done:
            await bench.probing.sync()
        raise unfinished(of_step(error), what, done) from error
    await bench.probing.sync()


def some(bench: Bench, service: str) -> list[Replica]:
    """The containers of a service that run; raises `LabError` if none does."""
    replicas = bench.live.chosen((service,), alive=True)
    if not replicas:
        raise LabError(f"no container of {service} runs")
    return replicas

"""`kill`: SIGKILL of the overlay's daemon, of a whole host, of its container engine, or of the containers of a service.

Everything dies without a farewell. What survives is what a crash leaves: the kernel's state when only a daemon dies,
the disk when a host does. Who else keeps the victim down is `lab.runner.upkeep`'s.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from lab.contracts.fault import Bench, Fault, Mark, Restartable
from lab.errors import LabError
from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Model, Name, Problem, fault
from lab.scenario.check import Known
from lab.scenario.resolve import Replica
from lab.scenario.values import Duration


class Victim(Model):
    """One thing to pause: the overlay's daemon on a host, the host, or a service's containers."""

    daemon: Name | None = None
    """The host whose overlay daemon it is."""
    host: Name | None = None
    """The whole host."""
    service: Name | None = None
    """The containers of this service, or this replica."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string"},)
    kinds: ClassVar[tuple[str, ...]] = ("daemon", "host", "service")

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"daemon": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_victim(self) -> "Victim":
        given = [name for name in self.kinds if getattr(self, name) is not None]
        if len(given) != 1:
            raise fault(f"exactly one of {', '.join(self.kinds)}", ", ".join(given) or "none of them")
        return self

    def check(self, where: Where, known: Known) -> Iterator[Problem]:
        """Whether it exists."""
        if self.daemon is not None:
            yield from known.host((*where, "daemon"), self.daemon)
        yield from known.place(where, self.host, self.service)


class KillVictim(Victim):
    """One thing to kill or to restart: also the container engine of a host, with or without its live-restore."""

    engine: Name | None = None
    """The host whose container engine it is."""
    live_restore: bool = False
    """The engine leaves its containers running, and takes them over when it is back."""
    farewell: bool = False
    """The daemon ends in its own way: it says farewell first."""

    kinds: ClassVar[tuple[str, ...]] = ("daemon", "host", "engine", "service")

    @model_validator(mode="after")
    def _restore_of_an_engine(self) -> "KillVictim":
        if self.live_restore and self.engine is None:
            raise fault("`live_restore` next to `engine`", "no `engine`")
        if self.farewell and self.daemon is None:
            raise fault("`farewell` next to `daemon`", "no `daemon`")
        return self

    def check(self, where: Where, known: Known) -> Iterator[Problem]:
        """Whether it exists."""
        yield from super().check(where, known)
        if self.engine is not None:
            yield from known.host((*where, "engine"), self.engine)


def check_victim(deed: str, where: Where, body: Victim, known: Known) -> Iterator[Problem]:
    """Whether it exists, and the overlay has daemons to kill or to pause."""
    yield from body.check(where, known)
    kind = known.scenario.overlay.kind
    if body.daemon is not None and not OVERLAYS.get(kind).has_daemons:
        yield Problem(where, f"a daemon to {deed} on overlay {kind}", "a host or a service")


class DaemonDeath(Restartable):
    """`kill -9` of a host's overlay daemon, or its own way to stop. The kernel's part of the data path goes on."""

    what = "kill"
    mark = Mark("daemon killed", "#edae49")

    def __init__(self, host: str, *, farewell: bool = False) -> None:
        self.victim = ("daemon", host)
        self.hosts = (host,)
        self.label = f"{'stop' if farewell else 'kill'} daemon of {host}"
        self._farewell = farewell

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return self.hosts

    async def inject(self, bench: Bench, step: int) -> None:
        """Kill or stop it."""
        await bench.upkeep.daemon_down(self.hosts[0], step, farewell=self._farewell)

    async def heal(self, bench: Bench, step: int | None) -> None:
        """Launch it again with the options that it had."""
        await bench.upkeep.daemon_up(self.hosts[0], step)


class HostDeath(Restartable):
    """A power cut. Containers that ran are started again when the host is back."""

    what = "kill"
    mark = Mark("host down", "#5b5f97")

    def __init__(self, host: str) -> None:
        self.victim = ("host", host)
        self.hosts = (host,)
        self.label = f"kill host {host}"

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return self.hosts

    async def inject(self, bench: Bench, step: int) -> None:
        """Switch it off."""
        await bench.upkeep.host_down(self.hosts[0], step)

    async def heal(self, bench: Bench, step: int | None) -> None:
        """Switch it on, launch the overlay, start its containers."""
        await bench.upkeep.host_up(self.hosts[0], step)


class ContainerDeath(Restartable):
    """SIGKILL of all containers of a service, or of one replica."""

    what = "kill"
    mark = Mark("container killed", "#8d6a9f")

    def __init__(self, service: str) -> None:
        self.victim = ("service", service)
        self.label = f"kill service {service}"

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
        return [item for item in bench.live.placed.values() if name in (item.service, item.name)]


class EngineDeath(Restartable):
    """The end of a host's container engine. What its containers do meanwhile is the engine's affair."""

    what = "kill"
    mark = Mark("engine killed", "#7f5539")

    def __init__(self, host: str, *, live_restore: bool) -> None:
        self.victim = ("engine", host)
        self.label = f"kill engine of {host}" + (" with live-restore" if live_restore else "")
        self.told = {} if live_restore else {"unjudged": True}
        self._host, self._live_restore = host, live_restore

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return (self._host,)

    async def inject(self, bench: Bench, step: int) -> None:
        """Kill it, and keep it down."""
        await bench.upkeep.engine_down(self._host, step, live_restore=self._live_restore)

    async def heal(self, bench: Bench, step: int | None) -> None:
        """Start it again, and the containers that it has not kept."""
        await bench.upkeep.engine_up(self._host, step, live_restore=self._live_restore)


def death_of(body: KillVictim) -> Restartable:
    """The fault of a victim."""
    if body.daemon is not None:
        return DaemonDeath(body.daemon, farewell=body.farewell)
    if body.host is not None:
        return HostDeath(body.host)
    if body.engine is not None:
        return EngineDeath(body.engine, live_restore=body.live_restore)
    assert body.service is not None
    return ContainerDeath(body.service)


_TORN = "5s"
"""What is written in this time before a power cut is lost."""


def engine_needs(body: KillVictim) -> tuple[str, ...]:
    """What hosts must be able to do for it."""
    if body.engine is None:
        return ()
    return ("engine", "live-restore") if body.live_restore else ("engine",)


class _Kill(Verb[KillVictim]):
    name = "kill"
    model = KillVictim
    form = "`kill: {daemon: a}`, `{host: a}`, `{engine: a}`, `{service: s}`"
    about = (
        "SIGKILL to the overlay's daemon (also `kill: a`), power off a host, SIGKILL to its container engine, or kill "
        "containers; with `for` they start again by themselves. With `farewell: true` a daemon stops in good order. "
        "With `live_restore: true` an engine that is back takes over its containers, else it ends them, see below"
    )
    needs = ("engine", "live-restore")
    takes_for = "lasts"
    changes = "both"
    moves = True
    launches = "again"
    odds = 10

    def check(self, where: Where, body: KillVictim, known: Known) -> Iterator[Problem]:
        yield from check_victim(self.name, where, body, known)

    def needed(self, body: KillVictim) -> tuple[str, ...]:
        return engine_needs(body)

    def plan(self, body: KillVictim, planning: Planning) -> Fault:
        return death_of(body)

    def draw(self, chance: Chance) -> Drawn | None:
        """Some hosts that lose their power have a disk that has lied about what was on it."""
        rng = chance.rng
        match rng.randrange(5):
            case 0 | 1:
                return Drawn({"daemon": rng.choice(chance.hosts)})
            case 2:
                return Drawn({"host": rng.choice(chance.hosts)})
            case 3:
                host = rng.choice(chance.hosts)
                torn = {"slow_disk": {"host": host, "torn": True, "for": _TORN}}
                return Drawn({"host": host}, before=(torn, {"wait": _TORN}) if rng.randrange(2) else ())
        return Drawn({"service": rng.choice(list(chance.services))}) if chance.services else None


KIND = _Kill()

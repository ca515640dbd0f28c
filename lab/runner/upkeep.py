"""Keeps hosts, daemons, containers and devices as the faults in force leave them: one place kills and starts.

Owns the holds: which fault (by its step) keeps which thing down, or disturbs it. A thing runs when nothing holds it and
what it runs on is there. So faults may overlap in any way and each heals on its own time: the fault that drops the last
hold starts the thing, and what cannot be started (its host is off, its daemon is down) starts together with what it
waits for; what fails to start because of another fault (a full disk, say) is tried again when that has ended. Works on
one host at a time, under that host's lock. Knows no verb and no schedule.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any, cast

from lab.contracts.lab import Adjustable, Engined
from lab.errors import LabError
from lab.scenario.resolve import Replica

if TYPE_CHECKING:
    from lab.contracts.fault import Bench

__all__ = ["Adjust", "Thing", "Upkeep"]

Thing = tuple[str, str]
"""Kind and name: ("host", a), ("daemon", a), ("engine", a), ("container", web-1), ("disk", a) and other devices."""

Adjust = Callable[[Adjustable, Sequence[Any], bool], Awaitable[None]]
"""Sets a device of a host: given what its faults in force say, the first first, and whether one of them strikes now."""


_TURNS = "turns of container"
_BY_HAND = -1
"""The step of a hold that ends within the same step."""


class Upkeep:
    """What is held, by which steps, and what follows from it."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench
        self._holds: dict[Thing, dict[int, Any]] = {}
        """Thing -> step of each fault that holds it -> how (of disks and clocks), the first first."""
        self._disturbed: dict[Thing, Adjust] = {}
        """Devices that were disturbed once -> how they are set."""
        self._engines: dict[str, bool] = {}
        """Hosts whose engine nothing keeps down, but which has not started yet -> whether it takes over containers."""
        self._leftovers: dict[str, Replica] = {}
        """Containers that were removed while their host was off, which are on its disk still."""
        self.waiting: dict[str, str] = {}
        """Hosts on which something did not start while something else was broken too -> why not."""
        self._locks = {host: asyncio.Lock() for host in bench.scenario.hosts}
        self._adjusting: dict[Thing, asyncio.Lock] = {}
        """Devices have locks of their own: what is under way on a host may be waiting for its disk."""

    def host_joins(self, host: str) -> None:
        """The lab has one more host."""
        self._locks[host] = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def working_on(self, hosts: Iterable[str]) -> AsyncIterator[None]:
        """Have these hosts for oneself: what is under way on them ends first. Not to be nested."""
        wanted = set(hosts)
        async with contextlib.AsyncExitStack() as stack:
            for host, lock in self._locks.items():  # always in one order, so that two cannot wait for each other
                if host in wanted:
                    await stack.enter_async_context(lock)
            yield

    # Taking holds

    async def host_down(self, host: str, step: int) -> None:
        """Cut the host's power, and keep it off."""
        self._take(("host", host), step)
        if host not in self._bench.live.hosts_down:
            self._bench.live.host_stops(host)
            await self._bench.lab.hosts[host].kill()

    async def daemon_down(self, host: str, step: int, *, farewell: bool = False) -> None:
        """Kill the host's daemon, or stop it in good order, and keep it down. Raises `LabError` if there is none."""
        thing = ("daemon", host)
        if host not in self._bench.live.hosts_down and (host in self._bench.live.daemons or not self._holds.get(thing)):
            self._bench.live.daemon_stops(host)
            await (self._bench.overlay.stop(host) if farewell else self._bench.overlay.kill_daemon(host))
        self._take(thing, step)

    async def container_down(self, replica: Replica, step: int) -> None:
        """Kill a container, and keep it down."""
        self._take(("container", replica.name), step)
        if replica.name in self._bench.live.running:
            self._bench.live.container_stops(replica.name)
            await self._bench.overlay.kill(replica)

    async def engine_down(self, host: str, step: int, *, live_restore: bool, number: int = SIGKILL) -> None:
        """End the host's container engine, and keep it down. Without `live_restore` nothing is demanded of its
        containers until it is back: they run on, or have ended with it."""
        thing, live = ("engine", host), self._bench.live
        if host not in live.hosts_down and not self._held(*thing):
            await engined(self._bench, host).end_engine(number, live_restore=live_restore)
        self._take(thing, step, live_restore)
        for replica in () if live_restore else [one for one in live.running.values() if one.host == host]:
            live.stopped[replica.name] = None
            self._take(_turns(replica), step)

    async def disturb(self, device: Thing, step: int, how: Any, adjust: Adjust) -> None:
        """Disturb a host's device; `adjust` sets it, again when another fault ends and when the host is back."""
        adjustable(self._bench, device[1])
        self._take(device, step, how)
        self._disturbed[device] = adjust
        await self._adjust(device, struck=True)

    # Dropping them; without a step: all holds on the thing, because somebody wants it back now

    async def host_up(self, host: str, step: int | None) -> None:
        """Switch the host on again, with all on it that nothing else holds, unless something else keeps it off."""
        held = self._drop(("host", host), step)
        if host in self._bench.live.hosts_down:
            if held:
                return
            await self._bench.lab.hosts[host].start()
            self._bench.live.host_runs(host)
            self._engines.pop(host, None)
            if self._held("engine", host):  # it boots with one
                await engined(self._bench, host).end_engine(SIGKILL, live_restore=True)
            for device in list(self._disturbed):
                if device[1] == host:
                    await self._adjust(device, struck=bool(self._holds.get(device)))
            for replica in [one for one in self._leftovers.values() if one.host == host]:
                await self._bench.overlay.remove(replica)
                del self._leftovers[replica.name]
            await self._start_daemon(host)
            await self.start_containers(host)
        elif step is None:
            raise LabError(f"host {host} is running already")

    async def daemon_up(self, host: str, step: int | None) -> None:
        """Launch the daemon again with the options that it had, unless something else keeps it down."""
        self._drop(("daemon", host), step)
        if step is None and host in self._bench.live.daemons:
            raise LabError(f"the overlay's daemon on {host} is running already")
        await self._start_daemon(host)
        await self.start_containers(host)

    async def engine_up(self, host: str, step: int | None, *, live_restore: bool) -> None:
        """Start the engine again, unless something else keeps it down, and the containers that it has not kept.

        Without a step an engine that runs is ended first."""
        thing, live = ("engine", host), self._bench.live
        if step is None and not self._held(*thing) and host not in self._engines:
            if host in live.hosts_down:
                raise LabError(f"host {host} is switched off")
            await self.engine_down(host, _BY_HAND, live_restore=live_restore, number=SIGTERM)
        restores = all(self._holds.get(thing, {}).values())
        ours = [replica for replica in live.placed.values() if replica.host == host]
        names = {replica.name for replica in ours}
        for held in [one for one in self._holds if one[0] == _TURNS and (step is not None or one[1] in names)]:
            self._drop(held, step)
        if self._drop(thing, step) or host in live.hosts_down:
            return
        if not restores:
            for replica in ours:
                live.container_stops(replica.name)
        self._engines[host] = restores
        await self._start_engine(host)
        await self.start_containers(host)

    async def containers_up(self, replicas: Iterable[Replica], step: int | None) -> None:
        """Start containers again, those that nothing else keeps down."""
        for replica in replicas:
            self._drop(("container", replica.name), step)
            if step is None and replica.name in self._bench.live.running:
                # Nothing here has killed it, but who wants it started may know better.
                await self._bench.overlay.restart(replica)
            await self.start_containers(replica.host)

    async def calm(self, device: Thing, step: int) -> None:
        """Let a host's device be as those faults leave it that are still in force."""
        self._drop(device, step)
        await self._adjust(device, struck=False)

    # Of things that a fault stops and lets go on by itself

    def hold(self, thing: Thing, step: int) -> None:
        """Take a hold on a thing."""
        self._take(thing, step)

    def let_go(self, thing: Thing, step: int) -> None:
        """Drop it."""
        self._drop(thing, step)

    def is_held(self, thing: Thing) -> bool:
        """Whether a fault holds the thing."""
        return self._held(*thing)

    # What steps of the timeline do besides faults

    async def launched(self, host: str) -> None:
        """Somebody launched the daemon: no fault keeps it down any more, and containers may start that waited."""
        self._drop(("daemon", host), None)
        await self.start_containers(host)

    def removed(self, replica: Replica) -> None:
        """The container is gone for good; on a host that is off it goes when that is back."""
        self._drop(("container", replica.name), None)
        if replica.host in self._bench.live.hosts_down:
            self._leftovers[replica.name] = replica

    async def start_containers(self, host: str) -> None:
        """Start what is placed on a host, does not run and is not held, once it can run."""
        bench = self._bench
        waits = (
            self._held("engine", host)
            or host in self._engines
            or (bench.overlay.has_daemons and host not in bench.live.daemons)
        )
        if host in bench.live.hosts_down or waits:
            return
        for replica in list(bench.live.placed.values()):
            if (
                replica.host == host
                and replica.name not in bench.live.running
                and not self._held("container", replica.name)
            ):
                with self._excused(host):
                    await bench.overlay.restart(replica)
                    bench.live.container_runs(replica.name)

    async def try_again(self) -> None:
        """Start what has failed to: a fault has ended. Says what came of it."""
        for host in list(self.waiting):
            async with self.working_on((host,)):
                if self.waiting.pop(host, ""):
                    before = (host in self._bench.live.daemons, *self._bench.live.running)
                    await self._start_engine(host)
                    await self._start_daemon(host)
                    await self.start_containers(host)
                    if before != (host in self._bench.live.daemons, *self._bench.live.running):
                        await self._bench.resumed(host)

    # Internals

    async def _start_engine(self, host: str) -> None:
        if host not in self._bench.live.hosts_down and host in self._engines and not self._held("engine", host):
            with self._excused(host):
                await engined(self._bench, host).start_engine(live_restore=self._engines[host])
                del self._engines[host]

    async def _start_daemon(self, host: str) -> None:
        bench = self._bench
        if host in bench.live.hosts_down or host in bench.live.daemons or self._held("daemon", host):
            return
        with self._excused(host):
            if await bench.overlay.relaunch(host):
                bench.live.daemon_runs(host)

    @contextlib.contextmanager
    def _excused(self, host: str) -> Iterator[None]:
        """Something is started here; that it fails is no error as long as another fault may be why."""
        try:
            yield
        except LabError as error:
            if not self._bench.broken:
                raise
            self.waiting[host] = str(error)

    async def _adjust(self, device: Thing, *, struck: bool) -> None:
        """Set a device to what all faults in force make of it. `struck`: one of them begins, or does again."""
        _, host = device
        async with self._adjusting.setdefault(device, asyncio.Lock()):
            if host not in self._bench.live.hosts_down:  # else it is set when the host is back
                in_force = list(self._holds.get(device, {}).values())
                await self._disturbed[device](adjustable(self._bench, host), in_force, struck)

    def _take(self, thing: Thing, step: int, how: Any = None) -> None:
        self._holds.setdefault(thing, {})[step] = how

    def _drop(self, thing: Thing, step: int | None) -> bool:
        """Whether it is held still."""
        if step is None:
            self._holds.pop(thing, None)
        else:
            self._holds.get(thing, {}).pop(step, None)
        return self._held(*thing)

    def _held(self, kind: str, name: str) -> bool:
        return bool(self._holds.get((kind, name)))


def _turns(replica: Replica) -> Thing:
    """What a pause of a container holds too: whether it gets turns."""
    return _TURNS, replica.name


def engined(bench: "Bench", host: str) -> Engined:
    """The host as one whose engine can be ended; raises `LabError` where it cannot."""
    found = bench.lab.hosts[host]
    if not hasattr(found, "end_engine"):
        raise LabError(f"the container engine of {host} cannot be ended: its backend has no way to do so")
    return cast(Engined, found)


def adjustable(bench: "Bench", host: str) -> Adjustable:
    """The host as one whose devices can be disturbed; raises `LabError` where they cannot."""
    found = bench.lab.hosts[host]
    if not hasattr(found, "set_disk"):
        raise LabError(f"{host} has no disk and no clock that can be disturbed")
    return cast(Adjustable, found)

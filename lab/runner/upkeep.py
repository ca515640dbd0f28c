"""Keeps hosts, daemons, containers and devices in the state that the faults in force require: the one place that kills
and starts.

Owns the holds: which fault (by its step) keeps a thing down or disturbs it. A thing runs when nothing holds it and the
things that it depends on run. So faults may overlap in any way, and each heals at its own time. The fault that drops
the last hold starts the thing. A thing that cannot start yet (its host is off, its daemon is down) starts together with
what it waits for. A start that fails because of another fault (for example a full disk) is retried when that fault
ends. Works on one host at a time, under that host's lock. Knows no verb and no schedule.
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
"""Sets a device of a host. Arguments: the host, the settings of its faults in force (oldest first), whether one of them
strikes now."""


_TURNS = "turns of container"
_BY_HAND = -1
"""Step number of a hold that begins and ends within one step."""


class Upkeep:
    """The holds, the steps that took them, and the starts and kills that follow from them."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench
        self._holds: dict[Thing, dict[int, Any]] = {}
        """Thing -> step of each fault that holds it -> setting (of disks and clocks), oldest first."""
        self._disturbed: dict[Thing, Adjust] = {}
        """Devices that were disturbed at least once -> the function that sets them."""
        self._engines: dict[str, bool] = {}
        """Hosts whose engine is not held but has not started yet -> whether it takes over running containers."""
        self._leftovers: dict[str, Replica] = {}
        """Containers that were removed while their host was off, and are still on its disk."""
        self.waiting: dict[str, str] = {}
        """Hosts on which a start failed while another fault was in force -> the error."""
        self._locks = {host: asyncio.Lock() for host in bench.scenario.hosts}
        self._adjusting: dict[Thing, asyncio.Lock] = {}
        """Devices have their own locks, because work in progress on a host may be waiting for its disk."""

    def host_joins(self, host: str) -> None:
        """The lab has one more host."""
        self._locks[host] = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def working_on(self, hosts: Iterable[str]) -> AsyncIterator[None]:
        """Lock these hosts; waits until work in progress on them ends. Must not be nested."""
        wanted = set(hosts)
        async with contextlib.AsyncExitStack() as stack:
            for host, lock in self._locks.items():  # always in the same order, to prevent deadlock
                if host in wanted:
                    await stack.enter_async_context(lock)
            yield

    # Taking holds

    async def host_down(self, host: str, step: int) -> None:
        """Cut the host's power, and keep the host off."""
        self._take(("host", host), step)
        if host not in self._bench.live.hosts_down:
            self._bench.live.host_stops(host)
            await self._bench.lab.hosts[host].kill()

    async def daemon_down(self, host: str, step: int, *, farewell: bool = False) -> None:
        """Kill the host's daemon, or stop it gracefully, and keep it down. Raises `LabError` if there is no daemon."""
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
        """Stop the host's container engine, and keep it down. Without `live_restore` its containers are not expected to
        answer until it is back: they may keep running or end with it."""
        thing, live = ("engine", host), self._bench.live
        if host not in live.hosts_down and not self._held(*thing):
            await engined(self._bench, host).end_engine(number, live_restore=live_restore)
        self._take(thing, step, live_restore)
        for replica in () if live_restore else [one for one in live.running.values() if one.host == host]:
            live.stopped[replica.name] = None
            self._take(_turns(replica), step)

    async def disturb(self, device: Thing, step: int, how: Any, adjust: Adjust) -> None:
        """Disturb a host's device with `adjust`, which is called again when another fault ends and when the host is
        back."""
        adjustable(self._bench, device[1])
        self._take(device, step, how)
        self._disturbed[device] = adjust
        await self._adjust(device, struck=True)

    # Dropping holds. Without a step: drop all holds on the thing, because it is wanted back now.

    async def host_up(self, host: str, step: int | None) -> None:
        """Switch the host on unless another fault holds it, and start everything on it that is not held."""
        held = self._drop(("host", host), step)
        if host in self._bench.live.hosts_down:
            if held:
                return
            await self._bench.lab.hosts[host].start()
            self._bench.live.host_runs(host)
            self._engines.pop(host, None)
            if self._held("engine", host):  # a booting host starts its engine
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
        """Launch the daemon again with its previous options, unless another fault holds it."""
        self._drop(("daemon", host), step)
        if step is None and host in self._bench.live.daemons:
            raise LabError(f"the overlay's daemon on {host} is running already")
        await self._start_daemon(host)
        await self.start_containers(host)

    async def engine_up(self, host: str, step: int | None, *, live_restore: bool) -> None:
        """Start the engine again unless another fault holds it, then the containers that it did not keep running.

        Without a step a running engine is stopped first.
        """
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
        """Start those of the containers again that no other fault holds."""
        for replica in replicas:
            self._drop(("container", replica.name), step)
            if step is None and replica.name in self._bench.live.running:
                # No fault here killed it, but the caller may know that it is down.
                await self._bench.overlay.restart(replica)
            await self.start_containers(replica.host)

    async def calm(self, device: Thing, step: int) -> None:
        """Drop the step's setting of a host's device; the faults still in force determine its state."""
        self._drop(device, step)
        await self._adjust(device, struck=False)

    # Things that a fault itself stops and resumes

    def hold(self, thing: Thing, step: int) -> None:
        """Take a hold on a thing."""
        self._take(thing, step)

    def let_go(self, thing: Thing, step: int) -> None:
        """Drop the step's hold on a thing."""
        self._drop(thing, step)

    def is_held(self, thing: Thing) -> bool:
        """Whether a fault holds the thing."""
        return self._held(*thing)

    # Called by steps of the timeline other than faults

    async def launched(self, host: str) -> None:
        """The daemon was launched: drop all holds on it, and start the containers that waited for it."""
        self._drop(("daemon", host), None)
        await self.start_containers(host)

    def removed(self, replica: Replica) -> None:
        """The container was removed; on a host that is off it is deleted when the host is back."""
        self._drop(("container", replica.name), None)
        if replica.host in self._bench.live.hosts_down:
            self._leftovers[replica.name] = replica

    async def start_containers(self, host: str) -> None:
        """Start the containers placed on a host that do not run and are not held, as soon as they can run."""
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
        """Retry failed starts, because a fault has ended. Records the result."""
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
        """Around a start: its failure is not an error as long as another fault may be the cause."""
        try:
            yield
        except LabError as error:
            if not self._bench.broken:
                raise
            self.waiting[host] = str(error)

    async def _adjust(self, device: Thing, *, struck: bool) -> None:
        """Set a device according to all faults in force. `struck`: one of them begins or strikes again."""
        _, host = device
        async with self._adjusting.setdefault(device, asyncio.Lock()):
            if host not in self._bench.live.hosts_down:  # otherwise it is set when the host is back
                in_force = list(self._holds.get(device, {}).values())
                try:
                    await self._disturbed[device](adjustable(self._bench, host), in_force, struck)
                except LabError:
                    if host not in self._bench.live.hosts_down:  # its power was cut meanwhile
                        raise

    def _take(self, thing: Thing, step: int, how: Any = None) -> None:
        self._holds.setdefault(thing, {})[step] = how

    def _drop(self, thing: Thing, step: int | None) -> bool:
        """Drop holds, and return whether the thing is still held."""
        if step is None:
            self._holds.pop(thing, None)
        else:
            self._holds.get(thing, {}).pop(step, None)
        return self._held(*thing)

    def _held(self, kind: str, name: str) -> bool:
        return bool(self._holds.get((kind, name)))


def _turns(replica: Replica) -> Thing:
    """The additional hold of a paused container: whether its processes are scheduled."""
    return _TURNS, replica.name


def engined(bench: "Bench", host: str) -> Engined:
    """The host as an `Engined`, whose engine can be stopped; raises `LabError` if it is not one."""
    found = bench.lab.hosts[host]
    if not hasattr(found, "end_engine"):
        raise LabError(f"the container engine of {host} cannot be ended: its backend has no way to do so")
    return cast(Engined, found)


def adjustable(bench: "Bench", host: str) -> Adjustable:
    """The host as an `Adjustable`, whose devices can be disturbed; raises `LabError` if it is not one."""
    found = bench.lab.hosts[host]
    if not hasattr(found, "set_disk"):
        raise LabError(f"{host} has no disk and no clock that can be disturbed")
    return cast(Adjustable, found)

"""The state of a played timeline: the running lab, its overlay, probes, live state and history, together.

Owns writing records (and so their order), carrying out actions, and the faults in force with their ends. It is the
`Bench` that verbs work on. Knows no verb.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from msgspec import Struct

from lab.contracts.fault import Fault, Restartable
from lab.contracts.lab import Lab
from lab.contracts.overlay import ClosableOverlay
from lab.contracts.plan import Action
from lab.errors import Exhausted, LabError
from lab.kinds.verbs import Verb
from lab.overlays import make_overlay
from lab.records.history import AnyRecord, Event, Writer
from lab.runner.captures import Captures
from lab.runner.load import watch_load
from lab.runner.probing import Probing, drain
from lab.runner.state import LiveState
from lab.runner.upkeep import Upkeep
from lab.scenario.resolve import Resolved

Seen = Callable[[AnyRecord], None]
"""Called with every record of the run."""

Healed = Callable[[int, int, str], None]
"""Called with (time, step, label) when the duration of a fault is over."""


class FaultInForce(Struct, frozen=True):
    """A fault that is not healed yet."""

    fault: Fault
    since: int
    until: int | None
    """When it ends by itself; None if a step must end it."""


class Stage:
    """The object that steps, faults and expectations work on."""

    def __init__(
        self,
        lab: Lab,
        scenario: Resolved,
        writer: Writer,
        live: LiveState,
        *,
        healed: Healed,
        captures: Captures,
        seen: Seen | None = None,
    ) -> None:
        self.lab = lab
        self.scenario = scenario
        self.overlay = make_overlay(lab, scenario)
        self.live = live
        self.changed = asyncio.Event()
        """Set at every record; a task that waits for records clears it."""
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        """The first error of a task that runs in parallel with the timeline."""
        self.crash: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The first host whose daemon stopped without a request."""
        self.probing = Probing(lab, self.overlay, live, self.record, self.fail)
        self.captures = captures
        self.upkeep = Upkeep(self)
        self._writer = writer
        self._healed = healed
        self._seen = seen
        self._muted = False
        self.asked: dict[int, dict[str, Any]] = {}
        """Steps that are not the scenario's own -> the details of the request, for their first event."""
        self._faults: dict[int, FaultInForce] = {}
        self._timers: dict[int, asyncio.Task[None]] = {}
        self._healing: dict[int, asyncio.Task[None]] = {}
        self._watchers: list[asyncio.Task[None]] = []

    def watch(self, *, load: bool) -> None:
        """Start following every host's daemon, and the machine's load."""
        if self.overlay.has_views:
            for host in self.lab.hosts.values():
                self.beside(drain(host.views(), self.record))
        if load:
            self.beside(watch_load(self.lab, self.record))

    async def host_joins(self, host: str, **detail: Any) -> None:
        """The lab has a new host, which is up; `detail` is for its event. Faults in force apply to it too."""
        self.upkeep.host_joins(host)
        for step, found in self.faults().items():
            await found.fault.host_joins(self, step, host)
        if self.overlay.has_views:
            self.beside(drain(self.lab.hosts[host].views(), self.record))
        self.event(-1, "host", "point", ok=True, groups=True, label=f"add host {host}", hosts=[host], **detail)

    async def stop(self) -> None:
        """End probes, watchers and timers; faults in force stay."""
        tasks = [*self._watchers, *self._timers.values(), *self._healing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.probing.stop()
        await self.captures.close("the run was ended before its time")
        if isinstance(self.overlay, ClosableOverlay):
            await self.overlay.close()

    # History

    def record(self, record: AnyRecord) -> None:
        """Append a record to the history and update the live state."""
        if not self._muted:
            self._writer.write(record)
        self.live.feed(record)
        if self._seen is not None:
            self._seen(record)
        if isinstance(record, Event) and not self._muted:
            self.captures.feed(record)
        if self.live.crashed is not None and not self.crash.done():
            self.crash.set_result(self.live.crashed.host)
        self.changed.set()

    def mute(self) -> None:
        """The history is complete: do not record anything from now on."""
        self._muted = True

    def event(
        self,
        step: int,
        what: str,
        phase: Literal["start", "end", "point"],
        *,
        ok: bool | None = None,
        t: int | None = None,
        groups: bool = False,
        **detail: Any,
    ) -> None:
        """Record an event; with `groups`, which hosts can reach each other from now on."""
        self.record(
            Event(
                t=self.lab.now() if t is None else t,
                step=step,
                what=what,
                phase=phase,
                ok=ok,
                detail=detail if phase == "end" else detail | self._told(step),
                groups=self.live.groups() if groups else (),
            )
        )

    def _told(self, step: int) -> dict[str, Any]:
        """The details of the request for a step; returned only once."""
        told = self.asked.get(step)
        if told is None:
            return {}
        self.asked[step] = {"by": told["by"]}
        return told

    def containers(self) -> dict[str, Any]:
        """Host and overlay address of every container, in the form of an event."""
        awake = self.live.awake()
        addresses = {name: self.overlay.address_of(name) for name in awake}
        return {
            "replicas": {name: replica.host for name, replica in awake.items()},
            "addresses": {name: address for name, address in addresses.items() if address},
        }

    def fail(self, error: BaseException) -> None:
        """A task in parallel with the timeline failed: the run cannot go on."""
        if not self.failure.done():
            self.failure.set_result(error)

    def survive(self) -> None:
        """A daemon crashed, and the run goes on."""
        self.live.crash_survived()
        self.crash = asyncio.get_running_loop().create_future()

    # Steps

    async def carry(self, step: int, verb: Verb[Any], action: Action) -> None:
        """Carry out an action and write its events; raises `LabError`."""
        begun = self.lab.now()
        self.event(step, verb.name, "start", label=action.label)
        try:
            detail = await action.do(self)
        except Exhausted:
            raise  # an error of the machine: the step was not tried
        except LabError as error:
            took = self.lab.now() - begun
            self.event(step, verb.name, "end", ok=False, label=action.label, took=took, error=str(error))
            raise
        took = self.lab.now() - begun
        self.event(step, verb.name, "end", ok=True, groups=verb.regroups, label=action.label, took=took, **detail)

    async def strike(self, step: int, fault: Fault, duration: int | None) -> None:
        """Inject a fault, and heal it after `duration` nanoseconds."""
        async with self.upkeep.working_on(fault.works_on(self)):
            begun = self.lab.now()
            self._faults[step] = FaultInForce(fault, begun, None if duration is None else begun + duration)
            await fault.inject(self, step)
            await self.probing.sync()
            self.event(step, fault.what, "start", t=begun, ok=True, groups=True, **self._detail(fault))
        if duration is not None:
            self._timers[step] = asyncio.create_task(self._heal_at(begun + duration, step))
            self._timers[step].add_done_callback(self._ended)

    async def abandon(self, step: int, fault: Fault, error: str) -> None:
        """Revert the part of a fault that was injected before its injection failed, and record the failure."""
        if self._faults.pop(step, None) is not None:
            async with self.upkeep.working_on(fault.works_on(self)):
                with contextlib.suppress(LabError):
                    await fault.heal(self, step)
                await self.probing.sync()
            self.event(step, fault.what, "point", ok=False, groups=True, label=fault.label, error=error)

    async def heal(self, step: int, **more: Any) -> None:
        """Heal the fault of a step now, and record it; `more` is additional detail for its event."""
        self._cancel(step)
        fault = self._faults.pop(step).fault
        async with self.upkeep.working_on(() if fault.frees else fault.works_on(self)):
            begun = self.lab.now()
            await fault.heal(self, step)
            await self.probing.sync()
            # A switch takes effect at once; a process that must start again is back when it has started.
            t = begun if fault.switch else self.lab.now()
            detail = self._detail(fault) | more
            # Another fault may still keep the daemon down.
            detail["hosts"] = [host for host in fault.hosts if host in self.live.daemons]
            if t > begun:
                detail["took"] = t - begun
            if self.upkeep.waiting:
                detail["waiting"] = dict(self.upkeep.waiting)
            self.event(step, fault.what, "end", t=t, ok=True, groups=True, **detail)
        await self.upkeep.try_again()

    async def restart(self, fault: Restartable) -> list[str]:
        """Start again what `fault` would have killed; ends the kills in force of the same victim. Records no event.

        Returns the hosts whose daemon runs again.
        """
        for step in [step for step, other in self._faults.items() if other.fault.victim == fault.victim]:
            self._cancel(step)
            del self._faults[step]
        async with self.upkeep.working_on(fault.works_on(self)):
            await fault.heal(self, None)
            await self.probing.sync()
        await self.upkeep.try_again()
        return [host for host in fault.hosts if host in self.live.daemons]

    def in_force(self, what: str) -> dict[int, Fault]:
        """See `lab.contracts.fault.Bench`."""
        return {step: found.fault for step, found in self._faults.items() if found.fault.what == what}

    def faults(self) -> dict[int, FaultInForce]:
        """Step -> fault, for all faults that are in force and not being healed, in order."""
        return dict(self._faults)

    async def all_healed(self) -> None:
        """Wait until every fault with a duration has ended."""
        while tasks := [*self._timers.values(), *self._healing.values()]:
            await asyncio.wait(tasks)

    def _detail(self, fault: Fault) -> dict[str, Any]:
        detail = {"label": fault.label, "hosts": list(fault.hosts)}
        detail |= {"mark": fault.mark.label, "colour": fault.mark.colour, **fault.told}
        return detail if fault.switch else detail | self.containers()

    async def _heal_at(self, t: int, step: int) -> None:
        await self.lab.sleep_until(t)
        label = self._faults[step].fault.label
        self._healing[step] = self._timers.pop(step)  # from here on it must not be cancelled half-way
        try:
            await self.heal(step)
        finally:
            del self._healing[step]
        self._healed(self.lab.now(), step, label)

    def _cancel(self, step: int) -> None:
        timer = self._timers.pop(step, None)
        if timer is not None:
            timer.cancel()

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the coroutine while the stage is in use; its error ends the run."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._watchers.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    # Called by verbs and upkeep

    @property
    def broken(self) -> bool:
        """See `lab.contracts.fault.Bench`."""
        return any(not found.fault.harmless for found in self._faults.values())

    async def resumed(self, host: str) -> None:
        """See `lab.contracts.fault.Bench`."""
        await self.probing.sync()
        hosts = [host] if host in self.live.daemons else []
        label = f"{host} is whole again"
        self.event(-1, "join", "point", ok=True, groups=True, label=label, hosts=hosts, **self.containers())

    async def tell(self, step: int, what: str, label: str, fault: Fault) -> None:
        """See `lab.contracts.fault.Bench`."""
        await self.probing.sync()
        detail: dict[str, Any] = {"label": label, "hosts": list(fault.hosts)}
        detail |= {"mark": fault.mark.label, "colour": fault.mark.colour}
        power = fault.victim[0] == "host"
        self.event(step, what, "point", ok=True, groups=power, **detail, **(self.containers() if power else {}))

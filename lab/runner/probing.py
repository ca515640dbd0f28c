"""Keeps the right probes running while containers come and go: from the plans of a scenario to `Host.probe` streams.

Owns the set of series to measure now, and the streams that measure them. New series get an additional stream, so that
running measurements are not interrupted. When a series must end, its stream is restarted without it; the agents'
schedule depends only on the clock, so the other series do not shift.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from lab.contracts.lab import Host, Lab, Probe
from lab.contracts.overlay import Overlay
from lab.contracts.probe import seeded_phase
from lab.errors import LabError
from lab.kinds.probes import PROBES, asks_name, port_of
from lab.records.history import Sample
from lab.runner.state import LiveState, Series
from lab.runner.waiting import first_of
from lab.scenario.resolve import ProbePlan, Replica
from lab.scenario.values import UNITS

T = TypeVar("T")
_PATIENCE = 10 * UNITS["s"]
"""How long to wait until containers answer probes, before probing starts anyway."""
_TAKEN = os.strerror(errno.EADDRINUSE).lower()
Failed = Callable[[BaseException], None]


async def drain(stream: AsyncIterator[T], take: Callable[[T], None]) -> None:
    """Pass everything that a stream yields to `take`; close the stream in every case."""
    try:
        async for item in stream:
            take(item)
    finally:
        close: Callable[[], Awaitable[None]] | None = getattr(stream, "aclose", None)
        if close is not None:
            await close()


class Probing:
    """All probes of a run. Call `sync` after every change of containers."""

    def __init__(
        self, lab: Lab, overlay: Overlay, live: LiveState, take: Callable[[Sample], None], failed: Failed
    ) -> None:
        self._lab = lab
        self._overlay = overlay
        self._live = live
        self._take = take
        self._failed = failed
        self._plans: dict[int, ProbePlan] = dict(enumerate(live.scenario.probes))
        self._phases: dict[tuple[Series, int], int] = {}
        self._syncing = asyncio.Lock()
        self._answers: dict[tuple[str, str], asyncio.Event] = {}
        """(probe, container) -> set when the lab answers such probes there."""
        self._streams: dict[str, list[tuple[asyncio.Task[None], dict[Series, Probe]]]] = {}
        """Host -> its streams, each with the series that it measures."""

    @property
    def series(self) -> list[Series]:
        """All series that are measured now."""
        return [
            key
            for streams in self._streams.values()
            for _, probes in streams
            for key, probe in probes.items()
            if not probe.serves
        ]

    def add_plan(self, plan: ProbePlan) -> int:
        """Add a plan, effective from the next `sync`; returns its number for `drop_plan`."""
        number = max(self._plans, default=-1) + 1
        self._plans[number] = plan
        return number

    def drop_plan(self, number: int) -> None:
        """Remove a plan, effective from the next `sync`."""
        self._plans.pop(number, None)

    async def sync(self) -> None:
        """Start and stop streams so that they measure the current set of series."""
        async with self._syncing:
            await self._sync()

    async def _sync(self) -> None:
        wanted = await self._wanted()
        begun: list[asyncio.Event] = []
        for name, host in self._lab.hosts.items():
            left = wanted.get(name, {})
            kept, ended = [], []
            for task, probes in self._streams.get(name, []):
                if all(left.get(key) == probe for key, probe in probes.items()):
                    kept.append((task, probes))
                    for key in probes:
                        del left[key]
                else:
                    ended.append(task)
            await _cancel(ended)
            self._streams[name] = kept
            serving = [key for key, probe in left.items() if probe.serves]
            for container in dict.fromkeys(source for _, source, _ in serving):
                # Each answerer has its own stream, so that removing one does not interrupt the others.
                answering = {key: left[key] for key in serving if key[1] == container}
                for key in answering:
                    self._answers[key[:2]] = asyncio.Event()
                    begun.append(self._answers[key[:2]])
                self._start(host, answering)
            wanted[name] = {key: probe for key, probe in left.items() if not probe.serves}
        if begun:
            # Start the answerers first: a probe without an answerer is refused.
            await first_of(_all_set(begun), self._lab.sleep_until(self._lab.now() + _PATIENCE))
        for name, host in self._lab.hosts.items():
            if wanted.get(name):
                self._start(host, wanted[name])

    async def stop(self) -> None:
        """End all streams."""
        streams, self._streams = self._streams, {}
        await _cancel([task for running in streams.values() for task, _ in running])

    def _start(self, host: Host, probes: dict[Series, Probe]) -> None:
        task = asyncio.create_task(drain(host.probe(list(probes.values())), self._sample))
        task.add_done_callback(self._ended)
        self._streams.setdefault(host.name, []).append((task, probes))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _sample(self, sample: Sample) -> None:
        if not sample.target:
            if sample.ok:
                self._answers.setdefault((sample.probe, sample.source), asyncio.Event()).set()
            elif sample.error == _TAKEN:
                port = PROBES.get(sample.probe).port
                text = (
                    f"{sample.probe} probes cannot be answered in {sample.source}: their port ({port}) is in use there"
                )
                self._failed(LabError(f"{text}; choose another by `options: {{port: N}}`"))
            return
        # A probe in flight when its container was removed says nothing about the remaining containers.
        asks = sample.source in self._live.running and sample.source not in self._live.stopped
        if asks and (asks_name(sample.probe) or sample.target in self._live.placed):
            self._take(sample)

    async def _wanted(self) -> dict[str, dict[Series, Probe]]:
        wanted: dict[str, dict[Series, Probe]] = {}
        for plan in self._plans.values():
            probes: list[tuple[str, Probe]] = []
            for source in self._live.awake().values():
                if plan.asks(source):
                    probes += [(source.host, probe) for probe in await self._from(plan, source)]
            for host, probe in [*self._in_turn(plan, probes), *self._answering(plan, probes)]:
                wanted.setdefault(host, {}).setdefault((probe.probe, probe.source, probe.target), probe)
        return wanted

    def _phase(self, kind: str, source: str, target: str, every: int) -> int:
        """See `seeded_phase`."""
        key = (kind, source, target), every
        phase = self._phases.get(key)
        if phase is None:
            phase = self._phases[key] = seeded_phase(self._live.scenario.seed, *key)
        return phase

    def _in_turn(self, plan: ProbePlan, probes: list[tuple[str, Probe]]) -> list[tuple[str, Probe]]:
        """The probes of a plan with a rate: its pairs take turns at equal distances."""
        if not plan.rate:
            return probes
        every = plan.rate * len(probes)
        begin = self._phase(plan.kind, "", "", plan.rate)
        return [
            (host, msgspec.structs.replace(probe, every=every, first=begin + number * plan.rate))
            for number, (host, probe) in enumerate(probes)
        ]

    def _answering(self, plan: ProbePlan, probes: list[tuple[str, Probe]]) -> list[tuple[str, Probe]]:
        """The probes that the lab itself must answer in the target containers."""
        kind = PROBES.find(_asked(plan))
        if kind is None or kind.serve is None:
            return []
        asked = [name for name in dict.fromkeys(probe.target for _, probe in probes) if name in self._live.awake()]
        return [
            (
                self._live.placed[name].host,
                Probe(
                    probe=kind.name,
                    container=name,
                    source=name,
                    target="",
                    address="",
                    port=port_of(kind.name, plan.options),
                    every=plan.every,
                    timeout=plan.timeout,
                    serves=True,
                ),
            )
            for name in asked
        ]

    async def _from(self, plan: ProbePlan, source: Replica) -> list[Probe]:
        if asks_name(plan.kind):
            server = await self._overlay.resolver(source.host)
            return [self._probe(plan, source, plan.name, server, 53)] if server else []
        probes = []
        for target in self._live.placed.values():
            if target.name == source.name or not plan.asked(target):
                continue
            port = port_of(_asked(plan), plan.options) or target.port
            endpoint = self._overlay.endpoint(source, target, port)
            if endpoint is not None:
                probes.append(self._probe(plan, source, target.name, *endpoint, path=target.path))
        return probes

    def _probe(self, plan: ProbePlan, source: Replica, target: str, address: str, port: int, path: str = "/") -> Probe:
        return Probe(
            probe=plan.kind,
            container=source.name,
            source=source.name,
            target=target,
            address=address,
            port=port,
            path=path,
            every=plan.every,
            timeout=plan.timeout,
            first=self._phase(plan.kind, source.name, target, plan.every),
            options=plan.options,
        )


def _asked(plan: ProbePlan) -> str:
    """The probe kind of the plan's tries."""
    return str(plan.options.get("by", plan.kind))


async def _all_set(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Keeps the right probes running while containers come and go: from the plans of a scenario to `Host.probe` streams.

Owns which series should be measured now and the streams that do it. New series get a stream beside those that run, so
that nothing measured already is interrupted; a stream of which a series must end starts again without it (the agents'
schedule hangs on the clock, so no series is shifted).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from lab.contracts.lab import Host, Lab, Probe
from lab.contracts.overlay import Overlay
from lab.kinds.probes import asks_name
from lab.records.history import Sample
from lab.runner.state import LiveState, Series
from lab.scenario.resolve import ProbePlan, Replica

T = TypeVar("T")
Failed = Callable[[BaseException], None]


async def drain(stream: AsyncIterator[T], take: Callable[[T], None]) -> None:
    """Give everything that a stream yields to `take`; close it however that ends."""
    try:
        async for item in stream:
            take(item)
    finally:
        close: Callable[[], Awaitable[None]] | None = getattr(stream, "aclose", None)
        if close is not None:
            await close()


class Probing:
    """All probes of a run. `sync` after every change of containers."""

    def __init__(
        self, lab: Lab, overlay: Overlay, live: LiveState, take: Callable[[Sample], None], failed: Failed
    ) -> None:
        self._lab = lab
        self._overlay = overlay
        self._live = live
        self._take = take
        self._failed = failed
        self._plans: dict[int, ProbePlan] = dict(enumerate(live.scenario.probes))
        self._streams: dict[str, list[tuple[asyncio.Task[None], dict[Series, Probe]]]] = {}
        """Host -> its streams, each with what it measures."""

    @property
    def series(self) -> list[Series]:
        """Everything that is measured now."""
        return [key for streams in self._streams.values() for _, probes in streams for key in probes]

    def add_plan(self, plan: ProbePlan) -> int:
        """One more plan, from the next `sync` on; returns its number for `drop_plan`."""
        number = max(self._plans, default=-1) + 1
        self._plans[number] = plan
        return number

    def drop_plan(self, number: int) -> None:
        """Take a plan away, from the next `sync` on."""
        self._plans.pop(number, None)

    async def sync(self) -> None:
        """Make the streams measure what should be measured now."""
        wanted = await self._wanted()
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
            if left:
                self._start(host, left)

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
        # A try that was under way when its container was removed says nothing about anything that is there.
        asks = sample.source in self._live.running and sample.source not in self._live.stopped
        if asks and (asks_name(sample.probe) or sample.target in self._live.placed):
            self._take(sample)

    async def _wanted(self) -> dict[str, dict[Series, Probe]]:
        wanted: dict[str, dict[Series, Probe]] = {}
        for plan in self._plans.values():
            for source in self._live.awake().values():
                if not plan.asks(source):
                    continue
                for probe in await self._from(plan, source):
                    key = (probe.probe, probe.source, probe.target)
                    wanted.setdefault(source.host, {}).setdefault(key, probe)
        return wanted

    async def _from(self, plan: ProbePlan, source: Replica) -> list[Probe]:
        if asks_name(plan.kind):
            server = await self._overlay.resolver(source.host)
            return [self._probe(plan, source, plan.name, server, 53)] if server else []
        probes = []
        for target in self._live.placed.values():
            if target.name == source.name or not plan.asked(target):
                continue
            endpoint = self._overlay.endpoint(source, target, target.port)
            if endpoint is not None:
                probes.append(self._probe(plan, source, target.name, *endpoint, path=target.path))
        return probes

    @staticmethod
    def _probe(plan: ProbePlan, source: Replica, target: str, address: str, port: int, path: str = "/") -> Probe:
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
            options=plan.options,
        )


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""A history, parsed once for all checkers, plots and the report into steps, faults, series, views. Pure.

Makes only one judgement: whether a sample had the expected result at its time (`RecordedRun.judge`).
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec import Struct

from lab.checkers.convergence import ConvergenceState, ConvergenceTracker, EventConvergence
from lab.checkers.outages import Outage, outages, pairs, series_order
from lab.checkers.world import ExpectedState, SeriesKey, is_change, label_of, series_of
from lab.kinds.probes import asks_name
from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, Event, Load, Meta, PeerGone, Sample, View

if TYPE_CHECKING:
    from lab.records.tries import LongHistory, SeriesTries

__all__ = [
    "Epoch",
    "FaultBand",
    "PlayedStep",
    "RecordedRun",
    "begins_fault",
    "colour_of",
    "ends_fault",
    "in_order",
    "nearest_rank",
]


_T = TypeVar("_T")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class PlayedStep(Struct, frozen=True, kw_only=True):
    """One step of the timeline, its start and end joined."""

    number: int
    what: str
    label: str
    start: int
    end: int | None
    """None: it never ended (the run was cut short), or has no end."""
    ok: bool | None
    detail: dict[str, Any]


class FaultBand(Struct, frozen=True, kw_only=True):
    """A fault as a shaded band on plots."""

    what: str
    label: str
    start: int
    end: int
    healed: bool
    """False: it lasted to the end of the history."""
    colour: str = ""
    """The colour that the fault asks for, as `#rrggbb`; empty for the default."""


class Epoch(Struct, frozen=True, kw_only=True):
    """A time in which the expected state does not change."""

    start: int
    should: dict[SeriesKey, bool]
    """Series that can be judged -> whether their tries should succeed."""
    answers: dict[SeriesKey, tuple[str, ...]]
    """DNS series -> the addresses that they should get, where known."""
    groups: tuple[tuple[str, ...], ...]
    replicas: dict[str, str]
    addresses: dict[str, str]
    rows: dict[SeriesKey, int | None]
    """Series over lossy links -> failures in a row that are wrong; see `ExpectedState.row`."""
    denied: frozenset[SeriesKey]
    """Series that policies forbid."""


class RecordedRun:
    """Everything in a history, by subject."""

    def __init__(self, records: "Iterable[AnyRecord] | LongHistory") -> None:
        self.long = None if isinstance(records, Iterable) else records
        """The tries as columns, if the history is long; `records` then has all others, and `series` are views of them.
        """
        ordered = [] if isinstance(records, Iterable) else records.ordered
        self.records: tuple[AnyRecord, ...] = (
            in_order(records) if isinstance(records, Iterable) else tuple(record for _, record in ordered)
        )
        self.meta: Meta | None = next((record for record in self.records if isinstance(record, Meta)), None)
        self.events = [record for record in self.records if isinstance(record, Event)]
        self.loads = [record for record in self.records if isinstance(record, Load)]
        self.series: dict[SeriesKey, Sequence[Sample]] = {}
        """Series -> its samples by due time; keys sorted, web-2 before web-10."""
        self.views: dict[str, list[View | PeerGone]] = {}
        """Host -> the views of its peer, in order of time."""
        self._latencies: dict[str, Sequence[int]] = {}
        self._sort_out()
        self.start = min((record.t for record in self.records), default=0)
        self.end = max((_end_of(record) for record in self.records), default=0)
        """Time of the last record."""
        if self.long is not None and len(self.long.table):
            self.start, self.end = min(self.start, int(self.long.table.t.min())), self.long.end
        self.steps = _steps(self.events)
        self.bands = _bands(self.events, self.end)
        self.epochs = self._epochs()
        self._starts = [epoch.start for epoch in self.epochs]
        # Taking the lab down breaks convergence, so the results of the changes are settled before that.
        self.stop = next((event.t for event in self.events if event.what == "down"), self.end + 1)
        """When the lab was taken down; after the end if it was not."""
        tracker = ConvergenceTracker()
        if self.long is not None:
            from lab.checkers.columnar import follow

            follow(tracker, ordered, self.long.table, self.stop)
        for record in self.records if self.long is None else ():
            if record.t < self.stop:
                tracker.feed(record)
        self.convergence: list[EventConvergence] = tracker.results()
        self.final: ConvergenceState = tracker.state()
        """The convergence state at the end."""

    @property
    def scenario(self) -> Mapping[str, Any]:
        """The resolved scenario; empty when the history has no first line."""
        return self.meta.scenario if self.meta else {}

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of all hosts, in the scenario's order."""
        return tuple((self.scenario.get("underlay") or {}).get("hosts") or sorted(self.views))

    @property
    def complete(self) -> bool:
        """Whether the run played its whole timeline until it took its lab down."""
        return any(event.what == "down" for event in self.events) and not self.unreached

    @property
    def unreached(self) -> list[int]:
        """Steps of the scenario's timeline that never began."""
        planned = self.scenario.get("timeline") or ()
        begun = {event.step for event in self.events}
        return [number for number in range(len(planned)) if number not in begun]

    @cached_property
    def pairs(self) -> tuple[SeriesKey, ...]:
        """One series of each pair of containers that is probed by HTTP or ICMP, in display order."""
        return pairs(self.series)

    @cached_property
    def outages(self) -> dict[SeriesKey, list[Outage]]:
        """The outages of every pair. A failure that a policy requires is not an outage."""
        return {key: self._outages(key) for key in self.pairs}

    def _outages(self, key: SeriesKey) -> list[Outage]:
        if self.long is None or any(key in epoch.denied for epoch in self.epochs):
            return outages(key, self._permitted(key), end=self.end, stop=self.stop)
        from lab.checkers.columnar import outages_of

        return outages_of(key, self.columns(key), end=self.end, stop=self.stop)

    def columns(self, key: SeriesKey) -> "SeriesTries":
        """The tries of a series as columns; only where there is `long`."""
        return cast("SeriesTries", self.series[key])

    def _permitted(self, key: SeriesKey) -> Iterable[Sample]:
        denied = [key in epoch.denied for epoch in self.epochs]
        if not any(denied):
            return self.series[key]
        return (one for one in self.series[key] if not denied[bisect_right(self._starts, one.t) - 1])

    @property
    def longest_outage(self) -> Outage | None:
        """The longest outage of any pair, the first of equal ones; None if no try failed."""
        every = [outage for found in self.outages.values() for outage in found]
        return max(every, key=lambda outage: (outage.lasted, -outage.start), default=None)

    def cause(self, outage: Outage) -> tuple[FaultBand | None, int | None]:
        """(the fault that caused an outage, time from its end until the pair was back), None where there is none.

        Of the faults in force during the outage it is the one that was healed last before the outage ended; if none was
        healed, the one that struck last.
        """
        during = [band for band in self.bands if band.start < outage.end and band.end > outage.start]
        healed = [band for band in during if band.healed and band.end <= outage.end]
        if healed:
            band = max(healed, key=lambda band: band.end)
            return band, outage.end - band.end if outage.ended else None
        return max(during, key=lambda band: band.start, default=None), None

    def latencies(self, probe: str) -> Sequence[int]:
        """Latencies of all successful tries of a kind, sorted."""
        if probe not in self._latencies and self.long is not None:
            from lab.checkers.columnar import sorted_latencies

            self._latencies[probe] = sorted_latencies(self.columns(key) for key in self.series if key[0] == probe)
        if probe not in self._latencies:
            samples = (sample for key, series in self.series.items() if key[0] == probe for sample in series)
            found = sorted(sample.latency for sample in samples if sample.ok and sample.latency is not None)
            self._latencies[probe] = found
        return self._latencies[probe]

    def epoch(self, t: int) -> Epoch | None:
        """The epoch of a time; None before the first record."""
        index = bisect_right(self._starts, t) - 1
        return self.epochs[index] if index >= 0 else None

    def judge(self, sample: Sample) -> bool | None:
        """Whether a sample had the expected result when it was due; None if that cannot be said."""
        epoch = self.epoch(sample.t)
        key = series_of(sample)
        if epoch is None or sample.error == "late" or key not in epoch.should:
            return None
        should = epoch.should[key]
        if should and sample.ok and key in epoch.answers:
            return sample.answers == epoch.answers[key]
        return sample.ok == should

    def row(self, sample: Sample) -> int | None:
        """How many failed tries in a row, starting with this one, are wrong; None: no number of failures is."""
        epoch = self.epoch(sample.t)
        return 1 if epoch is None else epoch.rows.get(series_of(sample), 1)

    def timeout(self, probe: str) -> int:
        """The longest time that a try of this kind may take, in nanoseconds."""
        specs = self.scenario.get("probes") or ()
        found = [
            spec["timeout"]
            for spec in specs
            if isinstance(spec, dict) and spec.get("kind") == probe and isinstance(spec.get("timeout"), int)
        ]
        return max(found, default=1_000_000_000)

    def _sort_out(self) -> None:
        series: dict[SeriesKey, list[Sample]] = {}
        for record in self.records:
            if isinstance(record, Sample):
                series.setdefault(series_of(record), []).append(record)
            elif isinstance(record, View | PeerGone):
                self.views.setdefault(record.host, []).append(record)
        if self.long is not None:
            found = self.long.table.by_series()
            self.series = {key: found[key] for key in sorted(found, key=series_order)}
        for key in sorted(series, key=series_order):
            self.series[key] = sorted(series[key], key=lambda sample: sample.t)

    def _epochs(self) -> list[Epoch]:
        world = ExpectedState()
        epochs: list[Epoch] = []
        for record in self.records:
            if isinstance(record, Sample):
                continue
            boundary = isinstance(record, Event | PeerGone | Meta) or (
                isinstance(record, View) and (record.host in world.gone or record.host not in world.launched)
            )
            world.feed(record)
            if not boundary:
                continue
            if isinstance(record, Event) and record.what == "down":
                epochs.append(
                    Epoch(
                        start=record.t,
                        should={},
                        answers={},
                        groups=(),
                        replicas={},
                        addresses={},
                        rows={},
                        denied=frozenset(),
                    )
                )
                break
            should = _known({key: world.should(key) for key in self.series})
            answers = _known({key: world.should_answer(key[1], key[2]) for key in should if asks_name(key[0])})
            # Of two records at the same time, the later one counts.
            if epochs and epochs[-1].start >= record.t:
                epochs.pop()
            epochs.append(
                Epoch(
                    start=record.t,
                    should=should,
                    answers=answers,
                    groups=world.groups,
                    replicas=dict(world.replicas),
                    addresses=dict(world.addresses),
                    rows={key: row for key in self.series if (row := world.row(key)) != 1},
                    denied=frozenset(key for key in self.series if world.denies(key)),
                )
            )
        return epochs


def nearest_rank(values: Sequence[int], percentile: int) -> int | None:
    """A percentile that is one of the values (nearest rank); None for no values. `values` are sorted."""
    return values[max(0, -(-len(values) * percentile // 100) - 1)] if values else None


def in_order(records: Iterable[AnyRecord]) -> tuple[AnyRecord, ...]:
    """The records in their written order, except that every event is moved to its own time.

    An event is written when its action is done, and contains the time at which it took effect; in between, others
    already recorded their observations of it. Samples stay where they were reported, which for failed ones is well
    after their due time.
    """
    records = list(records)
    events = sorted((record for record in records if isinstance(record, Event)), key=lambda event: event.t)
    ordered: list[AnyRecord] = []
    latest = given = 0
    for record in records:
        latest = max(latest, _end_of(record))
        if isinstance(record, Event):
            continue
        while given < len(events) and events[given].t <= latest:
            ordered.append(events[given])
            given += 1
        ordered.append(record)
    return (*ordered, *events[given:])


def _known(values: dict[SeriesKey, _T | None]) -> dict[SeriesKey, _T]:
    return {key: value for key, value in values.items() if value is not None}


def _end_of(record: AnyRecord) -> int:
    return record.t + record.late + (record.latency or 0) if isinstance(record, Sample) else record.t


def _steps(events: list[Event]) -> list[PlayedStep]:
    """Pair starts with ends, by step number and kind; in order of start."""
    steps: list[PlayedStep] = []
    open_steps: dict[tuple[int, str], int] = {}
    for event in events:
        key = (event.step, event.what)
        label = str(event.detail.get("label") or event.what)
        if event.phase == "end" and key in open_steps:
            index = open_steps.pop(key)
            begun = steps[index]
            steps[index] = PlayedStep(
                number=event.step,
                what=event.what,
                label=begun.label if begun.label != event.what else label,
                start=begun.start,
                end=event.t,
                ok=event.ok if event.ok is not None else begun.ok,
                detail=begun.detail | event.detail,
            )
            continue
        if event.phase == "start":
            open_steps[key] = len(steps)
        end = None if event.phase == "start" else event.t
        steps.append(
            PlayedStep(
                number=event.step,
                what=event.what,
                label=label,
                start=event.t,
                end=end,
                ok=event.ok,
                detail=event.detail,
            )
        )
    return steps


def begins_fault(event: Event) -> bool:
    """Whether a fault is in force from this event on."""
    verb = verb_of(event.what)
    return verb.lasts and not verb.setup and event.phase != "end" and event.ok is not False


def ends_fault(event: Event, fault: Event) -> bool:
    """Whether a later event ends the fault that `fault` began: its own end, or a heal of its kind."""
    if event.what == fault.what and event.step == fault.step and event.phase == "end":
        return True
    return fault.what in verb_of(event.what).ends and is_change(event)


def colour_of(fault: Event) -> str:
    """The colour that a fault asks for, as `#rrggbb`; empty for the default."""
    colour = str(fault.detail.get("colour") or "")
    return colour if _COLOUR.fullmatch(colour) else ""


def _bands(events: list[Event], end: int) -> list[FaultBand]:
    """Faults from strike to heal."""
    bands: list[FaultBand] = []
    for index, event in enumerate(events):
        if not begins_fault(event):
            continue
        healed = next((later.t for later in events[index + 1 :] if ends_fault(later, event)), None)
        bands.append(
            FaultBand(
                what=event.what,
                label=label_of(event),
                start=event.t,
                end=end if healed is None else healed,
                healed=healed is not None,
                colour=colour_of(event),
            )
        )
    return bands

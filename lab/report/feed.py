"""The records of the page: each record of a history made small and safe, with data that JavaScript cannot derive. Pure.

Owns the records of the page (`lab/report/web/src/model.js` reads them). One `Feed` serves a stored run or a live one:
records of a history go in one by one, dicts for JSON come out. The kind of a verb, whether a try should have succeeded,
and the names of a service are decided here, so that the page only displays them.

Every record has `k`, its kind, and `t`, nanoseconds since the start of the run:

- `meta`: scenario, hosts, services, titles of probes;
- `event`: something was done. `fault` is the number of a fault that begins, `over` the numbers of those that end; `rep`
  and `addr` are changes of containers: {name: host, None: ended};
- `view`, `gone`: a peer's view (digests as small numbers; neighbours as added and removed ones), a peer's stop;
- `series`: assigns a number to a probe, source and target; `try`: one try of a series;
- `load`: the lab is alive (the page shows no load).
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from lab.checkers.run import begins_fault, colour_of, ends_fault
from lab.checkers.tries import outcome
from lab.checkers.world import ExpectedState, SeriesKey, label_of, series_of
from lab.kinds.probes import asks_name, title_of
from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, Event, LinkUse, Load, Meta, PeerGone, RunFigure, Sample, View
from overlay.clean import clean_tree

__all__ = ["Feed", "fed", "microseconds"]

_LONGEST = 400
"""Maximum number of characters of a foreign text on the page."""
_DIGESTS = ("topology", "ring", "dns")


class Feed:
    """Converts the records of one history, in order, into those of its page."""

    def __init__(self) -> None:
        self._world = ExpectedState()
        self._series: dict[SeriesKey, int] = {}
        self._duty: dict[SeriesKey, list[tuple[int, bool | None, tuple[str, ...] | None]]] = {}
        """Series -> (start time, expected result, expected answer) of the last few changes."""
        self._digests: dict[str, dict[str, int]] = {name: {} for name in _DIGESTS}
        self._neighbours: dict[str, tuple[str, ...]] = {}
        self._replicas: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._faults: list[Event | None] = []
        """All faults so far by number; None: it has ended."""

    def feed(self, record: AnyRecord) -> list[dict[str, Any]]:
        """Page records for the next record."""
        if isinstance(record, Sample):
            return self._sample(record)
        if isinstance(record, LinkUse | RunFigure):
            return []  # only for tables of the summary
        known = len(self._world.views)
        self._world.feed(record)
        if isinstance(record, View):
            if len(self._world.views) != known:
                self._judge_anew(record.t)
            return [self._view(record)]
        if isinstance(record, Load):
            return [{"k": "load", "t": record.t}]
        self._judge_anew(record.t)
        if isinstance(record, PeerGone):
            self._neighbours.pop(record.host, None)
            return [_harmless({"k": "gone", "t": record.t, "host": record.host})]
        return [_harmless(self._event(record) if isinstance(record, Event) else _meta(record))]

    def series(self, key: SeriesKey) -> dict[str, Any]:
        """The record of a series; series are numbered in the order of calls."""
        number = self._series.setdefault(key, len(self._series))
        probe, source, target = key
        return _harmless(
            {"k": "series", "i": number, "probe": probe, "source": source, "target": target}
            | _set(name=asks_name(probe))
        )

    def _event(self, event: Event) -> dict[str, Any]:
        verb, detail = verb_of(event.what), event.detail
        over = [number for number, fault in enumerate(self._faults) if fault is not None and ends_fault(event, fault)]
        for number in over:
            self._faults[number] = None
        made: dict[str, Any] = {
            "k": "event",
            "t": event.t,
            "step": event.step,
            "what": event.what,
            "phase": event.phase,
            "label": label_of(event),
        } | _set(over=over, lasts=verb.lasts, asks=verb.asks)
        if event.ok is not None:
            made["ok"] = event.ok
        for key in ("took", "expect", "error", "by"):
            if detail.get(key):
                made[key] = detail[key]
        if begins_fault(event):
            made |= {"fault": len(self._faults)} | _set(colour=colour_of(event))
            self._faults.append(event)
        if event.groups:
            made["groups"] = event.groups
        made |= _set(
            rep=_difference(self._replicas, self._world.replicas),
            addr=_difference(self._addresses, self._world.addresses),
        )
        self._replicas, self._addresses = dict(self._world.replicas), dict(self._world.addresses)
        return made

    def _view(self, view: View) -> dict[str, Any]:
        before = set(self._neighbours.get(view.host, ()))
        now = set(view.neighbours)
        self._neighbours[view.host] = view.neighbours
        digests = [self._digests[name].setdefault(getattr(view, name), len(self._digests[name])) for name in _DIGESTS]
        return _harmless(
            {"k": "view", "t": view.t, "host": view.host, "d": digests, "reach": view.reachable}
            | _set(
                peer=view.peer,
                share=round(view.ring_share, 6),
                plus=[name for name in view.neighbours if name not in before],
                minus=sorted(before - now),
            )
        )

    def _sample(self, sample: Sample) -> list[dict[str, Any]]:
        key = series_of(sample)
        made = []
        if key not in self._series:
            made.append(self.series(key))
            self._duty[key] = [(0, *self._demand(key))]
        duties = self._duty[key]
        place = max(bisect_right(duties, sample.t, key=lambda duty: duty[0]) - 1, 0)
        _, should, answers = duties[place]
        tried: dict[str, Any] = {
            "k": "try",
            "t": sample.t,
            "i": self._series[key],
            "s": outcome(sample, should, answers),
        } | _set(l=microseconds(sample), n=len(sample.answers))
        return [*made, tried]

    def _demand(self, key: SeriesKey) -> tuple[bool | None, tuple[str, ...] | None]:
        should = self._world.should(key)
        named = should is not None and asks_name(key[0])
        return should, self._world.should_answer(key[1], key[2]) if named else None

    def _judge_anew(self, t: int) -> None:
        """Update the expected results. Failed tries are reported late, so the last few changes are kept."""
        for key, duties in self._duty.items():
            now = self._demand(key)
            if now != duties[-1][1:]:
                duties.append((t, *now))
                del duties[:-8]


def _meta(meta: Meta) -> dict[str, Any]:
    """The first record: the scenario and what it runs on."""
    scenario = meta.scenario
    underlay = scenario.get("underlay") or {}
    kinds = {str(plan.get("kind")) for plan in scenario.get("probes") or () if isinstance(plan, dict)}
    return {
        "k": "meta",
        "t": meta.t,
        "scenario": str(scenario.get("name") or ""),
        "hosts": list(underlay.get("hosts") or ()),
        "services": list(scenario.get("services") or ()),
        "titles": {kind: title_of(kind) for kind in sorted(kinds | {"http", "icmp", "dns"})},
    }


def microseconds(sample: Sample) -> int:
    """Latency of an answer in microseconds; 0 without an answer."""
    return max(1, round(sample.latency / 1000)) if sample.ok and sample.latency is not None else 0


def _difference(before: dict[str, str], now: dict[str, str]) -> dict[str, str | None]:
    changed: dict[str, str | None] = {name: where for name, where in now.items() if before.get(name) != where}
    return changed | {name: None for name in before if name not in now}


def _set(**fields: Any) -> dict[str, Any]:
    """The fields that are not empty."""
    return {name: value for name, value in fields.items() if value}


def _harmless(record: dict[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = clean_tree(_short(record))
    return cleaned


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    if isinstance(value, dict):
        return {_short(key): _short(each) for key, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list | tuple) else value


def fed(records: Iterable[AnyRecord], feed: Feed) -> list[dict[str, Any]]:
    """The page records of all records except tries."""
    return [made for record in records if not isinstance(record, Sample) for made in feed.feed(record)]

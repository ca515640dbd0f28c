"""The tries of a long history as columns: read in blocks, kept in a few bytes each. Owns the form of the columns.

`read_columns` gives the same content as `lab.records.history.read`, in two parts: the records that are no tries, each
with its place among them, and the tries. One series (`SeriesTries`) is a sequence of `Sample`s like the list that it
replaces; a sample is made when it is asked for. Code that runs over all tries of a history uses the columns instead.

Imports numpy, so it is imported only for long histories. Knows nothing of what tries mean.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from lab.records.history import AnyRecord, Event, LinkUse, Load, Meta, PeerGone, RunFigure, Sample, View, read

__all__ = ["LATE", "LongHistory", "PickedTries", "SeriesTries", "TryTable", "read_columns"]

Ints = NDArray[np.int64]
Key = tuple[str, str, str]
_BLOCK = 1 << 20
"""Bytes that are decoded at once."""
_INT32 = np.iinfo(np.int32).max
_FIELDS = ("series", "t", "latency", "late", "ok", "error", "answers")
LATE = "late"


class TryTable:
    """All tries, by series and due time; `order` is the place of each in the written order."""

    def __init__(self, fields: dict[str, list[Any]], numbers: dict[Key, int], words: dict[str, int],
                 said: dict[tuple[str, ...], int], measured: dict[int, dict[str, int]]) -> None:  # fmt: skip
        def joined(name: str) -> NDArray[Any]:
            parts = fields.pop(name)  # one column after another: two copies of all would be the peak of memory
            return np.concatenate(parts) if parts else np.empty(0, np.int64)

        series, due = joined("series"), joined("t")
        self.order = np.lexsort((due, series)).astype(np.int32)
        self.series = series[self.order]
        self.t: Ints = due[self.order]
        del series, due
        self.latency: Ints = joined("latency")[self.order]
        """Nanoseconds; -1 without an answer."""
        self.late: Ints = joined("late")[self.order]
        self.ok = joined("ok")[self.order]
        self.error = joined("error")[self.order]
        self.answers = joined("answers")[self.order]
        self.errors = list(words)
        self.answered = list(said)
        self.keys = list(numbers)
        self.place = np.empty(len(self.order), np.int32)
        self.place[self.order] = np.arange(len(self.order), dtype=np.int32)
        """Written order -> place in the columns."""
        self.measured = {int(self.place[index]): found for index, found in measured.items()}
        self.unsaid = self.error == words.get(LATE, -1)
        """Tries that were not made in time, and say nothing."""

    def __len__(self) -> int:
        return len(self.t)

    @property
    def done(self) -> Ints:
        """When each try was answered, or due to be sent without an answer."""
        done: Ints = self.t + self.late + np.maximum(self.latency, 0)
        return done

    def sample(self, index: int) -> Sample:
        """One try as a record."""
        probe, source, target = self.keys[self.series[index]]
        latency = int(self.latency[index])
        return Sample(
            t=int(self.t[index]), probe=probe, source=source, target=target, ok=bool(self.ok[index]),
            latency=None if latency < 0 else latency, error=self.errors[self.error[index]],
            answers=self.answered[self.answers[index]], measured=self.measured.get(index, {}),
            late=int(self.late[index]),
        )  # fmt: skip

    def by_series(self) -> "dict[Key, SeriesTries]":
        """Series -> its tries."""
        ends = np.searchsorted(self.series, np.arange(len(self.keys) + 1))
        return {
            key: SeriesTries(self, int(ends[number]), int(ends[number + 1])) for number, key in enumerate(self.keys)
        }


class SeriesTries(Sequence[Sample]):
    """The tries of one series by due time."""

    __slots__ = ("start", "stop", "table")

    def __init__(self, table: TryTable, start: int, stop: int) -> None:
        self.table, self.start, self.stop = table, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.table.sample(self.start + index % len(self))

    def __iter__(self) -> Iterator[Sample]:
        return (self.table.sample(index) for index in range(self.start, self.stop))

    @property
    def t(self) -> Ints:
        """Due times."""
        return self.table.t[self.start : self.stop]

    @property
    def latency(self) -> Ints:
        """Nanoseconds; -1 without an answer."""
        return self.table.latency[self.start : self.stop]

    @property
    def late(self) -> Ints:
        """Nanoseconds between due and sent."""
        return self.table.late[self.start : self.stop]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether each was answered."""
        return self.table.ok[self.start : self.stop]

    @property
    def unsaid(self) -> NDArray[np.bool_]:
        """Tries that say nothing (`late`)."""
        unsaid: NDArray[np.bool_] = self.table.unsaid[self.start : self.stop]
        return unsaid

    def between(self, start: int, end: int) -> list[Sample]:
        """The tries due in [start, end)."""
        first, last = np.searchsorted(self.t, (start, end))
        return self[int(first) : int(last)]


class PickedTries(Sequence[Sample]):
    """Some tries of a table, by their places in the columns."""

    __slots__ = ("places", "table")

    def __init__(self, table: TryTable, places: NDArray[Any]) -> None:
        self.table, self.places = table, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self.table.sample(int(each)) for each in self.places[index]]
        return self.table.sample(int(self.places[index]))


class LongHistory:
    """A history in two parts. `others`: (number of records before it in the file, record), in written order; `ends`:
    records in written order -> the latest time of them and all before them."""

    def __init__(self, others: list[tuple[int, AnyRecord]], table: TryTable, ends: Ints) -> None:
        self.table = table
        self.end = int(ends[-1]) if len(ends) else 0
        """Time of the last record."""
        self.ordered = self._ordered(others, ends)
        """(number of tries before it, record) in the order of `lab.checkers.run.in_order`: events at their own time."""

    @staticmethod
    def _ordered(others: list[tuple[int, AnyRecord]], latest: Ints) -> list[tuple[int, AnyRecord]]:
        """`latest`: records in written order -> the latest time of them and all before them."""
        tries = np.ones(len(latest), np.int64)
        tries[[place for place, _ in others]] = 0
        before = np.concatenate([[0], np.cumsum(tries)])
        events = sorted(
            ((place, record) for place, record in others if record.__struct_config__.tag == "event"),
            key=lambda pair: pair[1].t,
        )
        is_event = np.zeros(len(latest) + 1, bool)
        is_event[[place for place, _ in events]] = True
        placed: list[tuple[int, int, int, AnyRecord]] = []
        for rank, (_, event) in enumerate(events):
            # Before the first record, other than an event, that was written at the event's time or later.
            at = int(np.searchsorted(latest, event.t))
            while at < len(latest) and is_event[at]:
                at += 1
            placed.append((at, 0, rank, event))
        placed += [(place, 1, 0, record) for place, record in others if record.__struct_config__.tag != "event"]
        placed.sort(key=lambda each: each[:3])
        return [(int(before[place]), record) for place, _, _, record in placed]


class _Line(Sample, frozen=True, kw_only=True, tag="sample"):
    """A sample as it is read: without a dict for each try that measured nothing."""

    measured: dict[str, int] | None = None  # type: ignore[assignment]


def read_columns(path: Path) -> LongHistory:
    """Read a whole file. Raises `Unreadable`; a truncated last line is skipped."""
    decoder = msgspec.json.Decoder(Meta | Event | _Line | View | PeerGone | Load | LinkUse | RunFigure)
    reader = _Reader()
    with path.open("rb") as file:
        rest = b""
        while block := file.read(_BLOCK):
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if not newline:
                continue
            try:
                records = decoder.decode_lines(whole)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                for _ in read(path):  # raises, and names the line
                    pass
                raise
            reader.take(records)
    return reader.history()


class _Reader:
    """Collects decoded records into columns."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}
        self._words: dict[str, int] = {"": 0}
        self._said: dict[tuple[str, ...], int] = {(): 0}
        self._measured: dict[int, dict[str, int]] = {}
        self._fields: dict[str, list[Any]] = {name: [] for name in _FIELDS}
        self._others: list[tuple[int, AnyRecord]] = []
        self._ends: list[Ints] = []
        self._total = self._tries = 0

    def take(self, records: list[Any]) -> None:
        """The next records."""
        samples = [each for each in records if type(each) is _Line]
        others = [(n, each) for n, each in enumerate(records) if type(each) is not _Line]
        keys = [(each.probe, each.source, each.target) for each in samples]
        for key in dict.fromkeys(keys):
            self._numbers.setdefault(key, len(self._numbers))
        numbers = self._numbers
        due = np.array([each.t for each in samples], np.int64)
        latency = np.array([-1 if each.latency is None else each.latency for each in samples], np.int64)
        late = np.array([each.late for each in samples], np.int64)
        errors, answers = [each.error for each in samples], [each.answers for each in samples]
        for name, column in (
            ("series", np.array([numbers[key] for key in keys], np.int32)),
            ("t", due),
            ("latency", latency),
            ("late", late),
            ("ok", np.array([each.ok for each in samples], bool)),
            ("error", _coded(errors, self._words)),
            ("answers", _coded(answers, self._said)),
        ):
            self._fields[name].append(_small(column) if name in ("latency", "late") else column)
        for n, each in enumerate([each.measured for each in samples]):
            if each:
                self._measured[self._tries + n] = each
        ends = np.empty(len(records), np.int64)
        written = np.ones(len(records), bool)
        written[[n for n, _ in others]] = False
        ends[written] = due + late + np.maximum(latency, 0)
        ends[~written] = [each.t for _, each in others]
        self._ends.append(ends)
        self._others += [(self._total + n, each) for n, each in others]
        self._total += len(records)
        self._tries += len(samples)

    def history(self) -> LongHistory:
        """All of them."""
        ends = np.concatenate(self._ends) if self._ends else np.empty(0, np.int64)
        self._ends.clear()
        np.maximum.accumulate(ends, out=ends)
        table = TryTable(self._fields, self._numbers, self._words, self._said, self._measured)
        return LongHistory(self._others, table, ends)


def _coded(words: list[Any], codes: dict[Any, int]) -> NDArray[np.int32]:
    """Numbers of words; new ones get the next number."""
    if not any(words):
        return np.zeros(len(words), np.int32)
    for word in dict.fromkeys(words):
        codes.setdefault(word, len(codes))
    return np.array([codes[word] for word in words], np.int32)


def _small(column: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in half of the room, if they fit."""
    return column.astype(np.int32) if not len(column) or column.max() <= _INT32 else column

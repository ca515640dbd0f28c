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

from lab.records.history import AnyRecord, Sample, read

__all__ = ["LATE", "LongHistory", "PickedTries", "SeriesTries", "TryTable", "read_columns"]

Ints = NDArray[np.int64]
Key = tuple[str, str, str]
_BLOCK = 1 << 20
"""Bytes that are decoded at once."""
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
    """A history in two parts. `others`: (number of records before it in the file, record), in written order."""

    def __init__(self, others: list[tuple[int, AnyRecord]], table: TryTable, ends: Ints) -> None:
        self.others = others
        self.table = table
        self.ends = ends
        """Records in written order -> the latest time of them and all before them."""

    def ordered(self) -> list[tuple[int, AnyRecord]]:
        """(number of tries before it, record) in the order of `lab.checkers.run.in_order`: events at their own time."""
        tries = np.ones(len(self.ends), np.int64)
        tries[[place for place, _ in self.others]] = 0
        before = np.concatenate([[0], np.cumsum(tries)])
        events = sorted(
            ((place, record) for place, record in self.others if record.__struct_config__.tag == "event"),
            key=lambda pair: pair[1].t,
        )
        is_event = np.zeros(len(self.ends) + 1, bool)
        is_event[[place for place, _ in events]] = True
        placed: list[tuple[int, int, int, AnyRecord]] = []
        for rank, (_, event) in enumerate(events):
            # Before the first record, other than an event, that was written at the event's time or later.
            at = int(np.searchsorted(self.ends, event.t))
            while at < len(self.ends) and is_event[at]:
                at += 1
            placed.append((at, 0, rank, event))
        placed += [(place, 1, 0, record) for place, record in self.others if record.__struct_config__.tag != "event"]
        placed.sort(key=lambda each: each[:3])
        return [(int(before[place]), record) for place, _, _, record in placed]


def read_columns(path: Path) -> LongHistory:
    """Read a whole file. Raises `Unreadable`; a truncated last line is skipped."""
    decoder = msgspec.json.Decoder(AnyRecord)
    numbers: dict[Key, int] = {}
    words: dict[str, int] = {"": 0}
    said: dict[tuple[str, ...], int] = {(): 0}
    measured: dict[int, dict[str, int]] = {}
    fields: dict[str, list[Any]] = {name: [] for name in ("series", "t", "latency", "late", "ok", "error", "answers")}
    others: list[tuple[int, AnyRecord]] = []
    ends: list[Ints] = []
    total = tries = 0
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
            samples = [each for each in records if type(each) is Sample]
            ours = len(others)
            if len(samples) < len(records):
                others += [(total + n, each) for n, each in enumerate(records) if type(each) is not Sample]
            for each in samples:
                key = each.probe, each.source, each.target
                if key not in numbers:
                    numbers[key] = len(numbers)
            fields["series"].append(
                np.array([numbers[each.probe, each.source, each.target] for each in samples], np.int32)
            )
            fields["t"].append(np.array([each.t for each in samples], np.int64))
            fields["latency"].append(
                np.array([-1 if each.latency is None else each.latency for each in samples], np.int64)
            )
            fields["late"].append(np.array([each.late for each in samples], np.int64))
            fields["ok"].append(np.array([each.ok for each in samples], bool))
            fields["error"].append(np.array([words.setdefault(each.error, len(words)) for each in samples], np.int32))
            fields["answers"].append(np.array([said.setdefault(each.answers, len(said)) for each in samples], np.int32))
            for n, each in enumerate(samples):
                if each.measured:
                    measured[tries + n] = each.measured
            done = fields["t"][-1] + fields["late"][-1] + np.maximum(fields["latency"][-1], 0)
            written = np.ones(len(records), bool)
            written[[place - total for place, _ in others[ours:]]] = False
            end = np.empty(len(records), np.int64)
            end[written] = done
            end[~written] = [each.t for _, each in others[ours:]]
            ends.append(end)
            total += len(records)
            tries += len(samples)
    table = TryTable(fields, numbers, words, said, measured)
    return LongHistory(others, table, np.maximum.accumulate(np.concatenate(ends) if ends else np.empty(0, np.int64)))

"""Plays one case in a worker: the result of a sweep's run, plus the data that the search needs. No choices."""

from msgspec.structs import asdict

from lab.explore.branches import branches
from lab.explore.states import states
from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, Event
from lab.sweep.measure import Point
from lab.sweep.play import Task, play_recorded

__all__ = ["Played", "play_case", "play_plainly"]


class Played(Point, frozen=True, kw_only=True):
    """The result of a case."""

    reached: frozenset[int] = frozenset()
    """Numbers of the reached states and branches."""
    settled: tuple[int | None, ...] = ()
    """Duration of each `expect: converged` (ns); None: it failed."""


def play_case(task: Task) -> Played:
    """Play a case in virtual time, with branch coverage of the cores."""
    with branches() as taken:
        point, records = play_recorded(task)
    return Played(**asdict(point), reached=frozenset(taken) | states(records), settled=_settled(records))


def play_plainly(task: Task) -> Played:
    """Play a case without branch coverage, for example while it is minimized."""
    point, records = play_recorded(task)
    return Played(**asdict(point), settled=_settled(records))


def _settled(records: list[AnyRecord]) -> tuple[int | None, ...]:
    ended = [record for record in records if isinstance(record, Event) and verb_of(record.what).asks]
    return tuple(
        int(record.detail.get("took", 0)) if record.ok else None for record in ended if record.phase != "start"
    )

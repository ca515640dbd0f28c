"""One case, played in a worker: what a sweep's run tells, and what the search wants to know besides. No choices."""

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
    """States and branches, as numbers."""
    settled: tuple[int | None, ...] = ()
    """What each `expect: converged` took (ns); None: it failed."""


def play_case(task: Task) -> Played:
    """Play it in virtual time, and watch where the cores go."""
    with branches() as taken:
        point, records = play_recorded(task)
    return Played(**asdict(point), reached=frozenset(taken) | states(records), settled=_settled(records))


def play_plainly(task: Task) -> Played:
    """The same, without watching the cores: nobody asks, as of a case that is being made smaller."""
    point, records = play_recorded(task)
    return Played(**asdict(point), settled=_settled(records))


def _settled(records: list[AnyRecord]) -> tuple[int | None, ...]:
    ended = [record for record in records if isinstance(record, Event) and verb_of(record.what).asks]
    return tuple(
        int(record.detail.get("took", 0)) if record.ok else None for record in ended if record.phase != "start"
    )

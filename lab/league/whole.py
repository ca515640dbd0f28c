"""One league from its ledger: what is there already, what is left, and the cells that come of both.

Owns what is said before the first lab starts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.league.plan import LeagueMatch, LeagueRun, Pairing, estimate, matches
from lab.league.play import LeagueProgress, done_of, not_done, play_all, read_again, skipped
from lab.league.results import LeagueRow, by_pair, rows_of
from lab.sweep.ledger import Ledger
from lab.trials.trial import OverlayFacts
from lab.words import are, count

__all__ = ["WholeLeague", "league_span", "play_league"]


class WholeLeague(Struct, frozen=True, kw_only=True):
    """One league, as far as it was played."""

    rows: list[LeagueRow]
    runs: list[LeagueRun]
    planned: int
    reused: int
    silent: int
    interrupted: bool

    @property
    def complete(self) -> bool:
        """Whether all that was planned is there."""
        return not self.interrupted and not self.silent and len(self.runs) >= self.planned


def play_league(
    found: Sequence[Pairing],
    facts: Mapping[str, OverlayFacts],
    repeats: int | None,
    ledger: Ledger[LeagueRun],
    folder: Path,
    jobs: int,
    say: Callable[[str], None],
    told: Callable[[LeagueProgress], None],
    *,
    salt: int = 0,
    until: float = math.inf,
) -> WholeLeague:
    """Play what its ledger does not have yet."""
    planned = matches(found, facts, repeats, salt=salt)
    todo = not_done(planned, ledger)
    if reused := sum(len(match.repeats) for match in planned) - sum(len(match.repeats) for match in todo):
        say(f"{count(reused, 'repeat')} {are(reused)} there already")
    if todo:
        seconds = estimate(todo, list(ledger.points.values()), side_by_side=jobs)
        say(f"{count(len(todo), 'lab')}, about {league_span(seconds)}")
    interrupted = False
    silent: dict[str, LeagueRun] = {}
    try:
        silent = play_all(planned, ledger, folder, told, side_by_side=jobs, until=until)
    except KeyboardInterrupt:
        interrupted = True
    done = done_of(planned, ledger)
    planned = [match for match in planned if not skipped(match, done)]
    runs = _runs(planned, ledger, silent, folder)
    return WholeLeague(
        rows=rows_of(found, by_pair(runs)),
        runs=runs,
        planned=sum(len(match.repeats) for match in planned),
        reused=reused,
        silent=len(silent),
        interrupted=interrupted,
    )


def _runs(
    planned: Sequence[LeagueMatch], ledger: Ledger[LeagueRun], silent: dict[str, LeagueRun], folder: Path
) -> list[LeagueRun]:
    runs = []
    for match in planned:
        for key in match.keys.values():
            run = ledger.points.get(key) or silent.get(key)
            if run is not None:
                run = read_again(run, match, folder)
                # The same overlay may have had another label before.
                runs.append(msgspec.structs.replace(run, entry=match.pairing.entry.label))
    return runs


def league_span(seconds: float) -> str:
    """How long something takes, about."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"

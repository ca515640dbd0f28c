"""Plays the labs of a league that are not done yet, and keeps the repeats of each as it ends.

Owns the league's folder and its ledger, how often a lab is tried that said nothing, and what becomes of an entry that
hangs, dies or lies: repeats with their reason, and the league goes on.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.api.play import play
from lab.api.played import load
from lab.errors import BackendRefused, LabError
from lab.league.measures import NOT_ASKED, REFUSED, RepeatReading, never, read_repeats
from lab.league.plan import LeagueMatch, LeagueRun, estimate, is_hopeless, is_long, reading_version
from lab.sweep.ledger import Ledger
from lab.trials.playing import backend_of
from overlay.clean import clean

__all__ = [
    "LEDGER",
    "LeagueProgress",
    "done_of",
    "not_done",
    "open_ledger",
    "play_all",
    "read_again",
    "skipped",
    "slug",
]

LEDGER = "league.jsonl"
RUNS = "runs"
_TRIES = 2
"""Runs of one match at most: the machine may have been too busy for the first to say anything."""
_REASON = 300


class LeagueProgress(Struct, frozen=True, kw_only=True):
    """Told after each lab."""

    runs: tuple[LeagueRun, ...]
    done: int
    of: int
    left: float
    """Seconds that the others take, about."""


def open_ledger(folder: Path) -> Ledger[LeagueRun]:
    """The league's runs that are done. Raises `LabError` when another league writes there."""
    return Ledger(folder, LeagueRun, name=LEDGER)


def slug(label: str) -> str:
    """A label as the name of a file."""
    return "".join(char if char.isalnum() or char in "-_.@" else "_" for char in label).lstrip(".") or "entry"


def play_all(
    planned: Sequence[LeagueMatch],
    ledger: Ledger[LeagueRun],
    folder: Path,
    told: Callable[[LeagueProgress], None],
    *,
    side_by_side: int = 1,
    until: float = math.inf,
) -> dict[str, LeagueRun]:
    """Play those that are not done; returns the repeats that said nothing, by key. Each is on disk when `told` hears of
    it. ^C ends it: the lab goes down (labs side by side play to their ends), and what is done stays.

    `side_by_side`: how many labs at once, for questions that say that this is no matter. `until`: no spare lab begins
    after this time of the monotonic clock."""
    silent: dict[str, LeagueRun] = {}
    todo = not_done(planned, ledger)
    left = {match.key: match for match in todo}

    def keep(match: LeagueMatch, runs: Sequence[LeagueRun]) -> None:
        for run in runs:
            ledger.add(run)
            if run.failed:
                silent[run.key] = run
        del left[match.key]
        if not runs:  # it was too late for it, or hopeless
            return
        done = done_of(planned, ledger)
        wanted_still = [one for one in left.values() if not skipped(one, done)]
        seconds = estimate(wanted_still, list(ledger.points.values()), side_by_side=side_by_side)
        told(LeagueProgress(runs=tuple(runs), done=len(todo) - len(left), of=len(todo), left=seconds))

    def needless(match: LeagueMatch) -> bool:
        late = match.spare and time.monotonic() >= until
        return late or skipped(match, done_of(planned, ledger))

    def wanted(match: LeagueMatch) -> bool:
        if needless(match):
            left.pop(match.key, None)
        return match.key in left

    def if_wanted(match: LeagueMatch) -> list[LeagueRun]:
        return [] if needless(match) else _played(match, folder)

    def alike(match: LeagueMatch) -> tuple[str, bool, bool]:
        """Labs that may be played at once; whether spare ones are wanted is only known after the others."""
        return match.pairing.question.name, match.spare, side_by_side > 1 and match.pairing.question.quiet

    for (_, _, together), batch in groupby(todo, alike):
        if together:
            _side_by_side([match for match in batch if wanted(match)], if_wanted, keep, side_by_side)
        else:
            for match in batch:
                if wanted(match):
                    keep(match, _played(match, folder))
    return silent


def not_done(planned: Sequence[LeagueMatch], ledger: Ledger[LeagueRun]) -> list[LeagueMatch]:
    """Those with repeats that the ledger does not have."""
    return [match for match in planned if not ledger.points.keys() >= set(match.keys.values())]


def done_of(planned: Sequence[LeagueMatch], ledger: Ledger[LeagueRun]) -> list[LeagueRun]:
    """Their repeats that are done. A ledger also has those of other versions."""
    points = dict(ledger.points)  # a copy in one step: labs side by side end in other threads
    return [points[key] for match in planned for key in match.keys.values() if key in points]


def skipped(match: LeagueMatch, done: Sequence[LeagueRun]) -> bool:
    """Whether the first repeats have shown that no more are wanted."""
    return (match.spare and is_long(match, done)) or is_hopeless(match, done)


def _side_by_side(
    batch: Sequence[LeagueMatch],
    played: Callable[[LeagueMatch], list[LeagueRun]],
    keep: Callable[[LeagueMatch, Sequence[LeagueRun]], None],
    most: int,
) -> None:
    pool = ThreadPoolExecutor(most)
    futures = {pool.submit(played, match): match for match in batch}
    try:
        for future in as_completed(list(futures)):
            keep(futures.pop(future), future.result())
    finally:
        # Each command ends with the thread that started it, so those that play are waited for.
        pool.shutdown(cancel_futures=True)
        for future, match in futures.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                keep(match, future.result())


def read_again(run: LeagueRun, match: LeagueMatch, folder: Path) -> LeagueRun:
    """The same with its measures read from its history, if they were read by another version of them."""
    if run.read_by == reading_version() or not run.run:
        return run
    try:
        found = read_repeats(match.pairing.question, load(folder / run.run), len(match.repeats))[run.index]
    except LabError:
        return run  # its history is gone; what was read of it then is all there is
    return msgspec.structs.replace(run, readings=found.readings, read_by=reading_version())


def _played(match: LeagueMatch, folder: Path) -> list[LeagueRun]:
    question, entry = match.pairing.question, match.pairing.entry
    begun = time.monotonic()

    def made(found: Sequence[RepeatReading], where: str = "") -> list[LeagueRun]:
        wall = (time.monotonic() - begun) / len(found)
        return [
            LeagueRun(
                key=match.keys[repeat],
                entry=entry.label,
                question=question.name,
                repeat=repeat,
                verdict=one.verdict,
                reason=clean(one.reason.partition("\n")[0], most=_REASON),
                run=where,
                index=index,
                wall=round(wall, 2),
                readings=one.readings,
                read_by=reading_version(),
                failed=one.verdict == "unknown",
            )
            for index, (repeat, one) in enumerate(zip(match.repeats, found, strict=True))
        ]

    for _ in range(_TRIES):
        begun = time.monotonic()
        out = folder / RUNS / slug(entry.label)
        try:
            run = play(match.scenario, backend=backend_of(entry), seed=match.seed, out=out, limit=match.limit)
        except BackendRefused as error:
            return made([RepeatReading(verdict=REFUSED, reason=str(error))] * len(match.repeats))
        except LabError as error:
            first = RepeatReading(verdict="invalid", reason=str(error), readings=never(question))
            return made([first, *[RepeatReading(verdict=NOT_ASKED)] * (len(match.repeats) - 1)])
        found = read_repeats(question, run, len(match.repeats))
        if found[0].verdict != "unknown":
            break
    return made(found, os.path.relpath(run.folder, folder))

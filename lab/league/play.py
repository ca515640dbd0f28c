"""Plays the runs of a league that are not done yet, and keeps each as it ends.

Owns the league's folder and its ledger, how often a run is tried that said nothing, and what becomes of an entry that
hangs, dies or lies: a run of its own with its reason, and the league goes on.
"""

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
from lab.errors import LabError
from lab.league.measures import judged, never, read_run
from lab.league.plan import LeagueMatch, LeagueRun, estimate, reading_version
from lab.sweep.ledger import Ledger
from lab.trials.playing import backend_of
from overlay.clean import clean

__all__ = ["LEDGER", "LeagueProgress", "open_ledger", "play_all", "read_again", "slug"]

LEDGER = "league.jsonl"
RUNS = "runs"
_TRIES = 2
"""Runs of one match at most: the machine may have been too busy for the first to say anything."""
_REASON = 300


class LeagueProgress(Struct, frozen=True, kw_only=True):
    """Told after each run."""

    run: LeagueRun
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
    todo: Sequence[LeagueMatch],
    ledger: Ledger[LeagueRun],
    folder: Path,
    told: Callable[[LeagueProgress], None],
    *,
    side_by_side: int = 1,
) -> dict[str, LeagueRun]:
    """Play them; returns those that said nothing, by key. Each is on disk when `told` hears of it. ^C ends it: the lab
    goes down (labs side by side play to their ends), and what is done stays.

    `side_by_side`: so many labs at once, of questions that say that this is no matter."""
    silent: dict[str, LeagueRun] = {}
    left = {match.key: match for match in todo}

    def keep(match: LeagueMatch, run: LeagueRun) -> None:
        ledger.add(run)
        if run.failed:
            silent[match.key] = run
        del left[match.key]
        seconds = estimate(list(left.values()), list(ledger.points.values()), side_by_side=side_by_side)
        told(LeagueProgress(run=run, done=len(todo) - len(left), of=len(todo), left=seconds))

    for together, batch in groupby(todo, lambda match: side_by_side > 1 and match.pairing.question.quiet):
        if together:
            _side_by_side(list(batch), folder, keep, side_by_side)
        else:
            for match in batch:
                keep(match, _played(match, folder))
    return silent


def _side_by_side(
    batch: Sequence[LeagueMatch], folder: Path, keep: Callable[[LeagueMatch, LeagueRun], None], most: int
) -> None:
    pool = ThreadPoolExecutor(most)
    futures = {pool.submit(_played, match, folder): match for match in batch}
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
        readings = read_run(match.pairing.question, load(folder / run.run))
    except LabError:
        return run  # its history is gone; what was read of it then is all there is
    return msgspec.structs.replace(run, readings=readings, read_by=reading_version())


def _played(match: LeagueMatch, folder: Path) -> LeagueRun:
    question, entry = match.pairing.question, match.pairing.entry
    begun = time.monotonic()

    def made(verdict: str, reason: str, **more: object) -> LeagueRun:
        return LeagueRun(
            key=match.key,
            entry=entry.label,
            question=question.name,
            repeat=match.repeat,
            verdict=verdict,
            reason=clean(reason.partition("\n")[0], most=_REASON),
            wall=round(time.monotonic() - begun, 2),
            read_by=reading_version(),
            **more,  # type: ignore[arg-type]
        )

    for _ in range(_TRIES):
        begun = time.monotonic()
        out = folder / RUNS / slug(entry.label)
        try:
            run = play(match.scenario, backend=backend_of(entry), seed=match.repeat, out=out, limit=match.limit)
        except LabError as error:
            return made("invalid", str(error), readings=never(question))
        verdict, reason = judged(run)
        if verdict != "unknown":
            break
    where = os.path.relpath(run.folder, folder)
    if verdict == "unknown":
        return made(verdict, reason, run=where, failed=True)
    return made(verdict, reason, run=where, readings=read_run(question, run))

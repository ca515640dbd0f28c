"""`lab league`: play the same questions on many overlays, and write what came of it.

Owns what a person sees meanwhile, and which overlays take part when none is named.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec

from lab.cli import table
from lab.cli.ending import UNKNOWN
from lab.errors import LabError
from lab.kinds.backends import BACKENDS
from lab.kinds.overlays import DEFAULT, OVERLAYS, OverlayKind
from lab.league.again import CellAgreement, agreements, part_of, part_words
from lab.league.document import document, league_name
from lab.league.page import write_pages
from lab.league.papers import write_papers
from lab.league.plan import (
    MOST_REPEATS,
    LeagueMatch,
    LeagueRun,
    Pairing,
    estimate,
    labs_of,
    pairings,
    questions_of,
    repeats_of,
)
from lab.league.play import RUNS, LeagueProgress, open_ledger, slug
from lab.league.results import LeagueRow
from lab.league.whole import WholeLeague, league_span, play_league
from lab.records.store import ROOT, replace_file
from lab.sweep.ledger import code_version
from lab.trials.entries import entries_of, lacking
from lab.trials.playing import DEFAULT_BACKEND, facts_of, left_behind
from lab.trials.questions import QUESTIONS
from lab.trials.trial import Entry, LeagueQuestion, OverlayFacts
from lab.words import count

__all__ = ["league", "list_league"]

MOST_LABS = 16
_AGAIN = "again"
"""Folder of the second league."""
_OTHER_SEEDS = 1_000_000
_FEW_HOSTS = 4
"""Hosts of a question at most where each is a Docker Engine or a machine, unless it is named."""
_MARKS = {"valid": "✓", "invalid": "✗", "unknown": "?"}


def list_league(backend: str = DEFAULT_BACKEND, *, as_json: bool) -> None:
    """Print every question, and every overlay that can take part on hosts of this kind. Raises `LabError`."""
    names, absent = _everybody(backend)
    if as_json:
        questions = [
            {"name": one.name, "asks": one.asks, "measures": one.measures, "seconds": one.seconds,
             "repeats": repeats_of(one, None), "hosts": one.size}
            for one in QUESTIONS
        ]  # fmt: skip
        click.echo(json.dumps({"questions": questions, "entries": names, "absent": absent}))
        return
    table.show(
        ("question", "what it asks", "measures", "a repeat", "repeats"),
        [
            [
                one.name,
                one.asks,
                ", ".join(one.measures),
                f"{one.each or one.seconds:.0f} s",
                str(repeats_of(one, None)),
            ]
            for one in QUESTIONS
        ],
        right=("a repeat", "repeats"),
    )
    click.echo(f"\nentries: {', '.join(names)}")
    for name, lacks in absent.items():
        click.echo(f"not here: {name}, needs: apt install {' '.join(lacks)}")


def league(
    entries: Sequence[str],
    questions: Sequence[str],
    *,
    repeats: int | None,
    jobs: int,
    again: str | None,
    hours: float | None = None,
    backend: str = DEFAULT_BACKEND,
    out: Path | None,
    into: Path | None,
    as_json: bool,
) -> int:
    """Play what is not done yet and write pages and tables; 0 all is done, 3 interrupted, or runs said nothing."""
    if repeats is not None and not 1 <= repeats <= MOST_REPEATS:
        raise LabError(f"--repeats {repeats}: expected 1 to {MOST_REPEATS}")
    if not 1 <= jobs <= MOST_LABS:
        raise LabError(f"--jobs {jobs}: expected 1 to {MOST_LABS} labs")
    if hours is not None and not hours > 0:
        raise LabError(f"--hours {hours:g}: expected more than 0")
    until = math.inf if hours is None else time.monotonic() + 3600 * hours
    part = None if again is None else part_words(again)
    asked = questions_of(questions)
    if backend != DEFAULT_BACKEND and not questions:
        asked = [question for question in asked if question.size <= _FEW_HOSTS]
    names, absent = _everybody(backend)
    players = entries_of(entries or names, backend)
    folder = out if out is not None else ROOT / league_name(backend)
    say: Callable[[str], None] = _silence if as_json else click.echo

    def tell(told: LeagueProgress) -> None:
        say(_line(told))

    if not entries:
        for name, lacks in absent.items():
            say(f"not here: {name}, needs: apt install {' '.join(lacks)}")
    with open_ledger(folder) as ledger:
        say(_announced(players, asked, repeats, list(ledger.points.values()), jobs))
        facts, broken = _asked(players, folder, say, jobs)
        found = pairings(players, asked, facts, broken)
        first = play_league(found, facts, repeats, ledger, folder, jobs, say, tell, until=until)
    rows, runs = first.rows, first.runs
    papers = write_papers(folder, rows, runs)
    page = write_pages(folder, rows, runs, facts, broken)
    second: WholeLeague | None = None
    if part is not None and not first.interrupted:
        chosen = part_of(found, part)
        say(f"again: {count(len(chosen), 'pair')} of an entry and a question, with other seeds")
        with open_ledger(folder / _AGAIN) as other:
            second = play_league(
                chosen, facts, repeats, other, folder / _AGAIN, jobs, say, tell, salt=_OTHER_SEEDS, until=until
            )
        write_papers(folder / _AGAIN, second.rows, second.runs)
        write_pages(folder / _AGAIN, second.rows, second.runs, facts, broken)
    compared = agreements(rows, second.rows) if second is not None else []
    if into is not None:
        replace_file(into, document(rows, runs, facts, broken, code_version(), compared, backend).encode())
    both = [first, *([second] if second is not None else [])]
    complete = all(one.complete for one in both)
    interrupted = any(one.interrupted for one in both)
    leaves = {label: fact.leaves for label, fact in facts.items() if fact.leaves}
    if as_json:
        told = {
            "planned": first.planned, "runs": len(runs), "reused": first.reused, "interrupted": interrupted,
            "unknown": sum(one.silent for one in both), "broken": broken, "leaves": leaves, "page": str(page),
            "tables": [str(path) for path in papers],
            "cells": [
                {"question": cell.question, "measure": cell.measure, "entry": cell.entry, "state": cell.state,
                 "words": cell.words, "rank": cell.rank, "reason": cell.reason, "runs": cell.runs}
                for row in rows for cell in row.cells
            ],
            "again": [
                {"question": one.row.question.name, "measure": one.row.measure.name, "entry": one.first.entry,
                 "first": one.first.words, "second": one.second.words, "agree": one.agree}
                for one in compared
            ],
        }  # fmt: skip
        click.echo(json.dumps(told))
    else:
        _show(rows)
        _show_agreement(compared)
        click.echo(f"page: {page}")
        if interrupted:
            click.echo("interrupted: what is done is kept; the same command goes on")
        elif time.monotonic() >= until and not complete:
            click.echo("out of time: some cells have fewer repeats than they should; the same command goes on")
    return 0 if complete else UNKNOWN


def _plays(kind: OverlayKind, backend: str) -> bool:
    """Whether it takes part there unasked: everybody where hosts have this machine's programs; else who needs it."""
    if backend == DEFAULT_BACKEND:
        return not kind.backends or backend in kind.backends
    return backend in kind.backends or kind.name == DEFAULT


def _everybody(backend: str) -> tuple[list[str], dict[str, list[str]]]:
    """The overlays of containers that play there and that this machine can run; and what the others lack. Of ours each
    variant, as they are other data paths; a tuned one of others when it is named. Raises
    `LabError` for a backend that does not exist."""
    BACKENDS.get(backend)
    names: list[str] = []
    absent: dict[str, list[str]] = {}
    for kind in OVERLAYS:
        if kind.protocol is not None or kind.name == "exec" or not _plays(kind, backend):
            continue
        if lacks := lacking(kind):
            absent[kind.name] = lacks
        else:
            variants = kind.variants if kind.name == DEFAULT and backend == DEFAULT_BACKEND else {}
            names += [kind.name, *(f"{kind.name}:{variant}" for variant in variants)]
    return names, absent


def _announced(
    players: Sequence[Entry], asked: Sequence[LeagueQuestion], repeats: int | None, done: Sequence[LeagueRun], labs: int
) -> str:
    """How much there is to play, before anything is played: nothing is known of the overlays yet."""
    every = [
        LeagueMatch(key="", pairing=Pairing(entry=player, question=question), repeats=numbers, scenario={})
        for question in asked
        for player in players
        for numbers in labs_of(question, repeats)
    ]
    times = sum(len(match.repeats) for match in every)
    span = league_span(estimate(every, done, side_by_side=labs))
    return (
        f"{count(len(players), 'entry', 'entries')}, {count(len(asked), 'question')}, {count(times, 'repeat')} in "
        f"{count(len(every), 'lab')} at most: {span} if none is done yet"
    )


def _asked(
    players: Sequence[Entry], folder: Path, say: Callable[[str], None], labs: int
) -> tuple[dict[str, OverlayFacts], dict[str, str]]:
    """What each entry says of itself, and why it could not. `labs` of them are asked at once."""
    facts: dict[str, OverlayFacts] = {}
    broken: dict[str, str] = {}

    def ask(player: Entry) -> OverlayFacts:
        where = folder / RUNS / slug(player.label)
        found = facts_of(player, where)
        return msgspec.structs.replace(found, leaves=left_behind(player, found, where))

    pool = ThreadPoolExecutor(labs)
    try:
        asked = [(player, pool.submit(ask, player)) for player in players]
        for player, answer in asked:
            try:
                facts[player.label] = answer.result()
                if leaves := facts[player.label].leaves:
                    say(f"✗ {player.label}: {leaves}")
            except LabError as error:
                broken[player.label] = f"cannot be launched on one host: {str(error).partition(chr(10))[0]}"
                say(f"✗ {player.label} {broken[player.label]}")
    finally:
        pool.shutdown(cancel_futures=True)
    return facts, broken


def _show(rows: Sequence[LeagueRow]) -> None:
    heads = ("question", "measure", *(cell.entry for cell in rows[0].cells)) if rows else ()
    body = []
    for row in rows:
        cells = [cell.words + (f" ({cell.rank})" if cell.rank is not None else "") for cell in row.cells]
        body.append([row.question.name, f"{row.measure.title} ({row.measure.unit})", *cells])
    if body:
        table.show(heads, body)


def _line(told: LeagueProgress) -> str:
    first = told.runs[0]
    worst = next((run for run in told.runs if run.verdict != "valid"), first)
    reason = f"  {worst.reason}" if worst.reason else ""
    numbers = f"#{first.repeat}" + (f"–{told.runs[-1].repeat}" if len(told.runs) > 1 else "")
    return (
        f"{_MARKS.get(worst.verdict, '?')} {told.done}/{told.of} {first.question} {first.entry} {numbers}  "
        f"{sum(run.wall for run in told.runs):.0f} s, {league_span(told.left)} left{reason}"
    )


def _show_agreement(compared: Sequence[CellAgreement]) -> None:
    if not compared:
        return
    apart = [one for one in compared if not one.agree]
    click.echo(f"again: {len(compared) - len(apart)} of {count(len(compared), 'cell')} agree with the first league")
    if apart:
        table.show(
            ("question", "measure", "entry", "first", "second"),
            [
                [one.row.question.name, f"{one.row.measure.title} ({one.row.measure.unit})", one.first.entry,
                 one.first.words, one.second.words]
                for one in apart
            ],
        )  # fmt: skip


def _silence(text: str) -> None:
    pass

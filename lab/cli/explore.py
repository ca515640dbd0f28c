"""`lab explore`: search, shrinking, and their output. Owns the wording and the exit codes."""

import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

import click

from lab.cli import table
from lab.cli.command import lab_command
from lab.cli.option_values import duration
from lab.cli.progress import seconds
from lab.cli.sweep import USAGE
from lab.compiled.parts import SWITCH
from lab.errors import LabError
from lab.explore.case import Case
from lab.explore.finds import grouped, kind_of
from lab.explore.limits import read_limits, write_limits
from lab.explore.play import play_case
from lab.explore.search import Search, write_case
from lab.kinds.backends import is_virtual, virtual_backends
from lab.scenario.load import ScenarioError
from lab.scenario.values import UNITS
from lab.sweep.grid import parse_seeds
from lab.sweep.measure import Point
from lab.sweep.pools import Processes, cores
from lab.sweep.run import Interrupt
from lab.words import count

_MOST_SHRINKING = 400
"""Maximum number of runs for shrinking a violation."""
LEARNED = range(1_000_000, 1_000_100)
"""Seeds of the runs from which limits are learned."""


def explore(
    path: Path,
    *,
    backend: str,
    seeds: str,
    faults: int,
    deadline: str,
    keep_going: bool,
    learn: Path | None,
    limits: Path | None,
    out: Path | None,
    jobs: int | None,
    as_json: bool,
) -> int:
    """Search for violations; returns 0 for none, 1 for at least one, 2 for bad input, 3 when interrupted."""
    try:
        wanted = parse_seeds(seeds)
        if not is_virtual(backend):
            able = ", ".join(virtual_backends())
            raise LabError(f"--backend {backend}: only runs in virtual time can be searched: {able}")
        within = duration("--deadline", deadline)
        known = read_limits(limits) if limits is not None else None
        os.environ[SWITCH] = "0"  # machine code has no branch coverage
        pool = Processes(jobs or cores(), play_case)
        with Interrupt() as interrupt:
            try:
                search = Search(
                    path, backend, pool, deadline=within, most=faults, stopped=lambda: bool(interrupt), limits=known
                )
                if learn is not None:
                    return _learn(search, learn, interrupt)
                folder = out if out is not None else Path("reports") / search.scenario.name / "explore"
                told = _Told(search, wanted, folder, as_json, interrupt)
                if known is None:
                    told.learn()
                return told.explore(keep_going)
            finally:
                pool.close()
    except (ScenarioError, LabError) as error:
        click.echo(str(error), err=True)
        return USAGE


def _learn(search: Search, file: Path, interrupt: Interrupt) -> int:
    limits = search.learn(LEARNED)
    if interrupt:
        click.echo("interrupted: nothing is written")
        return 3
    write_limits(file, limits)
    shown = [
        [fault, *(seconds(part[fault]) if fault in part else "-" for part in (limits.notice, limits.recover))]
        for fault in sorted({*limits.notice, *limits.recover})
    ]
    table.show(("fault", "noticed within", "over within"), shown, right=("noticed within", "over within"))
    click.echo(f"written: {file}, from {count(len(LEARNED), 'run')} in which faults came one by one")
    return 0


class _Told:
    """One search with its output."""

    def __init__(
        self, search: Search, seeds: tuple[int, ...], folder: Path, as_json: bool, interrupt: Interrupt
    ) -> None:
        self._search = search
        self._seeds = seeds
        self._folder = folder
        self._as_json = as_json
        self._interrupt = interrupt
        self._played = self._virtual = 0
        self._begun = time.monotonic()

    def learn(self) -> None:
        """Learn limits from a few additional runs, fewer than are searched."""
        few = LEARNED[: len(self._seeds) // 2]
        if few:
            self._search.learn(few)
            click.echo(
                f"  {count(len(few), 'run')} with faults one by one: how long noticing and recovering take", err=True
            )

    def explore(self, keep_going: bool) -> int:
        """Search, and print the violations."""
        search, scenario = self._search, self._search.scenario
        hosts = count(len(scenario.hosts), "host")
        schedules = count(len(self._seeds), "random fault schedule")
        click.echo(click.style(scenario.name, bold=True) + f"  {schedules} on {hosts}")
        found = search.search(self._seeds, self._heard, keep_going=keep_going)
        if not found:
            return self._nothing()
        reasons = [(seed, kind_of(point, search.case(seed)), point.reason) for seed, point in found]
        points = dict(found)
        causes = grouped(reasons, scenario.hosts)
        files = []
        for cause in causes:
            seed = min(cause.seeds, key=lambda one: (len(search.case(one).faults), one))
            again = f", as with {count(len(cause.seeds) - 1, 'seed')} more" if len(cause.seeds) > 1 else ""
            head = click.style("violation", fg="red", bold=True)
            click.echo(f"{head} with seed {seed} ({cause.kind}){again}: {points[seed].reason}")
            files.append(self._smallest(seed, points[seed]))
        if keep_going:
            click.echo(
                f"{count(len(found), 'violation')} of {count(len(causes), 'cause')} in "
                f"{count(self._played, 'schedule')}, {self._reached()}"
            )
        if self._as_json:
            first = files[0]
            told_of = [
                {"kind": cause.kind, "what": cause.what, "seeds": list(cause.seeds), "file": file["file"]}
                for cause, file in zip(causes, files, strict=True)
            ]
            click.echo(json.dumps(self._summary() | {"found": True} | first | {"causes": told_of}))
        return 1

    def _heard(self, seed: int, point: Point) -> None:
        self._played += 1
        self._virtual += point.duration
        if self._played % max(1, len(self._seeds) // 10) == 0:
            click.echo(f"  {self._played} of {count(len(self._seeds), 'schedule')}", err=True)

    def _reached(self) -> str:
        return f"{len(self._search.corpus.reached):,} states and branches reached"

    def _summary(self) -> dict[str, Any]:
        return {
            "schedules": self._played,
            "virtual_s": round(self._virtual / UNITS["s"]),
            "wall_s": round(time.monotonic() - self._begun, 1),
            "reached": len(self._search.corpus.reached),
        }

    def _nothing(self) -> int:
        verdict = "interrupted" if self._interrupt else "nothing found"
        minutes = self._virtual / UNITS["s"] / 60
        took = time.monotonic() - self._begun
        click.echo(
            f"{verdict}: {count(self._played, 'schedule')}, {minutes:.0f} virtual minutes, in {took:.0f} s; "
            f"{self._reached()}"
        )
        if self._as_json:
            click.echo(json.dumps(self._summary() | {"found": False, "interrupted": bool(self._interrupt)}))
        return 3 if self._interrupt else 0

    def _smallest(self, seed: int, point: Point) -> dict[str, Any]:
        """Shrink the violation, write it to a file, and print how to replay it."""
        shown = ""

        def smaller(case: Case, runs: int) -> None:
            nonlocal shown
            if case.size != shown:
                shown = case.size
                click.echo(f"  after {count(runs, 'run')}: {shown}", err=True)

        found = self._search.shrink(seed, point, runs=_MOST_SHRINKING, told=smaller)
        command = f"{lab_command()} run"
        path = write_case(found, self._search.scenario, self._folder, command)
        click.echo(f"smallest: {found.case.size}: {found.reason}")
        for step in found.case.timeline():
            click.echo(f"  - {json.dumps(step)}")
        click.echo(f"written: {path}")
        click.echo(f"again:   {command} {shlex.quote(str(path))} --backend sim --seed {found.case.seed}")
        small = {"seed": seed, "reason": found.reason, "kind": found.kind, "file": str(path)}
        return small | {"faults": len(found.case.faults), "shrink_runs": found.runs}

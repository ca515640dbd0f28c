"""`lab explore`: search, shrink, and what a person sees of it. Owns the wording and the exit codes."""

import json
import shlex
import time
from pathlib import Path

import click

from lab.cli.command import lab_command
from lab.cli.option_values import duration
from lab.cli.sweep import USAGE
from lab.errors import LabError
from lab.explore.case import Case
from lab.explore.search import Search, kind_of, write_case
from lab.kinds.backends import is_virtual, virtual_backends
from lab.scenario.load import ScenarioError
from lab.scenario.values import UNITS
from lab.sweep.grid import parse_seeds
from lab.sweep.measure import Point
from lab.sweep.pools import Processes, cores
from lab.sweep.run import Interrupt
from lab.words import count

_MOST_SHRINKING = 400
"""Runs spent on making a violation small."""


def explore(
    path: Path,
    *,
    seeds: str,
    backend: str,
    faults: int,
    deadline: str,
    out: Path | None,
    jobs: int | None,
    as_json: bool,
) -> int:
    """Look for a violation; returns 0 when there is none, 1 with one, 2 for bad input, 3 when interrupted."""
    try:
        wanted = parse_seeds(seeds)
        if not is_virtual(backend):
            able = ", ".join(virtual_backends())
            raise LabError(f"--backend {backend}: only runs in virtual time can be searched: {able}")
        within = duration("--deadline", deadline)
        pool = Processes(jobs or cores())
        with Interrupt() as interrupt:
            try:
                search = Search(
                    path, backend, pool, deadline=within, most=faults, stopped=lambda: bool(interrupt)
                )  # fmt: skip
                folder = out if out is not None else Path("reports") / search.scenario.name / "explore"
                return _explore(search, wanted, folder, interrupt, as_json)
            finally:
                pool.close()
    except (ScenarioError, LabError) as error:
        click.echo(str(error), err=True)
        return USAGE


def _explore(search: Search, seeds: tuple[int, ...], folder: Path, interrupt: Interrupt, as_json: bool) -> int:
    scenario = search.scenario
    hosts = count(len(scenario.hosts), "host")
    click.echo(click.style(scenario.name, bold=True) + f"  {count(len(seeds), 'random fault schedule')} on {hosts}")
    begun, played, virtual = time.monotonic(), 0, 0

    def told(seed: int, point: Point) -> None:
        nonlocal played, virtual
        played += 1
        virtual += point.duration
        if played % max(1, len(seeds) // 10) == 0:
            click.echo(f"  {played} of {count(len(seeds), 'schedule')}", err=True)

    hit = search.search(seeds, told)
    took = time.monotonic() - begun
    summary = {"schedules": played, "virtual_s": round(virtual / UNITS["s"]), "wall_s": round(took, 1)}
    if hit is None:
        verdict = "interrupted" if interrupt else "nothing found"
        click.echo(
            f"{verdict}: {count(played, 'schedule')}, {virtual / UNITS['s'] / 60:.0f} virtual minutes, in {took:.0f} s"
        )
        if as_json:
            click.echo(json.dumps(summary | {"found": False, "interrupted": bool(interrupt)}))
        return 3 if interrupt else 0
    seed, point = hit
    click.echo(
        click.style("violation", fg="red", bold=True)
        + f" with seed {seed} ({kind_of(point, search.case(seed))}): {point.reason}"
    )

    shown = ""

    def smaller(case: Case, runs: int) -> None:
        nonlocal shown
        if case.size != shown:
            shown = case.size
            click.echo(f"  after {count(runs, 'run')}: {shown}", err=True)

    found = search.shrink(seed, point, runs=_MOST_SHRINKING, told=smaller)
    command = f"{lab_command()} run"
    path = write_case(found, scenario, folder, command)
    click.echo(f"smallest: {found.case.size}: {found.reason}")
    for step in found.case.timeline():
        click.echo(f"  - {json.dumps(step)}")
    click.echo(f"written: {path}")
    click.echo(f"again:   {command} {shlex.quote(str(path))} --backend sim --seed {found.case.seed}")
    if as_json:
        told_of = {"found": True, "seed": seed, "reason": found.reason, "kind": found.kind, "file": str(path)}
        click.echo(json.dumps(summary | told_of | {"faults": len(found.case.faults), "shrink_runs": found.runs}))
    return 1

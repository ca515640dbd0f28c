"""`lab validate`, `check`, `report`, `doctor`: they read, judge and draw; they start no lab."""

import json
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from lab.errors import LabError
from lab.records.store import EXIT_CODES, HISTORY, INDEX, find_run
from lab.records.unreadable import understood
from lab.words import count
from overlay.clean import clean

if TYPE_CHECKING:
    from lab.fabric.features import Feature
    from lab.scenario.load import Reading

USAGE = 2
_FEW = 8
"""Hosts with an overlay for which most scenarios that come with the lab have enough."""


def check_files(paths: Sequence[Path], *, backend: str, seed: int | None, as_json: bool) -> int:
    """Print the errors in scenario files, and what the backend would refuse; with `as_json` print them resolved."""
    from lab.kinds.backends import backend as find_backend
    from lab.scenario.load import ScenarioError, read

    chosen = find_backend(backend)
    code = 0
    for path in paths:
        try:
            found = read(path, seed)
        except ScenarioError as error:
            click.echo(str(error), err=True)
            code = USAGE
            continue
        scenario, wrong = found.resolved, bool(found.problems)
        reasons = chosen.refuse(scenario) if scenario is not None else []
        if as_json and scenario is not None and not wrong:
            click.echo(json.dumps(scenario.to_json() | {"refused": {backend: reasons}}))
        tell(found, backend, reasons)
        if wrong or reasons or scenario is None:
            code = USAGE
        elif not as_json:
            has: dict[str, Sized] = {"host": scenario.hosts, "service": scenario.services, "step": scenario.timeline}
            click.echo(f"{path}: valid: {', '.join(count(len(items), noun) for noun, items in has.items())}")
    return code


def tell(found: "Reading", backend: str, reasons: Sequence[str]) -> None:
    """Print all messages about a file, each with its place: errors, refusals of the backend, notes."""
    for problem in found.problems:
        click.echo(found.told(problem), err=True)
    for reason in reasons:
        click.echo(found.told(found.refused(reason), f"{backend} refuses: "), err=True)
    for note in found.notes:
        click.echo(found.told(note, "note: "), err=True)


def check_run(where: str, *, as_json: bool) -> int:
    """Judge a stored history again."""
    from lab.checkers import check
    from lab.records.history import read

    path = find_run(where) / HISTORY
    with understood(path):
        verdict = check(read(path))
    if as_json:
        click.echo(msgspec.json.encode(verdict).decode())
    else:
        for result in verdict.results:
            click.echo(clean(f"{result.verdict:8} {result.checker}: {result.summary}"))
        click.echo(verdict.verdict)
    return EXIT_CODES[verdict.verdict]


def formats_of(text: str) -> list[str]:
    """The formats of pictures in `--format`; raises `click.UsageError`."""
    from lab.figures import FORMATS

    wanted = list(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise click.UsageError(clean(f"no such format: {', '.join(unknown)}; there are {', '.join(FORMATS)}"))
    return wanted


def make_report(where: str, formats: str = "", style: str = "screen") -> int:
    """Write the report of a stored history again, with pictures in these formats (comma-separated names)."""
    from lab.cli.progress import ProgressPrinter
    from lab.report import write_report

    wanted = formats_of(formats)
    if not wanted and style != "screen":
        raise click.UsageError(f"--style {style}: expected --format too, as --format pdf: the page has its own style")
    run_dir = find_run(where)
    teller = ProgressPrinter()
    doing = teller.report(run_dir / HISTORY)
    with understood(run_dir / HISTORY):
        summary = write_report(run_dir, formats=wanted, style=style, doing=doing)
    doing("")
    click.echo(f"{summary['verdict']}: {run_dir / INDEX}")
    return 0


_PLAINEST = "version: 1\nunderlay: {hosts: {a: {}, b: {}}}\ntimeline: [{wait: 1s}]\n"


def _backends() -> "list[Feature]":
    """The backends that need more than kernel features: whether each reports that it can have two hosts here."""
    from lab.fabric.features import Feature
    from lab.kinds.backends import BACKENDS
    from lab.scenario.load import parse
    from lab.scenario.resolve import resolve

    scenario = resolve(parse(_PLAINEST))
    found = []
    for kind in BACKENDS:
        if not kind.serves:
            continue
        try:
            reasons = kind.make().refuse(scenario)
        except LabError as error:
            reasons = [str(error)]
        found.append(
            Feature(
                name=f"--backend {kind.name}",
                serves=kind.serves,
                required=False,
                found=not reasons,
                remedy="\n    ".join(reasons),
            )
        )
    return found


def _room() -> "Feature":
    """How large labs of namespaces may be now."""
    from lab.backends.netns.room import capacity, machine_room
    from lab.fabric.features import Feature

    room = machine_room()
    bare, whole = capacity(room, daemons=False), capacity(room, daemons=True)
    detail = f"about {bare:,} hosts of a network, or {whole:,} with an overlay and a container each"
    return Feature(
        name="room",
        serves="hosts at the same time",
        required=False,
        found=whole >= _FEW,
        detail=detail,
        remedy="" if whole >= _FEW else "end programs that take memory, or raise this user's limits (`ulimit -a`)",
    )


def examine(*, as_json: bool) -> int:
    """Test every feature that a lab may need; returns 1 when a required one is missing."""
    from lab.cli.compiled import feature as compiled
    from lab.cli.compiled import tunnel_features
    from lab.fabric import features

    found = [*features.detect(), _room(), *_backends(), compiled(), *tunnel_features()]
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    for feature in found if not as_json else ():
        mark = (
            click.style("✓", fg="green")
            if feature.found
            else click.style("✗", fg="red" if feature.required else "yellow")
        )
        click.echo(f"{mark} {feature.name}: {feature.serves}" + (f" ({feature.detail})" if feature.detail else ""))
        if not feature.found and feature.remedy:
            click.echo(f"    {feature.remedy}")
    return int(any(feature.required and not feature.found for feature in found))

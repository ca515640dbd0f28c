"""The page of a sweep: one self-contained HTML file next to its table, in the style of a run's report.

Owns the layout of the page, and the drawn files in a sweep's directory. Numbers come from `lab.sweep.groups` and
`lab.sweep.statistics`, pictures from `lab.sweep.figures`.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import lab.report
from lab.figures import FORMATS
from lab.plots.style import DrawnFigure
from lab.records.store import EXIT_CODES, INDEX, replace_file
from lab.sweep.figures import figures
from lab.sweep.groups import (
    TRAFFIC,
    Group,
    floor_of,
    grouped,
    headline,
    metrics_of,
    principal,
    sample_of,
    settling,
    short,
    waited,
)
from lab.sweep.run import SweepResults
from lab.sweep.statistics import CensoredSample, Estimate, median
from lab.sweep.table import write_tables
from lab.words import count, span, were
from overlay.clean import LINES, clean_tree

__all__ = ["exit_code", "verdict_of", "write"]

_MOST_FAILED = 20
_PERCENTILES_FROM = 20
"""With fewer runs the 95th percentile is the slowest run."""


def write(folder: Path, swept: SweepResults, formats: Sequence[str] = (), style: str = "screen") -> Path:
    """Write table, figures and page of a sweep; returns the page's path.

    `formats` are further formats of the figures besides the page's own pictures (png, always for the screen); `style`
    is theirs, one of `lab.figures.STYLES`.
    """
    groups = grouped(swept.points)
    tables = write_tables(folder, swept.points)
    drawn = figures(groups)
    for old in folder.glob("*.png"):
        for form in (*FORMATS, "csv"):
            old.with_suffix(f".{form}").unlink(missing_ok=True)
    for figure in drawn:
        replace_file(folder / f"{figure.name}.png", figure.pictures["png"])
        replace_file(folder / f"{figure.name}.csv", figure.csv.encode())
    for figure in figures(groups, formats, style) if formats else ():
        for form, picture in figure.pictures.items():
            if (form, style) != ("png", "screen"):
                replace_file(folder / f"{figure.name}{'-paper' if form == 'png' else ''}.{form}", picture)
    page = folder / INDEX
    replace_file(page, render(swept, groups, drawn, tables).encode())
    return page


def verdict_of(swept: SweepResults) -> str:
    """`invalid` when any run was; else `unknown` when one is missing or was; else `valid`."""
    verdicts = {point.verdict for point in swept.points}
    if "invalid" in verdicts:
        return "invalid"
    return "valid" if swept.complete and not swept.interrupted and verdicts == {"valid"} else "unknown"


def exit_code(swept: SweepResults) -> int:
    """Exit code of the command: 0 all valid, 1 some invalid, 3 unknown or interrupted."""
    return 3 if swept.interrupted else EXIT_CODES[verdict_of(swept)]


def render(swept: SweepResults, groups: list[Group], drawn: list[DrawnFigure], tables: list[Path]) -> str:
    """Render the page."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, *map(Path, lab.report.__path__)]),
        autoescape=True,
        finalize=partial(clean_tree, keep=LINES),  # words of scenarios, containers and peers
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    about = swept.about
    bad = [point for point in swept.points if point.verdict != "valid"]
    events = settling(groups)
    parameters = list(dict.fromkeys(path for group in groups for path, _ in group.assignment))
    return environment.get_template("sweep.html.j2").render(
        about=about,
        verdict=verdict_of(swept),
        headline={"valid": "Valid", "invalid": "Invalid", "unknown": "Unknown"}[verdict_of(swept)],
        verdict_text=_verdict_text(swept),
        tiles=_tiles(swept, groups, events),
        bad=bad[:_MOST_FAILED],
        more_bad=len(bad) - _MOST_FAILED,
        settings=[(setting.path, ", ".join(setting.values)) for setting in about.settings],
        seeds=_seeds(about.seeds),
        tables=[path.name for path in tables],
        figures=[
            {
                "name": figure.name,
                "title": figure.title,
                "caption": figure.caption,
                "data": b64encode(figure.pictures["png"]).decode(),
            }
            for figure in drawn
        ],
        rows=[_row(group, event) for event in events for group in groups if _has(group, event)],
        parameters=[(path, short(path)) for path in parameters],
    )


def _verdict_text(swept: SweepResults) -> str:
    done = [point for point in swept.points if not point.failed]
    wrong = sum(point.verdict == "invalid" for point in done)
    unknown = sum(point.verdict == "unknown" for point in swept.points)
    missing = swept.planned - len(swept.points)
    parts = [f"{wrong} of {count(len(done), 'run')} did not do what the scenario expects."] if wrong else []
    parts += [f"{unknown} could not be judged."] if unknown else []
    parts += [f"{missing} of {count(swept.planned, 'run')} {were(missing)} not played yet."] if missing else []
    each = f"in each of {len(done)} runs" if len(done) > 1 else "in the one run"
    return " ".join(parts) or f"Everything that was expected came true {each}."


def _tiles(swept: SweepResults, groups: list[Group], events: list[str]) -> list[dict[str, str]]:
    done = [point for point in swept.points if not point.failed]
    valid = sum(point.verdict == "valid" for point in done)
    tiles = [
        {
            "value": f"{valid} of {swept.planned}",
            "label": "run is valid" if swept.planned == 1 else "runs are valid",
            "note": _how_many(swept, groups),
        }
    ]
    event = headline(events)
    metric = principal(groups, event)
    floor = floor_of(groups, event, metric)
    samples = [sample for group in groups if len(sample := sample_of(group.points, event, metric))]
    if samples:
        bands = [median(sample) for sample in samples]
        low, high = min(band.value for band in bands), max(band.value for band in bands)
        slowest = f"with the slowest setting; {_time(low, floor)} with the fastest"
        interval = _interval(bands[0])
        note = slowest if len(bands) > 1 else f"95 % interval {interval}" if interval else "one run: no interval"
        most = max(map(len, samples))
        until = "half of the pairs are right" if metric == "half" else "all has settled"
        label = f"{'median ' if most > 1 else ''}from {event} until {until}"
        tiles.append({"value": _time(high, floor), "label": label, "note": note})
        worst = max(_percentile(sample, 0.95) for sample in samples)
        # With fewer than twenty runs the 95th percentile is the slowest run, and is labelled so.
        label = f"95th percentile after {event}" if most >= _PERCENTILES_FROM else f"slowest run after {event}"
        note = "with the worst setting" if len(samples) > 1 and most >= _PERCENTILES_FROM else ""
        if most > 1 or len(samples) > 1:
            tiles.append({"value": _time(worst, floor), "label": label, "note": note})
    talk = [band.value for group in groups if len(one := sample_of(group.points, event, TRAFFIC[0]))
            for band in [median(one)]]  # fmt: skip
    if talk:
        note = f"{_bytes(min(talk))} with the quietest setting" if len(talk) > 1 else ""
        tiles.append({"value": _bytes(max(talk)), "label": f"sent per peer after {event}", "note": note})
    length, wall = sum(point.duration for point in done), sum(point.wall for point in done)
    if wall:
        note = f"{length / 1e9 / wall:,.0f} times as fast as real time".replace(",", " ") if length > 5e9 * wall else ""
        tiles.append({"value": _long(length / 1e9), "label": "of networks' time played", "note": note})
    return tiles


def _how_many(swept: SweepResults, groups: list[Group]) -> str:
    seeds = len(swept.about.seeds)
    return f"{len(groups)} settings × {count(seeds, 'seed')}" if len(groups) > 1 else count(seeds, "seed")


def _has(group: Group, event: str) -> bool:
    return any(len(sample_of(group.points, event, metric)) for metric in ("half", "overall", *TRAFFIC))


def _row(group: Group, event: str) -> dict[str, Any]:
    metric = principal([group], event)
    overall = sample_of(group.points, event, metric)
    floor = floor_of([group], event, metric)
    counted = {metric: sample_of(group.points, event, metric) for metric in TRAFFIC}
    parts = {
        part: _time(median(sample).value, floor_of([group], event, part))
        for part in metrics_of([group], event)[1:]
        if len(sample := sample_of(group.points, event, part))
    }
    return {
        "event": event,
        "values": dict(group.assignment),
        "runs": len(overall),
        "median": _time(median(overall).value, floor) if len(overall) else "",
        "interval": _interval(median(overall)) if len(overall) else "",
        "floor": _time(floor) if floor else "",
        "p95": _time(_percentile(overall, 0.95), floor) if len(overall) else "",
        "open": f"{overall.censored} waited for" if overall.censored and waited([group], event) else overall.censored,
        "parts": ", ".join(f"{part} {value}" for part, value in parts.items()),
        "bytes": _bytes(median(counted[TRAFFIC[0]]).value) if len(counted[TRAFFIC[0]]) else "",
        "messages": f"{median(counted[TRAFFIC[1]]).value:,.0f}" if len(counted[TRAFFIC[1]]) else "",
    }


def _percentile(sample: CensoredSample, part: float) -> float:
    """Nearest rank; values that were not reached sort last."""
    values = np.sort(np.where(sample.reached, sample.values, np.inf))
    return float(values[max(0, int(np.ceil(part * len(values))) - 1)])


def _time(seconds: float, floor: float = 0.0) -> str:
    """A time; one below the interval of its probes is shown as an upper bound."""
    if seconds < floor:
        return f"≤ {_time(floor)}"
    return "not reached" if not np.isfinite(seconds) else span(round(seconds * 1e9))


def _interval(band: Estimate) -> str:
    """The confidence interval; empty where there is none: one run, or a bound that cannot be computed."""
    return f"{_time(band.low)} to {_time(band.high)}" if np.isfinite(band.low) else ""


def _bytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB" if value >= 1e3 else f"{value:.0f} B"


def _long(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 7200
        else f"{seconds / 60:.0f} min"
        if seconds >= 120
        else f"{seconds:.0f} s"
    )


def _seeds(seeds: tuple[int, ...]) -> str:
    if len(seeds) > 1 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:20])) + (f" … ({len(seeds)} in all)" if len(seeds) > 20 else "")

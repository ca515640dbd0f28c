"""The HTML page of a run: one file that contains its data, style and program. Pure except for reading its parts.

Owns the static text of the page, and the frame around what the program draws (`lab/report/web`). The numbers come from
`lab.report.summary`, the data of figures from `lab.report.feed`. `render_live` is the same page without stored data:
its records arrive while it is open.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from lab.checkers import RecordedRun
from lab.checkers.convergence import METRICS
from lab.checkers.floors import bounded
from lab.checkers.run import PlayedStep
from lab.checkers.world import HEAL
from lab.kinds.probes import ordered_probes, title_of
from lab.kinds.verbs import verb_of
from lab.records.captures import CAPTURES, StoredCapture
from lab.report.columns import columns
from lab.report.embed import bundle, in_script
from lab.report.feed import Feed, fed
from lab.words import count, span, were
from overlay.clean import LINES, clean_tree

__all__ = ["data_of", "render", "render_live"]

_HEADLINES = {
    "valid": ("Valid", "Everything that was expected came true."),
    "invalid": ("Invalid", "Something that was expected did not come true."),
    "unknown": ("Unknown", "The run does not allow a verdict."),
}
_SAMPLES_SHOWN = 12
_BUSY_SHARE = 0.2
"""Share of the run without idle processor time above which the page warns."""
_MACHINE = {"cores": "Cores", "kernel": "Kernel", "python": "Python", "cpu": "Processor"}


def render(
    run: RecordedRun,
    summary: dict[str, Any],
    tables: Sequence[str] = (),
    made: Mapping[str, Any] | None = None,
    captures: Sequence[StoredCapture] = (),
) -> str:
    """The page of a stored run; `tables` are the names of its figures that also have a table, `made` is its provenance,
    `captures` are its packet capture files."""
    data, notes = data_of(run, tables)
    return _template("page.html.j2").render(
        summary=summary,
        verdict=summary["verdict"],
        headline=_HEADLINES[summary["verdict"]][0],
        verdict_text=_verdict_text(summary),
        notes=_notes(run, summary) + notes,
        tiles=_tiles(run, summary),
        steps=[_step(run, step) for step in run.steps],
        bands=[
            {
                "left": _percent(run, band.start),
                "width": _percent(run, band.end) - _percent(run, band.start),
                "colour": band.colour,
            }
            for band in run.bands
        ],
        data=in_script(data) if run.meta is not None else "",
        bundle=bundle(),
        metrics=[metric for metric in METRICS if any(metric in row for row in summary["convergence"])],
        floor=max((floor for row in summary["convergence"] for floor in row["floor"].values()), default=0),
        slowest=max(
            (row[metric] or 0 for row in summary["convergence"] for metric in METRICS if metric in row), default=0
        ),
        environment=_environment(run, summary, made or {}),
        samples_shown=_SAMPLES_SHOWN,
        captures=[
            {"link": quote(f"{CAPTURES}/{one.name}"), "name": one.name, "size": f"{one.bytes / 1e6:,.1f} MB"}
            for one in captures
        ],
    )


def render_live(title: str) -> str:
    """The page of a running lab: its program (`lab/report/web/src/live.js`) receives the records (of
    `lab.report.feed.Feed`) and sends the steps of its user. It may connect only to the server that it came from."""
    return _template("live.html.j2").render(
        title=title,
        data=in_script({"records": [], "series": [], "live": True}),
        bundle=bundle(),
        policy=f"{bundle().policy}; connect-src 'self'",
    )


def data_of(run: RecordedRun, tables: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """(data for the program, notes for the reader). `docs/results.md` says what is left out of it."""
    feed = Feed()
    records = fed(run.records, feed)
    series, notes = columns(run, feed)
    return {"records": records, "series": series, "tables": list(tables)}, notes


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_harmless,  # texts of scenarios, containers and peers
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["span"] = span
    environment.filters["bounded"] = _bounded
    environment.filters["clock"] = lambda t: f"{t / 1e9:.1f} s"
    return environment.get_template(name)


def _harmless(value: Any) -> Any:
    return value if isinstance(value, Markup) else clean_tree(value, keep=LINES)


def _percent(run: RecordedRun, t: int) -> float:
    """Position of a time in the run, 0 to 100."""
    return round(100 * (t - run.start) / max(run.end - run.start, 1), 3)


def _verdict_text(summary: dict[str, Any]) -> str:
    """The reason of the verdict: the first check that has that verdict, or that all is well."""
    if summary["verdict"] == "valid" and summary["expectations"]:
        return _HEADLINES["valid"][1]
    wanted = summary["verdict"]
    reasons = [check["summary"] for check in summary["checks"] if check["verdict"] == wanted]
    if wanted == "valid":
        return "Nothing went wrong; the scenario expects nothing in particular."
    return " ".join(reasons) or _HEADLINES[wanted][1]


def _notes(run: RecordedRun, summary: dict[str, Any]) -> list[str]:
    """Warnings that a reader must know before trusting the numbers."""
    notes: list[str] = []
    if run.meta is None:
        notes.append("The history is empty: nothing is known of this run.")
    elif run.unreached and any(step.ok is False for step in run.steps):
        notes.append(
            f"The run stopped at a failure: {len(run.unreached)} of {count(len(run.scenario['timeline']), 'step')} "
            f"{were(len(run.unreached))} not reached."
        )
    elif not run.complete:
        notes.append(
            f"This run was cut short after {span(run.end - run.start)}. "
            "Everything below is what it had recorded by then."
        )
    if run.meta is not None and run.meta.kept_from:
        notes.append(
            f"The history of a standing lab is bounded: tries before {run.meta.kept_from / 1e9:.0f} s were dropped. "
            "All steps are kept."
        )
    if run.meta is not None and not run.series:
        notes.append("No probe ever ran, so there is nothing to say about reachability, latency or names.")
    if len(run.hosts) == 1:
        notes.append("This lab had one host only: there is no network between hosts to look at.")
    busy = summary["load"]["busy"]
    if busy is not None and busy >= _BUSY_SHARE:
        notes.append(
            f"The machine had no processor time to spare during {100 * busy:.0f} % of the run: "
            "times are longer than they would be on an idle one."
        )
    return notes


def _tiles(run: RecordedRun, summary: dict[str, Any]) -> list[dict[str, str]]:
    """The key numbers of a run: {value, label, note}."""
    tiles: list[dict[str, str]] = []
    expectations = summary["expectations"]
    if expectations:
        met = sum(bool(expectation["ok"]) for expectation in expectations)
        of, noun = count(len(expectations), "expectation").split()
        tiles.append({"value": f"{met} of {of}", "label": f"{noun} met", "note": ""})
    heals = [row for row in summary["convergence"] if row["label"] == HEAL]
    others = [row for row in summary["convergence"] if row["overall"] is not None]
    if heals:
        row = max(heals, key=lambda row: float("inf") if row["overall"] is None else row["overall"])
        note = f"half of the pairs {_bounded(row, 'half')}" if row["half"] is not None else ""
        label = "from the heal to full agreement" if len(heals) == 1 else "to full agreement after the slowest heal"
        tiles.append({"value": _bounded(row, "overall"), "label": label, "note": note})
    elif others:
        row = max(others, key=lambda row: row["overall"])
        tiles.append({"value": _bounded(row, "overall"), "label": "slowest change that settled", "note": row["label"]})
    outage = summary["longest_outage"]
    if outage:
        ended = "" if outage["ended"] else ", to the end"
        note = f"{outage['series']}{ended}"
        tiles.append({"value": span(outage["lasted"]), "label": "longest outage of a pair", "note": note})
    if summary["dns_staleness"] is not None:
        label = "from a change to the last stale DNS answer"
        tiles.append({"value": span(summary["dns_staleness"]), "label": label, "note": ""})
    samples = summary["samples"]
    for kind in ordered_probes(samples):
        if samples[kind]["p50"] is not None:
            numbers = samples[kind]
            note = f"p95 {span(numbers['p95'])}, p99 {span(numbers['p99'])}"
            tiles.append({"value": span(numbers["p50"]), "label": f"median {title_of(kind)} answer", "note": note})
            break
    tries = sum(numbers["tries"] - numbers["late"] for numbers in samples.values())
    if tries:
        good = sum(numbers["ok"] for numbers in samples.values())
        label, note = "try" if tries == 1 else "tries", f"{1000 * good // tries / 10:.1f} % answered"
        tiles.append({"value": f"{tries:,}".replace(",", " "), "label": label, "note": note})
    if len(tiles) < 3:
        tiles.append({"value": span(run.end - run.start), "label": "length of the run", "note": ""})
    return tiles


def _bounded(row: dict[str, Any], metric: str) -> str:
    """A settling time of a change, with its bounds."""
    return bounded(row[metric], row["after"].get(metric), row["floor"].get(metric, 0))


def _step(run: RecordedRun, step: PlayedStep) -> dict[str, Any]:
    lasting = verb_of(step.what).lasts
    took = None if step.end is None or step.end == step.start else step.end - step.start
    text = str(step.detail.get("expect") or step.label)
    if verb_of(step.what).asks and not text.startswith(step.what):
        text = f"{step.what} {text}"
    interrupted = step.end is None and not run.complete and not lasting
    mark, tone = ("✓", "good") if step.ok else ("✗", "bad") if step.ok is False else ("•", "plain")
    if interrupted:
        mark, tone = "…", "plain"
    left = _percent(run, step.start)
    return {
        "t": step.start,
        "number": step.number + 1 if step.number >= 0 else None,
        "what": step.what,
        "text": text,
        "mark": mark,
        "tone": tone,
        # The end of a fault includes the start time of what it brings back.
        "took": step.detail["took"] if isinstance(step.detail.get("took"), int) and not lasting else took,
        "lasting": lasting,
        "open": step.end is None,
        "error": str(step.detail.get("error") or ""),
        "left": left,
        "width": max(_percent(run, run.end if step.end is None and lasting else step.end or step.start) - left, 0.6),
    }


def _environment(run: RecordedRun, summary: dict[str, Any], made: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("Backend", summary["backend"]),
        ("Overlay", summary["overlay"]),
        ("Hosts", str(len(run.hosts))),
        ("Seed", str(summary["seed"])),
        *(
            [("Pace", f"all times {pace} times as long as in the file")]
            if (pace := run.scenario.get("pace", 1)) != 1
            else ()
        ),
        ("Version", summary["version"]),
        ("Code", _code(made)),
        ("Started", summary["started"]),
        ("Length of the run", span(summary["duration"])),
    ]
    machine = run.meta.machine if run.meta else {}
    for key, value in machine.items():
        if isinstance(value, dict):
            rows += [(str(name), str(item)) for name, item in value.items()]
        elif key == "memory" and isinstance(value, int):
            rows.append(("Memory", f"{value / 2**30:.1f} GiB"))
        else:
            rows.append((_MACHINE.get(key, str(key)), str(value)))
    load = summary["load"]
    if load["mean"] is not None:
        rows.append(
            (
                "Processor use during the run",
                f"{100 * load['mean']:.0f} % on average, {100 * load['max']:.0f} % at most",
            )
        )
    return [(name, value) for name, value in rows if value]


def _code(made: Mapping[str, Any]) -> str:
    """The commit of the code, or the digest of the code; empty if neither is recorded."""
    code = made.get("code")
    if not isinstance(code, dict):
        return ""
    commit = str(code.get("commit") or "")[:12]
    changed = " with changes" if code.get("dirty") else ""
    return f"{commit}{changed}, digest {code.get('digest')}" if commit else f"digest {code.get('digest')}"

"""`lab artifact`: writes the artifact of an experiment, and replays one. Owns progress output and exit codes.

0: everything that was run is reproduced; 1: something is not; 3: nothing was run.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from lab.artifact.check import Replay, check, chosen
from lab.artifact.claims import CLAIMS, Artifact, read_claims
from lab.cli import table
from lab.errors import LabError
from lab.words import count
from overlay.clean import clean

__all__ = ["check_artifact", "write_artifact"]

_COLOURS = {"reproduced": "green", "not reproduced": "red", "not run": "yellow"}


def write_artifact(path: Path, *, runs: Path | None, out: Path | None, authors: Sequence[str], as_json: bool) -> int:
    """Write an artifact from an experiment file (with finished runs), or from a description of benchmarks."""
    from lab.artifact import sources
    from lab.artifact.write import write
    from lab.cli.experiment import folder_of
    from lab.experiment.description import read_experiment

    if sources.is_description(path):
        artifact = sources.of_benchmarks(path)
        folder = out or Path("reports") / "artifacts" / artifact.name
        results = path.parent / sources.read_description(path).results
        files = write(folder, artifact, experiment=None, results=results, authors=tuple(authors))
    else:
        place = folder_of(read_experiment(path), runs)
        artifact, file, _ = sources.of_experiment(path, place)
        folder = out or Path("reports") / "artifacts" / artifact.name
        files = write(folder, artifact, experiment=(file, place), results=None, authors=tuple(authors))
    claims = sum(len(group.claims) for group in artifact.groups)
    if as_json:
        click.echo(json.dumps({"out": str(folder), "claims": claims, "files": files}))
    else:
        click.echo(f"{count(claims, 'claim')} in {count(len(artifact.groups), 'command')}")
        click.echo(f"-> {folder}\ncheck: lab artifact check {folder}")
    return 0


def check_artifact(path: Path, *, names: Sequence[str], everything: bool, as_json: bool) -> int:
    """Replay the artifact in a folder, or a description of benchmarks."""
    artifact = _artifact(path)
    run = chosen(artifact, names, everything)
    if not as_json:
        click.echo(click.style(clean(artifact.name), bold=True) + f"  {clean(artifact.title)}")
    found: list[Replay] = []

    def doing(group: object) -> None:
        click.echo(f"  {getattr(group, 'id', '')}: {' '.join(getattr(group, 'command', ()))}", err=True)

    for replay in check(artifact, path if path.is_dir() else path.parent, run, doing=doing):
        found.append(replay)
        if not as_json:
            _tell(replay)
    verdicts = [one.verdict for replay in found for one in replay.checked]
    if as_json:
        click.echo(json.dumps(_plain(artifact, found)))
    else:
        parts = [f"{verdicts.count(word)} {word}" for word in _COLOURS if word in verdicts]
        click.echo(f"\n{count(len(verdicts), 'claim')}: {', '.join(parts)}")
    if "not reproduced" in verdicts:
        return 1
    return 0 if "reproduced" in verdicts else 3


def _artifact(path: Path) -> Artifact:
    if path.is_dir():
        return read_claims(path / CLAIMS)
    from lab.artifact.sources import is_description, of_benchmarks

    if path.is_file() and is_description(path):
        return of_benchmarks(path)
    raise LabError(f"{path}: expected a folder that `lab artifact` wrote, or a description of benchmarks")


def _tell(replay: Replay) -> None:
    group = replay.group
    click.echo(f"\n{click.style(clean(group.id), bold=True)}  {clean(group.title)}")
    if all(one.verdict == "not run" for one in replay.checked):
        why = replay.checked[0].found if replay.checked else ""
        click.echo(f"  {click.style('not run', fg='yellow')}: {count(len(replay.checked), 'claim')}: {clean(why)}")
        return
    click.echo(f"  took {replay.seconds / 60:.1f} minutes and {replay.memory_mb:,.0f} MB "
               f"(claimed: {group.minutes:g} minutes, {group.memory_mb:g} MB)")  # fmt: skip
    rows = []
    for one in replay.checked:
        claim = one.claim
        claimed = claim.equals or f"{claim.value:.4g} {claim.unit}".strip()
        between = "equal" if claim.equals else f"{claim.low:.4g} to {claim.high:.4g}"
        rows.append([clean(claim.text), clean(claimed), between, clean(one.found), one.verdict])
    styles = ["" if one.verdict == "reproduced" else "bold" for one in replay.checked]
    table.show(("claim", "claimed", "tolerance", "found", ""), rows, right=("claimed", "found"), styles=styles)


def _plain(artifact: Artifact, found: Sequence[Replay]) -> dict[str, object]:
    return {
        "artifact": artifact.name,
        "groups": [
            {"id": replay.group.id, "seconds": round(replay.seconds, 1), "memory_mb": round(replay.memory_mb),
             "claims": [{"id": one.claim.id, "text": one.claim.text, "verdict": one.verdict, "found": one.found}
                        for one in replay.checked]}
            for replay in found
        ],
    }  # fmt: skip

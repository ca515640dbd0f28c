"""Sources of claims: an experiment that was run, or a description of the project's benchmarks.

Owns which numbers are claims, and their tolerances. Tolerances are stored with the claims, never chosen at the replay.
"""

import csv
import io
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from lab.artifact.claims import Artifact, ArtifactClaim, ClaimGroup, rows_of
from lab.errors import LabError
from lab.experiment.description import ExperimentFile, FilePart, read_experiment
from lab.experiment.paper import estimates, hypotheses_table
from lab.experiment.results import Results, results_of
from lab.experiment.run import state_of
from lab.records.provenance import code_facts, read_provenance
from lab.scenario.load import ScenarioError, text_of
from lab.scenario.yaml import bare, read_yaml

__all__ = ["Description", "is_description", "of_benchmarks", "of_experiment", "read_description"]

EXPERIMENT = "data/experiment.yaml"
_NO_MEMORY = 500.0
"""Megabytes assumed for a small simulated experiment whose run did not record its memory."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class Benchmark(FilePart):
    """One benchmark: its file of rows is what is claimed."""

    minutes: Annotated[float, Field(gt=0, le=10_000)]
    memory_mb: Annotated[float, Field(gt=0, le=1_000_000)]
    needs: tuple[Literal["packets", "docker", "root", "network", "compiler", "checkout"], ...] = ()
    factor: Annotated[float, Field(gt=1, le=100)] = 2.0
    """Times, rates and sizes agree within this factor: machines differ."""
    ratio: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Ratios of two candidates of one run agree within this difference, on any machine."""
    absolute: Annotated[float, Field(ge=0)] = 0.0
    """Added to both limits, for numbers near zero."""


class Description(FilePart):
    """`artifact/performance.yaml`."""

    artifact: Literal[1]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    title: Text
    results: Text
    """The folder of the benchmarks' files, next to the description."""
    benchmarks: dict[str, Benchmark]


def is_description(path: Path) -> bool:
    """Whether a file describes an artifact of benchmarks, not an experiment."""
    try:
        plain = read_yaml(text_of(path)).plain
    except ScenarioError:
        return False
    return isinstance(plain, dict) and "artifact" in plain


def read_description(path: Path) -> Description:
    """Read and check the file. Raises `LabError` with a line for each fault."""
    found = read_yaml(text_of(path))
    if found.problems:
        raise LabError("\n".join(f"{path}:{p.line}:{p.column}: {p}" for p in found.problems))
    try:
        return Description.model_validate(bare(found.plain))
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, each['loc']))}: found {str(each['input'])[:60]!r}: {each['msg']}"
                 for each in error.errors()]  # fmt: skip
        raise LabError("\n".join(lines)) from None


def of_benchmarks(path: Path) -> Artifact:
    """The claims of every row of every benchmark that has a file. A benchmark without a description counts as long, and
    as one that needs packets. Raises `LabError` if there is no file at all."""
    described = read_description(path)
    folder = path.parent / described.results
    there = sorted(file.stem for file in folder.glob("*.json"))
    if not there:
        raise LabError(f"{path}: found no file of a benchmark in {folder}, expected some: `make bench` makes them")
    usual = Benchmark(minutes=60, memory_mb=2000, needs=("packets",))
    names = [*(name for name in described.benchmarks if name in there),
             *(name for name in there if name not in described.benchmarks)]  # fmt: skip
    groups = [
        _benchmark(name, described.benchmarks.get(name, usual), rows_of(folder / f"{name}.json")) for name in names
    ]
    return Artifact(name=described.name, title=described.title, made_by=code_facts(), groups=tuple(groups))


def _benchmark(name: str, one: Benchmark, rows: list[dict[str, str]]) -> ClaimGroup:
    claims = []
    for number, row in enumerate(rows, 1):
        # A candidate that is compared with several others has a row for each of them.
        where = {key: row.get(key, "") for key in ("name", "metric", "ratio_to")}
        value = float(row["median"])
        text = f"{row['name']}: {row['metric']}"
        low, high = (value / one.factor - one.absolute, value * one.factor + one.absolute) if value else (0.0, 0.0)
        claims.append(ArtifactClaim(id=f"{name}.{number}", text=text, where=where, column="median", value=value,
                            unit=row.get("unit", ""), low=low, high=high))  # fmt: skip
        if row.get("ratio"):
            ratio = float(row["ratio"])
            low, high = ratio - one.ratio, ratio + one.ratio
            claims.append(ArtifactClaim(id=f"{name}.{number}r", text=f"{text}, ratio to {row['ratio_to']}", where=where,
                                column="ratio", value=ratio, low=low, high=high))  # fmt: skip
    return ClaimGroup(
        id=name, title=f"benchmark {name}", command=("python", "-m", "benchmarks", name),
        produces=f"reports/bench/{name}.json", minutes=one.minutes, memory_mb=one.memory_mb, needs=one.needs,
        claims=tuple(claims),
    )  # fmt: skip


def of_experiment(path: Path, folder: Path) -> tuple[Artifact, ExperimentFile, Results]:
    """The claims of an experiment: every estimate and every hypothesis. Raises `LabError` if it has no runs."""
    file = read_experiment(path)
    state = state_of(file, folder)
    if not state.points:
        raise LabError(f"{folder} has no runs of {path} yet: `lab experiment run {path}` makes them")
    results = results_of(state)
    made = read_provenance(folder)
    needs = () if file.experiment.backend == "sim" else ("packets",)
    minutes = max(0.1, sum(point.wall for point in state.points) / 60)
    claims = [*_estimates(results), *_hypotheses(results)]
    group = ClaimGroup(
        id="experiment",
        title=file.question or file.experiment.name,
        command=("lab", "experiment", "run", EXPERIMENT, "--out", "out", "--jobs", "1"),
        produces="out/paper/estimates.csv",
        minutes=round(minutes, 1),
        memory_mb=round(float(made.get("peak_memory_bytes") or 0) / 1e6) or _NO_MEMORY,
        needs=needs,
        claims=tuple(claims),
    )
    name = file.experiment.name
    return Artifact(name=name, title=file.question or name, made_by=code_facts(), groups=(group,)), file, results


def _estimates(results: Results) -> list[ArtifactClaim]:
    found = []
    for number, row in enumerate(_rows(estimates(results)), 1):
        if row["median"] == "":
            continue
        factors = {key: value for key, value in row.items()
                   if key not in ("unit", "runs", "censored", "median", "low", "high")}  # fmt: skip
        value = float(row["median"])
        low, high = (float(row[key]) if row[key] else value for key in ("low", "high"))
        setting = ", ".join(f"{key} {value}" for key, value in factors.items() if key != "outcome")
        text = f"median {row['outcome']}" + (f" with {setting}" if setting else "")
        low, high = min(low, value), max(high, value)
        found.append(ArtifactClaim(id=f"estimate.{number}", text=text, where=factors, column="median", value=value,
                           unit=row["unit"], low=low, high=high))  # fmt: skip
    return found


def _hypotheses(results: Results) -> list[ArtifactClaim]:
    return [
        ArtifactClaim(id=f"hypothesis.{row['hypothesis']}", text=row["claim"], where={"hypothesis": row["hypothesis"]},
              column="judgement", equals=row["judgement"], produces="out/paper/hypotheses.csv")
        for row in _rows(hypotheses_table(results))
    ]  # fmt: skip


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))

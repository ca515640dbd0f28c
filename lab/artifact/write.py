"""The folder of an artifact: claims, README, container recipe, CITATION.cff, RO-Crate, data and code.

Owns the list of files. A folder that contains other files is not changed.
"""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from lab.artifact import texts
from lab.artifact.check import code_folder
from lab.artifact.claims import CLAIMS, Artifact, written
from lab.artifact.sources import EXPERIMENT
from lab.errors import LabError
from lab.experiment.description import ExperimentFile
from lab.experiment.paper import PAPER
from lab.experiment.registration import REGISTERED
from lab.records.provenance import PROVENANCE
from lab.records.store import replace_file
from lab.sweep.table import CSV

__all__ = ["write"]

CODE = "code/overlay-lab.tar.gz"
AUTHORS = ("The authors of overlay-lab",)


def write(folder: Path, artifact: Artifact, *, experiment: tuple[ExperimentFile, Path] | None,
          results: Path | None, authors: tuple[str, ...] = ()) -> list[str]:  # fmt: skip
    """Write everything; returns the names of the files. `experiment`: the file and the folder of its runs; `results`:
    the folder of the benchmarks' files. Raises `LabError` if the folder contains other files."""
    if folder.exists() and any(folder.iterdir()) and not (folder / CLAIMS).is_file():
        raise LabError(f"{folder} holds something else than an artifact: choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    for old in ("data", "code"):
        shutil.rmtree(folder / old, ignore_errors=True)
    if experiment is not None:
        _experiment(folder, *experiment)
    if results is not None:
        shutil.copytree(results, folder / "data" / "bench")
    code = _code(folder)
    date = datetime.now(UTC).date().isoformat()
    names = authors or AUTHORS
    replace_file(folder / CLAIMS, written(artifact))
    replace_file(folder / "README.md", texts.readme(artifact, code).encode())
    replace_file(folder / "CITATION.cff", texts.citation(artifact, date, names).encode())
    if code:
        replace_file(folder / "Containerfile", texts.containerfile(code).encode())
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "ro-crate-metadata.json")
    sizes = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]
    replace_file(folder / "ro-crate-metadata.json", texts.crate(artifact, date, names, sizes).encode())
    return [*(name for name, _ in sizes), "ro-crate-metadata.json"]


def _experiment(folder: Path, file: ExperimentFile, runs: Path) -> None:
    """Write the experiment with its scenario, so that both are self-contained, and its results."""
    from lab.sweep.grid import variant_text

    data = folder / "data"
    data.mkdir(parents=True)
    text = re.sub(r"(?m)^scenario:.*$", "scenario: scenario.yaml", file.text)
    if "\nname:" not in f"\n{text}":
        text = text.rstrip("\n") + f"\nname: {file.experiment.name}\n"
    (folder / EXPERIMENT).write_text(text, encoding="utf-8")
    name = file.scenario.name.partition(".")[0]
    (data / "scenario.yaml").write_text(variant_text(file.scenario_text, (), name, file.scenario.parent), "utf-8")
    for each in (REGISTERED, PROVENANCE, CSV):
        if (runs / each).is_file():
            shutil.copyfile(runs / each, data / each)
    if (runs / PAPER).is_dir():
        shutil.copytree(runs / PAPER, data / PAPER)


def _code(folder: Path) -> str:
    """Archive the sources of the commit; empty for an installed package, whose version the README names."""
    top = code_folder()
    if not (top / ".git").exists() or shutil.which("git") is None:
        return ""
    path = folder / CODE
    path.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["git", "-c", f"safe.directory={top}", "-C", str(top), "archive", "--format=tar.gz", "--prefix=overlay-lab/",
         "-o", str(path.absolute()), "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        path.unlink(missing_ok=True)
        return ""
    return CODE

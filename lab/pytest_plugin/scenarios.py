"""`pytest scenarios/`: each scenario file is a test, named after the question that it answers.

Owns which files are scenarios, the subprocess that plays one (a lab needs namespaces of its own, a test process has
threads; it ends with pytest, whatever ends that) and how its failure is shown.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

_KEYS = tuple(re.compile(rf"""^["']?{key}["']?\s*:""", re.MULTILINE) for key in ("version", "timeline"))
_FLOW = tuple(re.compile(rf"""[{{,]\s*["']?{key}["']?\s*:""") for key in ("version", "timeline"))
"""The same in a file that is one mapping in braces, as JSON is."""
_RESOLVED = re.compile(r'[{,]\s*"replicas"\s*:\s*\[')
"""What `lab validate --json` prints is no scenario file any more."""
_VERDICT, _UNKNOWN = "lab_verdict", 3
REPORTS = "reports"
"""Below pytest's root folder: where runs go."""
_PROPERTIES = ("backend", "seed", "run_dir", "convergence")


class Verdicts:
    """Ends with 3 a session in which nothing failed, but scenarios could not be judged: 1 means that something is
    invalid, here as in `lab run`."""

    def __init__(self) -> None:
        self._unknown = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._unknown += report.failed and (_VERDICT, "unknown") in report.user_properties

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED and session.testsfailed == self._unknown:
            session.exitstatus = _UNKNOWN


def scenario_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    """The collector of a YAML or JSON file that has a version and a timeline; None for any other."""
    if file_path.suffix not in (".yaml", ".yml", ".json") or _written_by_runs(file_path, parent.session):
        return None
    try:
        text = file_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    body = "\n".join(line for line in text.removeprefix("\ufeff").splitlines() if not line.lstrip().startswith("#"))
    if file_path.suffix == ".json" and _RESOLVED.search(body):
        return None
    keys = _FLOW if body.lstrip().startswith("{") else _KEYS
    if not all(key.search(body) for key in keys):
        return None
    file: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
    return file


def _written_by_runs(path: Path, session: pytest.Session) -> bool:
    """Whether a file lies where runs write their own scenarios, and nobody has named it or a folder of it there."""
    reports = session.config.rootpath / REPORTS
    if not path.is_relative_to(reports):
        return False
    within = (path, *(folder for folder in path.parents if folder.is_relative_to(reports)))
    return not any(session.isinitpath(place) for place in within)


class ScenarioFile(pytest.File):
    """One scenario file."""

    def collect(self) -> Iterable["ScenarioItem"]:
        """Its one test; a file that is no valid scenario fails here, with every problem and its place."""
        from lab.scenario.load import ScenarioError, load_resolved

        try:
            scenario = load_resolved(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None
        yield ScenarioItem.from_parent(self, name=(scenario.question or scenario.name).replace("::", ":"))


class ScenarioFailure(Exception):
    """A scenario did not come out valid; the text is what a person needs to know."""


class ScenarioItem(pytest.Item):
    """Plays a scenario by `lab run`."""

    def runtest(self) -> None:
        """Play it; raises `ScenarioFailure` unless it is valid."""
        from lab import child

        option = self.config.option
        command = ["run", str(self.path), "--json"]
        command += ["--backend", option.lab_backend, "--out", str(self.config.rootpath / REPORTS)]
        command += ["--seed", str(option.lab_seed)] if option.lab_seed is not None else []
        command += ["--keep"] if option.lab_keep else []
        process = child.start(command)
        out, err = child.finish(process)
        summary = child.summary_in(out)
        self.add_report_section("call", "lab", out if summary is None else out.rstrip().rpartition("\n")[0])
        verdict = summary["verdict"] if summary is not None else "unknown"
        if verdict == "valid" and process.returncode:
            verdict = "unknown"  # its report could not be written
        self.user_properties.append((_VERDICT, verdict))
        if summary is None:
            raise ScenarioFailure(f"`lab run` ended with {process.returncode}:\n{(err or out).strip()}")
        for name in _PROPERTIES:
            value = summary.get(name)
            self.user_properties.append((name, value if isinstance(value, str | int) else json.dumps(value)))
        if verdict != "valid":
            raise ScenarioFailure(_explain(summary, err))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A failed scenario is explained in its own words, without a traceback through this plugin."""
        if isinstance(excinfo.value, ScenarioFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is and what it asks."""
        return self.path, 0, self.name


def _explain(summary: dict[str, Any], err: str) -> str:
    """The failed expectation, the last samples, the checks that complain, the command that runs it again."""
    from lab.words import sample_line

    lines = [f"{summary['verdict']}: {summary.get('reason') or 'see the checks'}"]
    for expectation in summary.get("expectations") or []:
        if expectation.get("ok"):
            continue
        lines += ["", f"expected  {expectation['text']}"]
        lines += [f"found     {expectation['error']}"] if expectation.get("error") else []
        lines += [f"  {sample_line(sample)}" for sample in expectation.get("samples") or []]
    failed = [check for check in summary.get("checks") or [] if check["verdict"] != "valid"]
    lines += ["", *(f"{check['checker']}: {check['summary']}" for check in failed)] if failed else []
    lines += ["", err.strip()] if err.strip() else []
    return "\n".join([*lines, "", f"run:    {summary['run_dir']}", f"again:  {summary['replay']}"])

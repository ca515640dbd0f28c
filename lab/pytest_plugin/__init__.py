"""The pytest plugin: scenario files as tests (`scenarios.py`), and the fixture `lab` for tests in Python (`live.py`).

Owns the options and hooks. Loaded by every pytest that has this distribution installed, so it imports nothing of the
lab before a scenario is found or the fixture is asked for.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from lab.pytest_plugin.live import lab, told_in
from lab.pytest_plugin.scenarios import ScenarioFile, Verdicts, scenario_file

__all__ = ["lab"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of both."""
    group = parser.getgroup("lab", "scenarios of overlay-lab")
    group.addoption("--lab-backend", default="netns", help="what hosts are made of (default: netns)")
    group.addoption("--lab-seed", type=int, default=None, help="instead of each scenario's own")
    group.addoption(
        "--lab-keep", action="store_true", help="leave the labs of scenario files running (`lab down` ends them)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch what becomes of scenarios."""
    config.pluginmanager.register(Verdicts(), "overlay-lab-verdicts")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """YAML and JSON files that have a version and a timeline are scenarios; others are left alone."""
    return scenario_file(file_path, parent)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test of a live lab names its run."""
    report = yield
    told_in(item, report)
    return report

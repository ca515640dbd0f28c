"""The fixture `lab`: a lab that a test in Python brings up, breaks and asks; it is gone when the test is over.

Owns what a test is told of its lab: the run of a failed one, and what went wrong that the test did not ask about.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from lab.pytest_plugin.scenarios import REPORTS

if TYPE_CHECKING:
    from lab.api.live import LiveLab

__all__ = ["lab", "told_in"]

_LIVE = pytest.StashKey["LiveLab"]()
_FAILED = pytest.StashKey[bool]()
_ASKED = ("steps", "expectations")
"""Checkers whose complaints the test has had as exceptions."""


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> "Iterator[LiveLab]":
    """A lab, not up yet: `lab.up("two.yaml")`, then any verb of a timeline (docs/api.md). `--lab-backend sim` runs it
    in virtual time."""
    from lab.api.live import LiveLab

    option = request.config.option
    live = LiveLab(
        backend=option.lab_backend,
        seed=option.lab_seed,
        out=request.config.rootpath / REPORTS,
        beside=request.path.parent,
    )
    request.node.stash[_LIVE] = live
    with live:
        yield live
    failed = request.node.stash.get(_FAILED, False)
    if live.summary is not None and not failed and (problems := unasked(live.summary)):
        pytest.fail("\n".join([*problems, f"run:    {live.folder}"]), pytrace=False)


def unasked(summary: dict[str, Any]) -> list[str]:
    """What makes a run invalid though no step of the test failed: a crash, an invariant, a complaint of a checker."""
    reason = str(summary.get("reason") or "")
    broken = [reason] if summary["verdict"] == "invalid" and reason and not reason.startswith("step ") else []
    checks = (check for check in summary.get("checks") or () if check["checker"] not in _ASKED)
    return [*broken, *(f"{check['checker']}: {check['summary']}" for check in checks if check["verdict"] == "invalid")]


def told_in(item: pytest.Item, report: pytest.TestReport) -> None:
    """Name the run in the report of a failed test."""
    live = item.stash.get(_LIVE, None)
    if live is None or report.when != "call" or not report.failed:
        return
    item.stash[_FAILED] = True
    if live.folder is not None:
        again = f"\nreplay: lab replay {live.folder}" if live.backend == "sim" else ""
        report.sections.append(("lab", f"run:    {live.folder}\nreport: lab report {live.folder}{again}"))

"""The condition `status`: which claims of an overlay are refuted, by facts that do not come from it."""

from types import SimpleNamespace
from typing import Any

import pytest

from lab.contracts.overlay import OverlayReport
from lab.expectations.status import _lies
from lab.scenario.load import ScenarioError, parse

SCENARIO = """\
version: 1
underlay: {{hosts: {{a: {{}}, b: {{}}}}}}
overlay: {{kind: {kind}}}
timeline: [{{launch: all}}, {{expect: {{status: all}}}}]
"""


def lies(report: OverlayReport, *, b: bool | None = None, c: bool | None = None) -> list[str]:
    """What is refuted of a report of host a, when containers of b and c answer, do not, or are not there (None)."""
    answers = {"b": b, "c": c}
    there = {host: SimpleNamespace(host=host) for host, ok in answers.items() if ok is not None}
    bench: Any = SimpleNamespace(
        live=SimpleNamespace(
            awake=lambda: {"a": SimpleNamespace(host="a"), **there},
            fresh=lambda key, since: SimpleNamespace(ok=answers[key[2]]),
        ),
        probing=SimpleNamespace(series=[("http", "a", "b"), ("http", "a", "c"), ("http", "b", "a")]),
    )
    return list(_lies("a", report, bench, 0))


def running(*peers: str, connected: tuple[str, ...] = ("b", "c")) -> OverlayReport:
    return OverlayReport(running=True, peers=peers, connected=connected)


def test_true_claims_are_not_refuted() -> None:
    assert lies(running("b", "c"), b=True, c=True) == []
    assert lies(running("b"), b=True, c=False) == []
    assert lies(running(), b=True, c=True) == [], "it cannot tell"
    assert lies(running("b", "c")) == [], "nobody asks: nothing is known"
    assert lies(OverlayReport(running=False, stopped=True)) == []


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (running("b"), "it does not name the peer c, but containers there answer"),
        (running("b", "c", "d"), "it names the peer 'd', to which the lab has not connected it"),
        (running("a", "b", "c"), "it names the peer 'a', to which"),
        (OverlayReport(running=False), "says that it does not run, but the lab started it"),
        (OverlayReport(running=True, stopped=True), "says that it runs, but the lab stopped it"),
        (
            OverlayReport(running=False, stopped=True, left=("one", "two", "three", "four", "five")),
            "its processes still run: one, two, three and 2 more",
        ),
    ],
)
def test_a_claim_is_refuted(report: OverlayReport, told: str) -> None:
    (found,) = lies(report, b=True, c=True)
    assert found.startswith("a: ") and told in found


def test_a_named_peer_whose_containers_do_not_answer() -> None:
    assert lies(running("b", "c"), b=True, c=False) == ["a: it names the peer c, but no container there answers"]
    assert len(lies(running("c", connected=()), c=True)) == 1, "before `connect`"


def test_overlays_without_reports_refuse_the_condition() -> None:
    assert parse(SCENARIO.format(kind="tinc"))
    with pytest.raises(ScenarioError) as caught:
        parse(SCENARIO.format(kind="weave"))
    assert "`status` with overlay weave" in str(caught.value) and "overlay babel or" in str(caught.value)

"""Each overlay that is a program of Debian carries packets of containers, over the underlay and nothing else.

One short run per overlay: containers reach each other on one host and between hosts, do not during a partition, and do
again after it. `lab overlay check NAME` plays more and takes minutes; docs/overlays.md lists its results.
"""

from pathlib import Path

import pytest
from overlay_programs import require_overlay

from lab.api.play import play
from lab.kinds.overlays import OVERLAYS

CUT = {
    "version": 1,
    "name": "cut-and-heal",
    "underlay": {"hosts": {"host1": {}, "host2": {}}},
    "services": {"web": {"image": "ksahnine/dummy-http", "args": ["web"], "replicas": 3}},
    "probes": [{"kind": "http", "every": "200ms"}],
    "timeline": [
        {"launch": "all"},
        {"connect": "all"},
        {"run": "all"},
        {"expect": {"reachable": "all", "within": "2m"}},
        {"partition": {"groups": [["host1"], ["host2"]]}},
        {"expect": {"unreachable": {"from": "web-1", "to": "web-2"}, "within": "2m"}},
        {"heal": "all"},
        {"expect": {"reachable": "all", "within": "2m"}},
    ],
}


def _overlays() -> list[object]:
    """In turns, as other large suites."""
    names = [kind.name for kind in OVERLAYS if kind.programs]
    return [pytest.param(name, marks=pytest.mark.turn(number % 4)) for number, name in enumerate(names)]


@pytest.mark.parametrize("name", _overlays())
def test_it_carries_packets_over_the_underlay_only(name: str, tmp_path: Path) -> None:
    require_overlay(name)
    run = play({**CUT, "overlay": {"kind": name}}, backend="netns", out=tmp_path)
    found = {check.checker: (check.verdict, check.summary, check.findings) for check in run.checks}
    # Not the verdict of the run: it says "unknown" of a busy machine.
    assert found["steps"][0] == found["expectations"][0] == "valid", (run.reason, found)

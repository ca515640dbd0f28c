"""UDP, trains, transfers and a load on real packets, from container to container over the overlay.

Nothing here is timed: a busy machine may answer late, but it answers. It asserts what was sent, and by which one.
"""

from itertools import pairwise

import pytest
from netns_labs import require_netns

import lab

S = 1_000_000_000


@pytest.fixture(autouse=True)
def _netns() -> None:
    require_netns()


def test_probes_and_loads_measure_real_packets(tmp_path):
    patient = {"from": "client", "to": "web", "every": "500ms", "timeout": "20s"}
    scenario = {
        "version": 1,
        "name": "load-on-packets",
        "underlay": {"hosts": {"a": {}, "b": {}}},
        "services": {
            "web": {"image": "ksahnine/dummy-http", "args": ["web"], "host": "a"},
            "client": {"image": "ksahnine/dummy-http", "args": ["client"], "host": "b"},
        },
        "probes": [
            {"kind": "udp", **patient},
            {"kind": "jitter", "options": {"packets": 10, "gap_ms": 2}, **patient},
            {"kind": "throughput", "options": {"size_kb": 2000}, **patient},
        ],
        "steady": {
            "shop": {"probe": "load", "from": "client", "to": "web", "success": "50%", "window": "1s", "samples": 10}
        },
        "timeline": [
            {"launch": "all"},
            {"connect": "all"},
            {"run": "all"},
            {"expect": {"reachable": {"from": "client", "to": "web"}, "within": "60s"}},
            {"load": {"from": "client", "to": "web", "rate": "100/s", "timeout": "5s", "for": "3s"}},
            {"load": {"from": "web", "to": "client", "rate": "50/s", "by": "udp", "timeout": "5s", "for": "3s"}},
            {"wait": "3s"},
        ],
    }
    run = lab.play(scenario, out=tmp_path)
    assert run.verdict == "valid", run.reason
    good = {kind: [sample for sample in run.samples.where(probe=kind) if sample.ok] for kind in run.summary["samples"]}
    assert all(good[kind] for kind in ("udp", "jitter", "throughput", "load"))
    assert all(sample.measured["sent"] == 10 for sample in good["jitter"])
    assert all(sample.measured["throughput"] > 0 for sample in good["throughput"])
    for source, rate in (("client", 100), ("web", 50)):
        due = sorted(sample.t for sample in run.samples.where(probe="load", source=source))
        assert len(due) > rate
        assert {later - earlier for earlier, later in pairwise(due)} == {S // rate}, "no try left out"
    assert not [sample for sample in run.samples if sample.error == "refused"], "who asks finds somebody who answers"

"""A daemon whose clock jumps by an hour, on real packets: neighbours see it, and the overlay goes on."""

from netns_labs import require_netns

import lab

CHECK = {"host": "a", "command": "weave check; true", "expect": {"stdout": "ahead of this host"}}


def test_a_clock_that_jumps_ahead(tmp_path):
    require_netns()
    scenario = {
        "version": 1,
        "name": "clocks",
        "underlay": {"hosts": {"a": {}, "b": {}}},
        "services": {"web": {"image": "ksahnine/dummy-http", "args": ["web"], "replicas": 2}},
        "timeline": [
            {"launch": "all"},
            {"connect": "all"},
            {"run": "all"},
            {"expect": {"converged": "all", "within": "60s"}},
            {"clock": {"host": "b", "offset": "1h", "drift_ppm": 20000, "for": "8s"}},
            {"expect": {"within": "60s", "exec": CHECK}},
            {"expect": {"converged": "all", "within": "60s"}},
            {"wait": "2s"},
            {"expect": {"reachable": "all", "within": "60s", "for": "2s"}},
        ],
    }
    run = lab.play(scenario, out=tmp_path)
    assert run.verdict == "valid", run.reason
    for host in ("a", "b"):
        times = [view.t for view in run.views if view.host == host]
        assert times == sorted(times) and max(times) < run.duration + 60_000_000_000, "views bear the run's own time"

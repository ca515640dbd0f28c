"""State files torn by a power cut, on a real daemon: it sets them aside, starts without them, and agrees again."""

from netns_labs import require_netns

import lab


def test_torn_files_are_set_aside(tmp_path):
    require_netns()
    scenario = {
        "version": 1,
        "name": "torn",
        "underlay": {"hosts": {"a": {}, "b": {}}},
        "services": {"web": {"image": "ksahnine/dummy-http", "args": ["web"], "replicas": 2}},
        "timeline": [
            {"launch": "all"},
            {"connect": "all"},
            {"slow_disk": {"host": "b", "latency": "0s", "torn": True}},
            {"run": "all"},
            {"expect": {"converged": "all", "within": "60s"}},
            {"kill": {"host": "b"}, "for": "1s"},
            {"wait": "2s"},
            {"expect": {"converged": "all", "within": "60s"}},
            {"exec": {"host": "b", "command": "ls /var/lib/weave", "expect": {"stdout": "damaged"}}},
            {"scale": {"service": "web", "to": 4}},
            {"expect": {"reachable": "all", "within": "60s"}},
        ],
    }
    run = lab.play(scenario, out=tmp_path)
    assert run.verdict == "valid", run.reason

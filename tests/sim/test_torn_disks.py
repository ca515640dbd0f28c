"""A disk that lies about syncs, and a power cut: the peer goes without what is torn, and the ring stays whole."""

import lab
from lab.sim.disk import SimDisk


def test_a_power_cut_tears_what_was_written_since() -> None:
    disk = SimDisk()
    disk.write("old", b"1")
    disk.tears = True
    disk.write("new", b"2")
    disk.crash()
    assert disk.stored == {"old": b"1"}
    disk.crash()
    disk.write("newer", b"3")
    disk.tears = False
    disk.crash()
    assert disk.stored == {"old": b"1", "newer": b"3"}, "what was written before it stopped lying is kept by then"


def scenario():
    return {
        "version": 1,
        "name": "torn",
        "underlay": {"hosts": {"a": {}, "b": {}, "c": {}}},
        "services": {"web": {"image": "ksahnine/dummy-http", "args": ["web"], "replicas": 3}},
        "timeline": [
            {"launch": "all"},
            {"connect": "all"},
            {"run": "all"},
            {"expect": {"converged": "all", "within": "60s"}},
            {"slow_disk": {"host": "b", "latency": "0s", "torn": True}},
            {"scale": {"service": "web", "to": 6}},
            {"kill": {"host": "b"}, "for": "2s"},
            {"wait": "3s"},
            {"expect": {"converged": "all", "within": "60s", "for": "1s"}},
            {"scale": {"service": "web", "to": 9}},
            {"expect": {"reachable": "all", "within": "60s"}},
        ],
    }


def test_the_ring_is_whole_after_it(tmp_path):
    for seed in range(3):
        run = lab.play(scenario(), backend="sim", seed=seed, out=tmp_path)
        assert run.verdict == "valid", run.reason

"""UDP, trains, transfers and loads on the simulator: what they measure is what the links do."""

import pytest

import lab
from lab.scenario.load import ScenarioError

MS = 1_000_000


def scenario(link, probes, timeline=(), **more):
    return {
        "version": 1,
        "name": "probes",
        "underlay": {"hosts": {"a": {}, "b": {}}, "links": {"default": link}},
        "services": {
            "web": {"image": "ksahnine/dummy-http", "args": ["web"], "host": "a"},
            "client": {"image": "ksahnine/dummy-http", "args": ["client"], "host": "b"},
        },
        "probes": [{"from": "client", "to": "web", **probe} for probe in probes],
        "timeline": [{"launch": "all"}, {"connect": "all"}, {"run": "all"}, *timeline],
        **more,
    }


def test_probes_measure_what_the_links_do(tmp_path):
    probes = [
        {"kind": "udp", "every": "50ms"},
        {"kind": "jitter", "every": "1s", "options": {"packets": 50, "gap_ms": 10}},
        {"kind": "throughput", "every": "2s", "timeout": "2s", "options": {"size_kb": 500}},
    ]
    link = {"delay": "5ms", "jitter": "4ms", "loss": "5%", "rate": "20mbit"}
    run = lab.play(scenario(link, probes, [{"wait": "30s"}]), backend="sim", out=tmp_path)
    trains = run.samples.where(probe="jitter")
    sent = sum(sample.measured["sent"] for sample in trains)
    lost = sum(sample.measured["lost"] for sample in trains)
    assert sent > 1000 and 0.05 < lost / sent < 0.15, "there and back: 1 - 0.95 * 0.95"
    assert all(MS < sample.measured["jitter"] < 4 * MS for sample in trains if sample.ok)
    assert all(5 * MS < (sample.latency or 0) < 25 * MS for sample in trains if sample.ok)
    moved = [sample for sample in run.samples.where(probe="throughput") if sample.ok]
    assert moved and all(1_000_000 < sample.measured["throughput"] < 20_000_000 for sample in moved)
    failed = [sample.ok for sample in run.samples.where(probe="udp")].count(False)
    assert 20 < failed < 120
    assert set(run.summary["samples"]["jitter"]["measured"]) == {"sent", "lost", "loss", "jitter"}
    assert run.summary["samples"]["throughput"]["measured"]["throughput"] < 20_000_000


def test_a_load_is_sent_at_its_rate_whatever_becomes_of_it(tmp_path):
    timeline = [
        {"wait": "1s"},
        {"load": {"from": "client", "to": "web", "rate": "100/s", "timeout": "500ms"}, "for": "10s"},
        {"wait": "3s"},
        {"partition": {"groups": [["a"], ["b"]]}, "for": "3s"},
    ]
    steady = {"shop": {"probe": "load", "from": "client", "success": "99%", "p99": "2ms", "window": "2s",
                       "may_break": "partition", "again_within": "1s"}}  # fmt: skip
    probes = [{"kind": "http", "every": "100ms"}]
    run = lab.play(scenario({}, probes, timeline, steady=steady), backend="sim", out=tmp_path)
    assert run.verdict == "valid", run.reason
    due = [sample.t for sample in run.samples.where(probe="load")]
    assert all(later - earlier == 10 * MS for earlier, later in zip(sorted(due), sorted(due)[1:], strict=False))
    assert 950 <= len(due) <= 1000, "ten seconds; those under way at the end have no sample"
    failed = [sample for sample in run.samples.where(probe="load") if not sample.ok]
    assert 250 < len(failed) < 350
    assert [(fault.what) for fault in run.faults] == ["partition"], "a load is no fault"
    assert run.steady[0].during == "broken"


def test_what_a_load_cannot_be_is_refused(tmp_path):
    def refused(message, probes=({"kind": "http"},), **load):
        step = {"load": {"from": "client", "to": "web", "rate": "10/s", **load}}
        with pytest.raises(ScenarioError, match=message):
            lab.play(scenario({}, probes, [step]), backend="sim", out=tmp_path)

    refused("'shop', expected a service", to="shop")
    refused("rate", rate="9000/s")
    refused("expected 'http', 'icmp' or 'udp'", by="smtp")
    refused("two containers", to="client")
    refused("expected a `load` step of the timeline", probes=({"kind": "load"},))
    refused("whole number from 2 to 1000", probes=({"kind": "jitter", "options": {"packets": 1}},))


def test_stress_makes_messages_late_and_ends(tmp_path):
    def took(stress):
        timeline = [{"wait": "2s"}, *stress, {"scale": {"service": "web", "to": 4}}]
        timeline += [{"expect": {"converged": "all", "within": "60s"}}, {"wait": "4s"}]
        asked = scenario({}, [{"kind": "http", "every": "10ms"}], timeline)
        asked["services"]["web"] = {"image": "ksahnine/dummy-http", "replicas": 1}
        for probe in asked["probes"]:
            probe |= {"from": "client", "to": "web"}
        run = lab.play(asked, backend="sim", out=tmp_path)
        assert run.verdict == "valid", run.reason
        change = next(row for row in run.convergence if row.what == "scale")
        return change.metrics["dns"]

    calm = took([])
    assert took([{"stress": {"host": "a", "cores": 64}, "for": "30s"}]) > 2 * calm
    assert took([{"stress": {"host": "a", "cores": 64}, "for": "1s"}, {"wait": "2s"}]) <= 2 * calm
    with pytest.raises(ScenarioError, match="expected `cores` or `percent`"):
        took([{"stress": {"host": "a", "cores": 1, "percent": "10%"}}])

"""The state of a lab as the page's JavaScript computes it, held against what Python's checkers say of that history."""

import json
import subprocess
from random import Random
from typing import Any

import node_tools

from lab.checkers import RecordedRun
from lab.checkers.outages import failed
from lab.checkers.schedule import interval
from lab.checkers.tries import CUT, LEAKED, MISSED, NOTHING, REACHED, WRONG
from lab.checkers.world import series_of
from lab.kinds.probes import asks_name
from lab.records.history import Sample, View

SCRIPT = """
import { readFileSync } from "node:fs";
import { History, view } from "MODEL";
const { data, times } = JSON.parse(readFileSync(0, "utf8"));
const history = new History().append(data.records).load(data.series);
console.log(JSON.stringify(times.map((t) => view(history, t))));
"""


def states(data: dict[str, Any], times: list[int]) -> list[dict[str, Any]]:
    """What JavaScript makes of a page's data at these times."""
    script = SCRIPT.replace("MODEL", (node_tools.WEB / "src/model.js").as_uri())
    done = subprocess.run(
        [node_tools.node(), "--input-type=module", "-e", script],
        input=json.dumps({"data": data, "times": times}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def compare(run: RecordedRun, data: dict[str, Any], *, seed: str) -> None:
    """Both say the same at the edges of every epoch, and at random moments."""
    rng = Random(seed)
    edges = [t for epoch in run.epochs for t in (epoch.start - 1, epoch.start) if t >= run.start]
    times = sorted({*edges, *(rng.randrange(run.start, run.end) for _ in range(60))})
    for t, state in zip(times, states(data, times), strict=True):
        _compare(run, t, state)


def _compare(run: RecordedRun, t: int, state: dict[str, Any]) -> None:
    epoch = run.epoch(t)
    assert epoch is not None
    groups = epoch.groups
    assert [tuple(group) for group in state["groups"]] == list(groups), t
    assert state["replicas"] == epoch.replicas, t
    assert state["addresses"] == epoch.addresses, t
    bands = [(band.label, band.start) for band in run.bands if band.start <= t and (t < band.end or not band.healed)]
    assert [(fault["label"], fault["start"]) for fault in state["faults"]] == bands, t
    for host in state["hosts"]:
        said = [record for record in run.views.get(host["name"], []) if record.t <= t]
        believed = said[-1] if said else None
        assert host["state"] == ("up" if isinstance(believed, View) else "down" if said else "unseen")
        if isinstance(believed, View):
            assert sorted(host["neighbours"]) == sorted(believed.neighbours)
            assert host["reachable"] == believed.reachable and host["share"] == round(believed.ring_share, 6)
    for key, pair in zip(run.series, state["pairs"], strict=True):
        _compare_pair(run, t, [sample for sample in run.series[key] if sample.t <= t], pair)


def _compare_pair(run: RecordedRun, t: int, tried: list[Sample], pair: dict[str, Any]) -> None:
    epoch = run.epoch(t)
    if epoch is None or not tried or tried[-1].source not in epoch.replicas:
        assert pair["state"] == NOTHING
        return
    sample = tried[-1]
    if pair["t"] is None:  # too long ago to say anything
        assert t - sample.t > 3 * interval(run.series[series_of(sample)])
        return
    assert pair["t"] == sample.t
    assert (failed(sample) is None) == (pair["state"] == NOTHING)
    good = run.judge(sample)
    if good is not None:
        assert good == (pair["state"] in (REACHED, CUT))
    if failed(sample):
        assert pair["state"] in (MISSED, CUT)
    elif failed(sample) is False:
        assert pair["state"] in ((REACHED, WRONG) if asks_name(sample.probe) else (REACHED, LEAKED))

"""Constants of the simulator's model: set in a scenario, bounded, at work, kept in the history, refused elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.backends.simulated.backend import SimBackend
from lab.calibration import CALIBRATION, model_constants
from lab.errors import LabError
from lab.kinds.backends import backend
from lab.records.history import Sample
from lab.scenario.from_json import from_json
from lab.scenario.load import ScenarioError, parse
from lab.scenario.resolve import resolve
from lab.sweep.grid import parse_set, variants
from lab.sweep.play import _MemoryWriter, run_virtually

SCENARIO = """\
version: 1
underlay: {hosts: {a: {}, b: {}}}
overlay: none
%s
services: {one: {image: ksahnine/dummy-http, host: a}, two: {image: ksahnine/dummy-http, host: b}}
probes: [{kind: icmp, from: one, to: two, every: 100ms}]
timeline: [{run: all}, {wait: 2s}]
"""
SOURCES = "\n".join(path.read_text() for name in ("sim", "backends/simulated")
                    for path in sorted((Path(__file__).parents[3] / "lab" / name).glob("*.py")))  # fmt: skip


@pytest.mark.parametrize("name", model_constants())
def test_each_is_within_its_limits_and_read_by_the_simulator(name: str) -> None:
    constant = model_constants()[name]
    assert constant.low <= constant.default <= constant.high and len(constant.about) > 15
    assert f"model.{name}" in SOURCES, "a constant that nothing reads is none"


def test_a_scenario_sets_them_and_a_history_keeps_them() -> None:
    plain = resolve(parse(SCENARIO % "", "x.yaml"))
    assert plain.model == CALIBRATION and "model" not in plain.to_json(), (
        "histories of other scenarios stay as they are"
    )
    found = resolve(parse(SCENARIO % "model: {boot_time: 2s, spread_parts: 8}", "x.yaml"))
    assert (found.model.boot_time, found.model.spread_parts) == (2_000_000_000, 8)
    assert from_json(json.loads(json.dumps(found.to_json()))).model == found.model
    assert SimBackend().refuse(found) == []
    assert any(reason.startswith("model: real hosts take") for reason in backend("netns").refuse(found))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {boot_tme: 2s}", "boot_time"),
        ("model: {boot_time: 2h}", "boot_time.*expected"),
        ("model: {boot_time: -1s}", "boot_time"),
        ("model: {boot_time: soon}", "boot_time.*expected a duration"),
        ("model: {spread_parts: 0}", "spread_parts"),
        ("model: fast", "model"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        parse(SCENARIO % text, "x.yaml")


def test_they_are_at_work_and_can_be_swept() -> None:
    settings = [parse_set("model.base_delay=100us,40ms")]
    latencies: list[Any] = []
    for variant in variants(SCENARIO % "", settings, file="x.yaml", name="x", question=""):
        writer = _MemoryWriter()
        run_virtually(SimBackend(), variant.scenario, writer)
        latencies.append([one.latency for one in writer.records if isinstance(one, Sample) and one.latency])
    assert latencies[0] and max(latencies[0]) < 5_000_000 < 40_000_000 < min(latencies[1])
    with pytest.raises(LabError, match="base_delay"):
        variants(SCENARIO % "", [parse_set("model.bsae_delay=1ms")], file="x.yaml", name="x", question="")

"""A resolved scenario is the same after a way through its plain data."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.scenario.from_json import from_json
from lab.scenario.load import load_resolved, parse
from lab.scenario.resolve import Resolved, resolve

ROOT = Path(__file__).parents[3]

EVERYTHING = """
version: 1
seed: 9
underlay:
  hosts: {a: {region: eu}, b: {region: us}, c: {region: us}, d: {}, e: {}}
  machine: {cores: 2, per_message: 20us, per_byte: 3ns}
  edges: [[a, b], [b, c], [c, d], [d, e]]
  links:
    default: {delay: 5ms, jitter: 1ms, distribution: pareto, loss: 0.5%}
    "a -> b": {burst: {enter: 1%, leave: 30%}, rate: 10mbit}
    "region:eu <-> region:us": {delay: 40ms, mtu: 1400}
services:
  web: {image: ksahnine/dummy-http, args: [web], replicas: 2, env: {A: b}}
  own: {command: [sleep, "1"], host: a, address: 10.0.1.1/24, publish: ["8080:80"]}
probes: [{kind: icmp, from: web, to: all, every: 100ms, timeout: 2s}, {kind: dns, name: web.weave.local}]
timeline:
  - launch: {hosts: [a, b], options: {iprange: 10.2.0.0/16}}
  - connect: {from: a, to: [b, c]}
  - run: {services: web, ipam: true}
  - exec: {service: web, command: "echo hi | cat", timeout: 3s, expect: {code: 0, stdout: hi}}
  - {partition: {one_way: {from: a, to: [b]}}, for: 2s, at: 5s}
  - partition: {groups: [[a], [b, c]], for: 1500ms}
  - {churn: {rate: 2/s, crash: 25%, downtime: 300ms, hosts: [a, b, c]}, for: 10s}
  - {slow_disk: {host: a, latency: 30ms}, for: 1s}
  - clock: {host: b, offset: 3s, drift_ppm: 100, for: 1s}
  - kill: {service: web, for: 1s}
  - restart: {host: a}
  - forget: {from: a, to: b}
  - attach: {service: own, address: 10.9.0.1/24}
  - scale: {service: web, to: 0}
  - reset: all
  - heal: all
  - wait: 2s
  - expect: {converged: all, reachable: {from: own}, within: 7s, for: 1s}
  - expect: {dns: {name: web.weave.local, answers: [10.0.0.1]}}
  - {expect: {http: {from: own, url: "http://x/", body: y}, exec: {host: a, command: [ls]}}, on_failure: continue}
"""


def through(scenario: Resolved) -> Resolved:
    return from_json(json.loads(json.dumps(scenario.to_json())))


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_scenarios_of_the_project(path: Path) -> None:
    scenario = load_resolved(path)
    assert through(scenario) == scenario


def test_every_verb_and_value() -> None:
    scenario = resolve(parse(EVERYTHING))
    again = through(scenario)
    assert again == scenario
    assert again.links.between("a", "b") == scenario.links.between("a", "b")
    assert again.to_json() == scenario.to_json()


def test_on_a_slow_machine_everything_takes_longer_and_nothing_is_done_otherwise() -> None:
    scenario = resolve(parse(EVERYTHING))
    slow = scenario.at_pace(3)
    assert through(slow) == slow
    assert scenario.at_pace(1) == scenario
    assert slow.to_json()["pace"] == 3
    differences: dict[str, set[float]] = {}

    def compare(was: Any, now: Any, name: str) -> None:
        if isinstance(was, dict):
            assert was.keys() == now.keys()
            for key in was:
                compare(was[key], now[key], key)
        elif isinstance(was, list | tuple):
            for left, right in zip(was, now, strict=True):
                compare(left, right, name)
        elif was != now:
            differences.setdefault(name, set()).add(now / was)

    before = scenario.to_json()
    compare(before, {key: value for key, value in slow.to_json().items() if key != "pace"}, "")
    times = ("at", "for", "wait", "within", "timeout", "every", "rate", "downtime")
    assert differences == {name: {3.0} for name in times}


def test_strange_data_is_refused() -> None:
    with pytest.raises(LabError, match="no resolved scenario"):
        from_json({"underlay": {"hosts": {}}})

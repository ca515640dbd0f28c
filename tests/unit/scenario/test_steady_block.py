"""The `steady` block of a scenario: what is refused, what it resolves to, and the way back from a history."""

import json

import pytest

from lab.scenario.from_json import from_json
from lab.scenario.load import ScenarioError, parse
from lab.scenario.resolve import resolve

SCENARIO = """
version: 1
underlay: {hosts: {a: {}, b: {}}}
services:
  web: {image: ksahnine/dummy-http, host: a}
  client: {image: ksahnine/dummy-http, host: b, replicas: 2}
probes: [{kind: http, from: client, to: web, every: 100ms, timeout: 2s}, {kind: jitter, from: client, to: web}]
steady: {shop: {STEADY}}
timeline: [{launch: all}, {load: {from: client, to: web, rate: 10/s, timeout: 3s}, for: 2s}]
"""


def parsed(steady):
    return parse(SCENARIO.replace("STEADY", steady))


def condition(steady):
    (found,) = resolve(parsed(steady)).steady
    return found


def test_a_condition_is_made_concrete():
    found = condition("from: client, to: web, success: 95%, window: 10s, may_break: [kill], again_within: 3s")
    assert (found.probe, found.timeout, found.least, found.window) == ("http", 2 * 10**9, 20, 10 * 10**9)
    assert (found.sources, found.targets, found.may_break) == (("client",), ("web",), ("kill",))
    assert condition("p50: 1s").sources == ("*",)
    assert condition("success: 99.9%, window: 2m").least == 1000
    assert condition("success: 100%").least == 10
    assert condition("p99: 1s, samples: 7").least == 7
    assert condition("probe: load, p50: 1s").timeout == 3 * 10**9
    assert condition("probe: jitter, jitter: 5ms").least == 3
    assert "partition" in condition("p50: 1s, may_break: all").may_break


@pytest.mark.parametrize(
    ("steady", "words"),
    [
        ("from: client", "found none of them, expected a limit: success, p50"),
        ("p50: 1s, from: shop", "'shop', expected a service"),
        ("p50: 1s, probe: icmp", "probe icmp, which nothing here measures"),
        ("loss: 1%", "`loss` of probe http, expected a probe that measures it: jitter"),
        ("p50: 1s, may_break: [rain]", "'rain', expected a verb"),
        ("p50: 1s, again_within: 3s", "`again_within` without `may_break`"),
        ("p99: 1s, from: client, to: web, window: 1s", "at most 20 tries, expected at least 100 tries"),
        ("p50: 1s, window: 10ms", "window"),
        ("p50: 1s, samples: 0", "samples"),
    ],
)
def test_what_cannot_be_judged_is_refused(steady, words):
    with pytest.raises(ScenarioError) as raised:
        parsed(steady)
    assert words in str(raised.value)


def test_a_history_gives_it_back():
    resolved = resolve(parsed("probe: load, success: 90%, p95: 1s, may_break: all, abort: true"))
    assert from_json(json.loads(json.dumps(resolved.to_json()))).steady == resolved.steady
    slow = resolved.at_pace(4).steady[0]
    assert (slow.window, slow.timeout) == (20 * 10**9, 12 * 10**9)

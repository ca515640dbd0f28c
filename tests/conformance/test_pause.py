"""`pause` and `resume`: what is stopped does nothing and comes back, in the simulator and on real packets alike."""

from pathlib import Path

import pytest
from both_backends import BACKENDS, played

from lab.records.history import Sample

HEAD = """
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}
  two: {image: ksahnine/dummy-http, args: [two], host: b, address: 10.0.1.2/24}
  web: {image: ksahnine/dummy-http, args: [web], hosts: [b, c], replicas: 2}
probes:
  - {kind: http, every: 100ms, timeout: 500ms}
  - {kind: icmp, every: 100ms, timeout: 500ms}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s}
"""
BACK = "  - expect: {converged: all, reachable: all, within: 90s}\n"
ESTABLISHED = "weave status connections | grep '192.168.0.3:6783 *established'"
"""Ends with 0 if a has a connection to b, else with 1."""
VICTIMS = {
    "a daemon, until its peers have noticed": f"""
  - pause: b
  - exec: {{host: a, command: "{ESTABLISHED}"}}
  - expect: {{exec: {{host: a, command: "{ESTABLISHED}", expect: {{code: 1}}}}, within: 90s}}
  - resume: b
{BACK}""",
    "a service, which has a kernel still": f"""
  - pause: {{service: two}}
  - wait: 2s
  - resume: {{service: two}}
{BACK}""",
    "a host twice, and its daemon and a container meanwhile": f"""
  - pause: {{host: b, for: 1s}}
  - pause: {{host: b, for: 2s}}
  - pause: {{daemon: b, for: 1500ms}}
  - pause: {{service: web-1, for: 3s}}
{BACK}""",
    "what is killed while it is paused": f"""
  - pause: {{daemon: b}}
  - kill: {{daemon: b, for: 500ms}}
  - pause: {{service: two, for: 2s}}
  - kill: {{service: two, for: 500ms}}
  - pause: {{host: c, for: 3s}}
  - kill: {{host: c, for: 500ms}}
  - resume: {{daemon: b}}
{BACK}""",
}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("what", VICTIMS)
def test_what_is_paused_comes_back(what: str, name: str, tmp_path: Path) -> None:
    run = played(HEAD + VICTIMS[what].lstrip("\n"), name, tmp_path)
    assert run.verdict == "valid", run.reason
    begun, ended = run.events("pause", "start"), run.events("pause", "end")
    assert begun and {one.step for one in begun} == {one.step for one in ended}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_paused_service_is_pinged_and_answers_nothing(name: str, tmp_path: Path) -> None:
    run = played(HEAD + VICTIMS["a service, which has a kernel still"].lstrip("\n"), name, tmp_path)
    (begun,), (ended,) = run.events("pause", "start"), run.events("pause", "end")
    during = run.records[run.records.index(begun) : run.records.index(ended)]
    samples = [one for one in during if isinstance(one, Sample) and one.error != "late"]
    assert not any(one.source == "two" for one in samples), "nobody asks whose processes are stopped"
    asked = [one for one in samples if (one.source, one.target) == ("one", "two") and one.t >= begun.t]
    since = min(one.t for one in asked if one.probe == "http" and not one.ok)  # tries before that were under way
    resumed = ended.t - ended.detail.get("took", 0)  # what waited in the kernel until then is answered then
    over = [one for one in asked if one.t >= since and one.t + (one.latency or 0) < resumed]
    assert {(one.probe, one.ok) for one in over} == {("http", False), ("icmp", True)}


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    run = played(HEAD + "  - resume: {service: two}\n", "sim", tmp_path)
    assert run.verdict == "invalid" and "nothing to resume: no `pause service two` is in force" in run.reason

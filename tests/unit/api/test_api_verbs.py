"""Calls in Python as steps of a scenario, and the stub that says which there are."""

from pathlib import Path
from typing import Any

import pytest

import lab
from lab.api import verb_methods
from lab.api.verbs import step_of, stub
from lab.kinds.verbs import verbs
from lab.scenario.load import one_more, parse

SCENARIO = """\
version: 1
underlay: {hosts: {a: {}, b: {}}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 2}}
timeline: [{launch: all}, {connect: all}, {run: all}]
"""


def test_the_stub_is_that_of_the_model() -> None:
    """`make schema` writes it."""
    text = Path(verb_methods.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert text == stub()
    assert all(f"    def {verb}(" in text for verb in verbs()) and {"kill", "expect", "wait"} <= verbs().keys()


@pytest.mark.parametrize(
    ("verb", "short", "arguments", "step"),
    [
        ("kill", ("a",), {"for_": "3s"}, {"kill": "a", "for": "3s"}),
        ("kill", (), {"host": "a", "at": "5s"}, {"kill": {"host": "a"}, "at": "5s"}),
        ("run", ("web",), {}, {"run": "web"}),
        ("run", ("web", "files"), {}, {"run": ["web", "files"]}),
        ("run", ("web",), {"ipam": True}, {"run": {"services": "web", "ipam": True}}),
        ("connect", (), {"from_": "a", "to": ["b"]}, {"connect": {"from": "a", "to": ["b"]}}),
        ("heal", (), {}, {"heal": {}}),
        ("wait", ("2s",), {}, {"wait": "2s"}),
    ],
)
def test_a_call_is_a_step(verb: str, short: tuple[Any, ...], arguments: dict[str, Any], step: dict[str, Any]) -> None:
    assert step_of(verb, short, arguments) == step
    scenario = parse(SCENARIO.replace("replicas: 2}", "replicas: 2}, files: {command: [cat]}"))
    longer, problems = one_more(scenario, step)
    assert not problems and longer.timeline[-1].verb == verb


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"kill": "c"}, "kill.daemon: found 'c', expected a host: a, b"),
        ({"kil": "a"}, "found the key 'kil', expected one of at, for"),
        ({"scale": {"service": "web", "to": "many"}}, "scale.to: found 'many', expected a whole number"),
        ({"partition": {"groups": [["a", "b"]]}}, "expected"),
        ({"wait": 3}, "wait: found 3, expected a duration as 200ms"),
        ({"heal": {}, "kill": "a"}, "expected exactly one verb of"),
        ({}, "found none of them, expected exactly one verb of"),
    ],
)
def test_what_is_no_step_here_is_refused_and_leaves_the_timeline_alone(step: dict[str, Any], said: str) -> None:
    scenario = parse(SCENARIO)
    longer, problems = one_more(scenario, step)
    assert longer is scenario and said in "\n".join(problems)


def test_every_verb_is_a_method_and_other_words_are_not() -> None:
    live = lab.LiveLab(backend="sim")
    assert verbs().keys() <= set(dir(live)) and {"up", "down", "do", "so_far"} <= set(dir(live))
    assert live.kill.__name__ == "kill" and "SIGKILL" in (live.kill.__doc__ or "")
    with pytest.raises(AttributeError, match=r"no attribute 'kil'.*did you mean 'kill'"):
        live.kil  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(lab.StepRefused, match="found no verb 'kil'"):
        live.do("kil", "a")
    with pytest.raises(lab.StepRefused, match="wait: found '2s' next to host, expected names for all arguments"):
        live.do("wait", "2s", host="a")
    with pytest.raises(lab.LabError, match="bring it up first"):
        live.kill("a")
    with pytest.raises(lab.LabError, match="not brought up yet"):
        live.down()

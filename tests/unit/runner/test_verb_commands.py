"""The verbs as commands of `lab`: what a command line means, and what is refused before a lab is asked."""

import shlex
from typing import Any

import click
import pytest
from click.testing import CliRunner

from lab.cli import lab
from lab.cli.verbs import VerbCommand, verb_commands
from lab.kinds.verbs import verbs
from lab.scenario.base import frozen
from lab.scenario.steps import step_model
from lab.verbs import NO_COMMANDS

CONTEXT = click.Context(lab)
NAMES = verb_commands(lab.commands)


def command(word: str) -> VerbCommand:
    found = lab.get_command(CONTEXT, word)
    assert isinstance(found, VerbCommand), word
    return found


def step(line: str) -> dict[str, Any]:
    word, *words = shlex.split(line)
    found = command(word)
    return found.step(found.make_context(word, words).params)


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("partition a,b c --for 10s", {"partition": {"groups": [["a", "b"], ["c"]]}, "for": "10s"}),
        ("partition --isolate a,b", {"partition": {"isolate": ["a", "b"]}}),
        ("partition --one-way-from a --one-way-to b,c", {"partition": {"one_way": {"from": "a", "to": ["b", "c"]}}}),
        ("partition --ring majorities", {"partition": {"ring": "majorities"}}),
        ("heal", {"heal": "all"}),
        ("kill a", {"kill": "a"}),
        ("kill --host b --for 2s", {"kill": {"host": "b"}, "for": "2s"}),
        ("block --udp 6784 --hosts a,b", {"block": {"udp": 6784, "hosts": ["a", "b"]}}),
        ("block --tcp all", {"block": {"tcp": "all"}}),
        ("mtu 1200", {"mtu": {"to": 1200}}),
        ("scale web 5", {"scale": {"service": "web", "to": 5}}),
        ("move web b", {"move": {"service": "web", "to": "b"}}),
        ("run-service", {"run": "all"}),
        ("run-service web db", {"run": ["web", "db"]}),
        ("run-service web --ipam", {"run": {"services": "web", "ipam": True}}),
        ("attach web --address 10.9.0.1/24", {"attach": {"service": "web", "address": "10.9.0.1/24"}}),
        ("connect all", {"connect": "all"}),
        ("connect a b c,d", {"connect": {"from": "a", "to": ["b", "c", "d"]}}),
        ("clock a --offset 3s --drift-ppm -200", {"clock": {"host": "a", "offset": "3s", "drift_ppm": -200}}),
        ("policy deny from all to web", {"policy": "deny from all to web"}),
        ("policy deny from all to web --host a", {"policy": {"rule": "deny from all to web", "host": "a"}}),
        ("slow-disk a --full", {"slow_disk": {"host": "a", "full": True}}),
        ("link a b,c --delay 50ms", {"link": {"from": "a", "to": ["b", "c"], "delay": "50ms"}}),
        ("link a b --loss 1% --both", {"link": {"from": "a", "to": "b", "loss": "1%", "both": True}}),
        ("expect --reachable all --within 5s", {"expect": {"reachable": "all", "within": "5s"}}),
        ("expect --reachable '{from: web, to: db}'", {"expect": {"reachable": {"from": "web", "to": "db"}}}),
        ("expect --reachable-from web --for 1s", {"expect": {"reachable": {"from": "web"}}, "for": "1s"}),
    ],
)
def test_a_command_line_is_a_step(line: str, means: dict[str, Any]) -> None:
    assert step(line) == means
    step_model().model_validate(frozen(means))


@pytest.mark.parametrize("word", NAMES)
def test_every_verb_has_a_command_whose_examples_are_steps(word: str) -> None:
    lines = [line.strip() for line in (command(word).epilog or "").splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        found = step(line.removeprefix("lab "))
        if not any("file" in body for body in found.values() if isinstance(body, dict)):  # which is not there
            step_model().model_validate(frozen(found))


def test_verbs_without_a_command_only_watch() -> None:
    kinds = verbs()
    assert {*NAMES.values(), *NO_COMMANDS} == set(kinds)
    watching = {name for name, verb in kinds.items() if verb.setup == "watch" and not verb.asks}
    assert set(NO_COMMANDS) == watching | {"capture"}  # `lab capture` is a command of its own


def test_what_is_no_command_line_is_refused() -> None:
    for line, says in (
        ("scale web", "Missing"),
        ("partition --ring minorities", "'minorities' is not 'majorities'"),
        ("expect --reachable '{from: ['", "expected a word or a mapping"),
        ("expect --reachable all --reachable-from web", "expected one of them"),
        ("kill a --daemon b", "found 'a' and --daemon b"),
        ("heal some", "'some' is not 'all'"),
    ):
        with pytest.raises(click.UsageError, match=says):
            step(line)


def test_without_a_lab_every_verb_says_what_is_possible() -> None:
    for words in (["kill", "a"], ["status"], ["undo"]):
        said = CliRunner().invoke(lab, [*words, "--name", "nowhere-at-all"])
        assert said.exit_code and "no lab named nowhere-at-all runs" in str(said.exception), said

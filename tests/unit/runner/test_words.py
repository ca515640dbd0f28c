"""Counts, names and refusals in words."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.backends.real.fabric_lab import refusals
from lab.fabric import features
from lab.fabric.features import Feature
from lab.links import Link
from lab.scenario.load import parse
from lab.scenario.resolve import resolve
from lab.words import count, natural, step_number

LOSSY = """
version: 1
underlay:
  hosts: {a: {}, b: {}}
  links: {default: {loss: 1%%, %s}}
timeline: [{wait: 1s}]
"""


def test_one_is_one() -> None:
    assert [count(number, "host") for number in (0, 1, 2)] == ["0 hosts", "1 host", "2 hosts"]
    assert count(1, "try", "tries") == "1 try" and count(3, "try", "tries") == "3 tries"


def test_steps_are_counted_from_1() -> None:
    assert step_number(0) == "step 1"


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_names_with_numbers_stand_in_the_order_of_the_numbers(numbers: list[int]) -> None:
    assert sorted((f"web-{number}" for number in numbers), key=natural) == [f"web-{n}" for n in sorted(numbers)]


@pytest.mark.parametrize(
    ("more", "asks"),
    [
        ("delay: 10ms", "delay, loss"),
        ("delay: 10ms, jitter: 1ms", "delay, jitter, loss"),
        ("rate: 10mbit", ""),
        ("mtu: 1400", ""),
    ],
)
def test_a_kernel_without_netem_and_relay_is_refused_for_what_needs_them(
    more: str, asks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(name: str) -> Feature:
        found = name not in ("netem", "relay")
        return Feature(name=name, serves="", required=False, found=found, remedy="load it", detail="unknown")

    monkeypatch.setattr(features, "check", check)
    reasons = refusals(resolve(parse(LOSSY % more)), "netns")
    if asks:
        assert [reason.partition(" asks for ")[2].partition(", but")[0] for reason in reasons] == [asks]
        assert reasons[0].endswith("load it")
    else:
        assert reasons == []


def test_loss_alone_needs_no_queue() -> None:
    assert not Link(loss=0.2).timed and Link(loss=0.2, duplicate=0.1).timed


def test_a_missing_vagrant_is_said_by_the_refusal_alone() -> None:
    code = "import lab.backends.vagrant.machines as m; m.program = lambda name: None; print('imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PATH": ""})
    assert (done.stdout, done.stderr) == ("imported\n", "")

"""`address` steps that make no sense are refused, each at its place, with what is possible instead."""

import pytest

from lab.backends.real.fabric_lab import step_refusals
from lab.backends.vagrant.backend import refusals
from lab.scenario.load import ScenarioError, parse
from lab.scenario.resolve import resolve

HEAD = """\
version: 1
underlay:
  networks: {x: {subnet: 192.168.1.0/24}, y: {subnet: 192.168.2.0/24}, v6: {subnet: "fd00::/64"}}
  hosts:
    a: {network: x, address: 192.168.1.2}
    b: {network: x}
    both: {networks: {x: 192.168.1.9, y: 192.168.2.9}}
    six: {network: v6}
  routers: {gw: {networks: [x, y]}}
timeline:
  - launch: all
"""


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{host: nobody, to: 192.168.1.7}", "'nobody', expected a host"),
        ("{host: a, to: 192.168.2.7}", "192.168.2.7, expected an address in 192.168.1.0/24"),
        ("{host: a, to: 192.168.1.255}", "expected a host's address in 192.168.1.0/24, not the broadcast address"),
        ("{host: a, to: fd00::7}", "expected an address in 192.168.1.0/24"),
        ("{host: a, to: elsewhere}", "elsewhere"),
        ("{host: a, to: 192.168.1.3}", "an address of its own: b has it already"),
        ("{host: a, to: 192.168.1.1}", "an address of its own: gw has it already"),
        ("{host: a, to: 192.168.1.2}", "another address: a has this one from the beginning"),
        ("{host: a, to: 192.168.1.7, network: y}", "'y', expected a network of a: x"),
        ("{host: both, to: 192.168.1.7}", "no network, expected `network`, one of x, y"),
        ("{host: a, to: 192.168.1.7, for: 0}", "it would end as it begins"),
    ],
)
def test_what_makes_no_sense_is_said(step: str, message: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(f"{HEAD}  - address: {step}\n")
    (problem,) = raised.value.problems
    assert message in str(problem)


@pytest.mark.parametrize(
    "steps",
    [
        ["{host: a, to: 192.168.1.7}"],
        ["{host: both, to: 192.168.2.7, network: y, for: 5s}"],
        ["{host: six, to: 'fd00::7'}"],
        ["{host: a, to: 192.168.1.7}", "{host: a, to: 192.168.1.2}"],
    ],
)
def test_what_makes_sense_is_taken_and_machines_refuse_it(steps: list[str]) -> None:
    scenario = resolve(parse(HEAD + "".join(f"  - address: {step}\n" for step in steps)))
    assert step_refusals(scenario, "netns") == []
    assert any("timeline[1].address: machines of the vagrant backend keep" in why for why in refusals(scenario))

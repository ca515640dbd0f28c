"""What a backend lacks it refuses, in the words of the table in docs/scenarios.md; the rest it does not refuse."""

import pytest

from lab.backends.real.fabric_lab import refusals as on_fabric
from lab.backends.simulated.backend import SimBackend
from lab.backends.vagrant.backend import refusals as on_machines
from lab.kinds.abilities import ABILITIES
from lab.kinds.backends import BACKENDS, lacking
from lab.kinds.probes import PROBES
from lab.kinds.verbs import VERBS
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve

HEAD = """
version: 1
underlay: {hosts: {a: {}, b: {}}}
services: {web: {image: ksahnine/dummy-http, hosts: all, replicas: 2}}
timeline:
  - launch: all
"""
STEPS = {
    "address": "{address: {host: a, to: 192.168.0.77}}",
    "carrier": "{flap: {host: a, every: 2s, for: 4s}}",
    "clock": "{clock: {host: a, offset: 1s}}",
    "disk": "{slow_disk: {host: a}}",
    "engine": "{kill: {engine: a}}",
    "full": "{slow_disk: {host: a, full: true}}",
    "links": "{link: {from: a, to: b, delay: 5ms}}",
    "live-restore": "{kill: {engine: a, live_restore: true}}",
    "packets": "{capture: {on: a}}",
    "signals": "{pause: a}",
    "stress": "{stress: {host: a, cores: 1}}",
}
"""A step for each ability that steps need."""
NAMES = [kind.name for kind in BACKENDS]


def refused(name: str, scenario: Resolved) -> list[str]:
    if name == "sim":
        return SimBackend().refuse(scenario)
    return on_machines(scenario) if name == "vagrant" else on_fabric(scenario, name)


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_speaks_of_every_ability_once(name: str) -> None:
    kind = BACKENDS.get(name)
    assert not kind.can.keys() & kind.lacks.keys()
    assert kind.can.keys() | kind.lacks.keys() == ABILITIES.keys()
    assert ("foreign-probes" in kind.can) == kind.shares_python
    assert all("; " in why for why in kind.lacks.values()), "each says what to do instead"


def test_steps_need_what_is_in_the_list() -> None:
    # A cable needs an underlay with a topology, which is refused as a whole where there can be none.
    assert {need for verb in VERBS for need in verb.needs} == STEPS.keys() | {"topology"} <= ABILITIES.keys()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("need", STEPS)
def test_a_step_is_refused_where_its_ability_lacks_and_only_there(name: str, need: str) -> None:
    reasons = [one for one in refused(name, resolve(parse(f"{HEAD}  - {STEPS[need]}\n"))) if "timeline" in one]
    why = lacking(name).get(need)
    assert reasons == ([f"timeline[1].{STEPS[need][1:].partition(':')[0]}: {why}"] if why else [])


@pytest.mark.parametrize("name", NAMES)
def test_the_rest_that_lacks_is_refused_before_anything_starts(name: str) -> None:
    machine = HEAD.replace("hosts: {a: {}, b: {}}", "hosts: {a: {}, b: {}}, machine: {cores: 2, per_message: 50us}")
    told = "\n".join(refused(name, resolve(parse(machine))))
    assert ("underlay.machine: " in told) == ("machine" in lacking(name))
    networks = "networks: {x: {subnet: 192.168.1.0/24}, y: {subnet: 192.168.2.0/24}}"
    hosts = "hosts: {a: {network: x}, b: {network: y}}, routers: {gw: {networks: [x, y]}}"
    told = "\n".join(refused(name, resolve(parse(HEAD.replace("hosts: {a: {}, b: {}}", f"{networks}, {hosts}")))))
    assert ("underlay.routers.gw: " in told) == ("routers" in lacking(name))
    links = "links: {default: {correlation: 20%, delay: 5ms, jitter: 1ms}}"
    ordered = HEAD.replace("hosts: {a: {}, b: {}}", "hosts: {a: {}, b: {}}, " + links)
    told = "\n".join(refused(name, resolve(parse(ordered))))
    assert ("underlay.links: " in told) == ("models" in lacking(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [one.name for one in PROBES if not PROBES.package_of(one.name) and one.name != "load"])
def test_no_backend_refuses_a_probe_of_the_lab(name: str, kind: str) -> None:
    asked = "name: web.weave.local" if kind == "dns" else "to: web"
    probes = f"probes: [{{kind: {kind}, from: web, {asked}, every: 2s}}]\ntimeline:"
    assert refused(name, resolve(parse(HEAD.replace("timeline:", probes)))) == []

"""Inputs from public bug reports come to the same verdict on simulated hosts and on real packets.

What is refused is refused before a backend is asked (`tests/unit/scenario`); here is what is accepted.
"""

import asyncio
import io
import json
from pathlib import Path

import pytest
from netns_labs import require_netns

from lab.backends.netns import NetnsBackend
from lab.backends.simulated.backend import SimBackend
from lab.records.history import Writer
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import load_resolved
from lab.scenario.resolve import Resolved

_LONG = "x" + "0123456789" * 5 + "abcdefghi"
_IMAGE = "image: ksahnine/dummy-http"

_SMALL_NETWORKS = """
version: 1
underlay:
  networks: {two: {subnet: 10.9.0.0/31}, four: {subnet: 10.9.1.0/30}, six: {subnet: "fd00:9::/127"}}
  hosts:
    a: {networks: {two: 10.9.0.0, four: 10.9.1.1, six: "fd00:9::"}}
    b: {network: two, address: 10.9.0.1}
    c: {network: four}
    d: {network: six}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 4}}
timeline:
  - launch: all
  - connect: {from: a, to: [b, c, d]}
  - run: all
  - expect: {reachable: all, converged: all, within: 90s}
"""

_OVERLAPS = f"""
version: 1
underlay: {{networks: {{lan: {{subnet: 10.0.0.0/8}}}}, hosts: {{a: {{}}, b: {{}}}}}}
overlay: {{options: {{iprange: 10.0.0.0/24, dns: false}}}}
services:
  {_LONG}: {{{_IMAGE}, args: [web], replicas: 4}}
  own: {{{_IMAGE}, args: [own], host: a, address: 10.0.7.2/24}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{reachable: all, converged: all, within: 90s}}
"""

_NAMES_AND_ENGINES = f"""
version: 1
underlay: {{networks: {{lan: {{subnet: 172.17.0.0/16}}}}, hosts: {{a: {{}}, b: {{}}}}}}
services:
  db.prod: {{{_IMAGE}, args: [prod], host: a}}
  db.test: {{{_IMAGE}, args: [test], host: b}}
  {_LONG}: {{{_IMAGE}, args: [1.10], host: a}}
  x: {{{_IMAGE}, args: [one], host: b, replicas: 1}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{reachable: all, converged: all, within: 90s}}
  - expect: {{dns: {{name: db.prod.weave.local, answers: 1}}, within: 90s}}
  - expect: {{dns: {{name: {_LONG}.weave.local, answers: 1}}, within: 90s}}
  - expect: {{dns: {{name: db.weave.local, answers: 0}}, within: 90s}}
  - expect: {{http: {{from: db.test, url: "http://db.prod:8080/", body: "\\\\[prod\\\\]"}}, within: 90s}}
  - expect: {{http: {{from: x, url: "http://{_LONG}:8080/", body: "\\\\[1.10\\\\]"}}, within: 90s}}
"""

_LAUNCH_LOOKS_AT_ROUTES = """
version: 1
underlay: {networks: {lan: {subnet: 10.0.0.0/8}}, hosts: {a: {}}}
overlay: none
timeline:
  - exec: {host: a, command: [weave, launch, --no-dns], expect: {code: 1}}
  - exec: {host: a, command: [weave, launch, --no-dns, -iprange, 10.2.0.0/16]}
  - exec: {host: a, command: [weave, launch, --no-dns, -iprange, 10.2.0.0/16]}
  - exec: {host: a, command: [weave, reset]}
  - exec: {host: a, command: [weave, launch, --no-dns, -iprange, 127.0.0.0/8], expect: {code: 2}}
  - exec: {host: a, command: [weave, launch, --no-dns, -iprange, 192.168.0.0/16]}
"""

_TWO_PIECES = """
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}, edges: [[a, b]]}
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 1s}
"""

INPUTS = {
    "small networks": (_SMALL_NETWORKS, "valid", ""),
    "overlaps and long names": (_OVERLAPS, "valid", ""),
    "names with dots, an engine's pool": (_NAMES_AND_ENGINES, "valid", ""),
    "launch looks at routes": (_LAUNCH_LOOKS_AT_ROUTES, "valid", ""),
    "a graph in two pieces": (_TWO_PIECES, "invalid", "the graph is in 2 pieces"),
}


def _simulated(scenario: Resolved) -> tuple[str, str]:
    backend = SimBackend()
    outcome = backend.run(Runner(scenario, backend, Writer(io.BytesIO())).run())
    return outcome.verdict, outcome.reason


def _on_packets(scenario: Resolved, result: Path) -> tuple[str, str]:
    require_netns()
    backend = NetnsBackend()

    def work() -> int:
        outcome: RunOutcome = asyncio.run(Runner(scenario, backend, Writer(io.BytesIO())).run())
        result.write_text(json.dumps([outcome.verdict, outcome.reason]))
        return 0

    assert backend.inside(work, name=result.stem) == 0
    verdict, reason = json.loads(result.read_text())
    return verdict, reason


@pytest.mark.parametrize("backend", ["sim", "netns"])
@pytest.mark.parametrize("what", INPUTS)
def test_comes_to_the_same_on_simulated_hosts_and_on_real_packets(what: str, backend: str, tmp_path: Path) -> None:
    text, verdict, words = INPUTS[what]
    file = tmp_path / "input.yaml"
    file.write_text(text)
    scenario = load_resolved(file)
    found = _simulated(scenario) if backend == "sim" else _on_packets(scenario, tmp_path / "result.json")
    assert found[0] == verdict, found
    assert words in found[1]

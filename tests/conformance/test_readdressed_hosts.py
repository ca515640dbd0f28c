"""`address`: everything that names a host's address follows, in the simulator and on real packets alike."""

from pathlib import Path

import pytest
from both_backends import BACKENDS, played

HEAD = """
version: 1
underlay:
  networks: {office: {subnet: 192.168.1.0/24}, wan: {subnet: 192.168.2.0/24}}
  hosts:
    a: {network: office, address: 192.168.1.2}
    b: {network: office, address: 192.168.1.3}
    c: {network: wan, address: 192.168.2.2}
  routers: {gw: {networks: [office, wan]}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a}
  two: {image: ksahnine/dummy-http, args: [two], host: b}
  three: {image: ksahnine/dummy-http, args: [three], host: c}
probes:
  - {kind: http, every: 100ms, timeout: 500ms}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s}
"""
CASES = {
    "names, neighbours and routes": """
  - address: {host: b, to: 192.168.1.77}
  - exec: {host: a, command: [ping, -c, "1", -W, "2", b]}
  - exec: {host: c, command: [ping, -c, "1", -W, "2", b]}
  - exec: {host: b, command: [ping, -c, "1", -W, "2", c]}
  - exec: {host: a, command: [ping, -c, "1", -W, "1", 192.168.1.3], expect: {code: 1}}
  - exec: {host: c, command: [ping, -c, "1", -W, "1", 192.168.1.3], expect: {code: 1}}
  - expect: {converged: all, reachable: all, within: 90s}
  # Off and on again: it boots with the address that it has by now.
  - kill: {host: b}
  - restart: {host: b}
  - exec: {host: a, command: [ping, -c, "1", -W, "2", 192.168.1.77]}
  - exec: {host: b, command: [ping, -c, "1", -W, "2", b]}
  - expect: {converged: all, reachable: all, within: 90s}
""",
    "a cut over a router, that was there before and comes again": """
  - partition: {groups: [[c], [a, b]]}
  - address: {host: b, to: 192.168.1.77}
  - exec: {host: c, command: [ping, -c, "1", -W, "1", 192.168.1.77], expect: {code: 1}}
  - exec: {host: a, command: [ping, -c, "1", -W, "2", 192.168.1.77]}
  - heal: all
  - exec: {host: c, command: [ping, -c, "1", -W, "2", 192.168.1.77]}
  - partition: {one_way: {from: b, to: c}}
  - exec: {host: c, command: [ping, -c, "1", -W, "1", b], expect: {code: 1}}
  - heal: all
  - link: {from: c, to: b, loss: 100%, for: 4s}
  - address: {host: b, to: 192.168.1.78}
  - exec: {host: c, command: [ping, -c, "1", -W, "1", b], expect: {code: 1}}
  - expect: {converged: all, reachable: all, within: 90s}
""",
    "two at once on one host, which end one after the other": """
  - address: {host: b, to: 192.168.1.77, for: 3s}
  - address: {host: b, to: 192.168.1.78, for: 1s}
  - exec: {host: c, command: [ping, -c, "1", -W, "2", 192.168.1.78]}
  - wait: 2s
  - exec: {host: c, command: [ping, -c, "1", -W, "1", 192.168.1.78], expect: {code: 1}}
  - wait: 2s
  - exec: {host: a, command: [ping, -c, "1", -W, "2", 192.168.1.3]}
  - expect: {converged: all, reachable: all, within: 90s}
""",
}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_what_names_the_address_follows(case: str, name: str, tmp_path: Path) -> None:
    outcome = played(HEAD + CASES[case], name, tmp_path)
    assert outcome.verdict != "invalid", outcome.reason  # a busy machine may leave it unknown

"""`weave check` on simulated hosts: the same command and the same judgements, of what the router itself knows."""

import io

from lab.backends.simulated.backend import SimBackend
from lab.records.history import Writer
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

SCENARIO = """
version: 1
underlay:
  hosts: {a: {}, b: {}}
services:
  left: {image: ksahnine/dummy-http, args: [left], host: a}
  right: {image: ksahnine/dummy-http, args: [right], host: b}
timeline:
  - exec: {host: a, command: weave check, expect: {code: 1, stdout: "WRONG router +the router does not run"}}
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 20s}
  - wait: 10s
  - exec: {host: a, command: weave check, expect: {code: 0, stdout: "ok +ports +UDP passes to and from b"}}
  - exec: {host: a, command: weave check, expect: {code: 0, stdout: "nothing is wrong"}}
  - exec: {host: a, command: weave check, expect: {stdout: "ok +clocks +less than 1 s off, neighbours asked: 1"}}
  - block: {udp: 6784}
  - wait: 30s
  - exec: {host: a, command: weave check, expect: {code: 1, stdout: "WRONG ports +nothing of b"}}
  - exec: {host: a, command: weave check, expect: {code: 1, stdout: "1 wrong, "}}
  - exec: {host: a, command: weave check --json, expect: {code: 1, stdout: "iptables -I INPUT -p udp --dport 6784"}}
  - clock: {host: b, offset: 90s}
  - wait: 20s
  - exec: {host: a, command: weave check, expect: {code: 1, stdout: "WRONG clocks +the clock of b is 90 s ahead"}}
  - exec: {host: b, command: weave check, expect: {code: 1, stdout: "WRONG clocks +the clock of a is 90 s behind"}}
"""


def test_a_simulated_host_is_checked_by_what_its_router_knows() -> None:
    scenario = resolve(parse(SCENARIO), seed=1)
    backend = SimBackend()
    assert backend.refuse(scenario) == []
    outcome: RunOutcome = backend.run(Runner(scenario, backend, Writer(io.BytesIO())).run())
    assert (outcome.verdict, outcome.reason) == ("valid", "")

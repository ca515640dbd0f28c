"""Policies on whole simulated hosts: what people type, what they are told, and that packets obey on both sides."""

import io
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from lab.backends.simulated.backend import SimBackend, SimLab
from lab.records.history import Writer
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve
from lab.sim.kernel import BridgePort
from overlay.compiled_policy import CompiledPolicy
from overlay.effects import SetPolicy

SECOND = 1_000_000_000
HEAD = """
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}}
overlay: {kind: weave, options: {OPTIONS}}
services:
  web: {image: ksahnine/dummy-http, args: [web], host: a, labels: {role: front, env: prod}}
  api: {image: ksahnine/dummy-http, args: [api], host: b, labels: {role: front}}
  db: {image: ksahnine/dummy-http, args: [db], host: b, labels: {env: prod}}
  guest: {image: ksahnine/dummy-http, args: [guest], host: c}
probes:
  - {kind: http, from: all, to: all, every: 200ms, timeout: 500ms}
  - {kind: icmp, from: guest, to: [web, db], every: 200ms, timeout: 500ms}
timeline:
  - launch: all
  - connect: all
  - run: all
"""


class Watched(SimBackend):
    """The lab is kept; something may be done to it some seconds into the run."""

    def __init__(self, at: int = 0, act: Callable[[SimLab], None] = lambda lab: None) -> None:
        self._at, self._act = at, act

    async def up(self, scenario: Resolved) -> SimLab:
        self.lab = await super().up(scenario)
        if self._at:
            self.lab.world.scheduler.at(self._at, self._act, self.lab)
        return self.lab


def play(*steps: str, options: str = "", backend: Watched | None = None) -> tuple[RunOutcome, SimLab]:
    text = HEAD.replace("OPTIONS", options) + "".join(f"  - {step}\n" for step in steps)
    backend = backend or Watched()
    outcome = backend.run(Runner(resolve(parse(text)), backend, Writer(io.BytesIO())).run())
    return outcome, backend.lab


def weave(host: str, words: str, stdout: str = "", code: int = 0) -> str:
    expect = f", stdout: '{stdout}'" if stdout else ""
    return f"exec: {{host: {host}, command: 'weave {words} 2>&1', expect: {{code: {code}{expect}}}}}"


UP = "expect: {converged: all, within: 30s}"


def test_what_is_typed_on_one_host_holds_on_all() -> None:
    outcome, lab = play(
        UP,
        weave("a", "policies", "default: allow what none of them decides"),
        weave("a", "deny from role=front to db", r"^deny from role=front to db \(2 to 1\)$"),
        weave("c", "allow from web to db:8080/tcp", r"^allow from web to db:8080/tcp \(1 to 1\)$"),
        weave("b", "deny from peer:c to 10.32.0.0/12/icmp"),
        "expect: {unreachable: {from: api, to: db}, within: 5s}",
        "expect: {reachable: {from: web, to: db}, within: 5s}",
        "exec: {service: guest, command: ping -c1 -W1 db, expect: {code: 1}}",
        "expect: {http: {from: guest, url: 'http://db:8080/', body: '.'}, within: 5s}",
        weave(
            "b", "policies", r"1  allow from web to db:8080/tcp +1 +1  c\n +2  deny from role=front to db +2 +1  a\n"
        ),
        weave("b", "policies --explain guest web/icmp", "denied by `deny from peer:c to 10.32.0.0/12/icmp`"),
        weave("a", "policies --explain api db", "denied by `deny from role=front to db`"),
        weave("a", "status", "Policy: 3 policies, default allow, enforced .simulated.; all peers agree"),
        weave("a", "policies --remove 1 3", r"(?s)allow from web to db:8080/tcp\ndeny from peer:c to"),
        "expect: {unreachable: {from: [web, api], to: db}, within: 5s}",
        "expect: {reachable: {from: guest, to: [web, db]}, within: 5s}",
        weave("c", "deny --remove from role=front to db"),
        UP,
        weave("c", "policies", "^default: allow"),
    )
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    assert all(host.kernel.policy.empty for host in lab.hosts.values()), "nothing is left in any kernel"


def test_mistakes_are_said_and_nothing_is_changed() -> None:
    outcome, _ = play(
        UP,
        weave("a", "deny from wbe to db", "no container is called `wbe`, did you mean `web`.. Nothing is changed", 1),
        weave("a", "deny from role=fornt to db", "no container has the label", 1),
        weave("a", "deny from web to db:90-80", "ports `90-80` contradict themselves", 1),
        weave("a", "deny from web to", "expected `weave deny from X to Y", 2),
        weave("a", "deny form web to db", "found `form`, did you mean `from`", 2),
        weave("a", "deny --forse from web to db", "has no flag `--forse`, did you mean `--force`", 2),
        weave("a", "deny from all to all:53", "the overlay.s own DNS answers in spite of it", 1),
        weave("a", "deny from all to 172.17.0.1", "the overlay.s own DNS answers at 172.17.0.1", 1),
        weave("a", "policies --remove 7", "there is no policy 7: there are none", 1),
        weave("a", "policies --explain nobody db", "`nobody` is nobody now", 1),
        weave("a", "allow --remove from web to db", "there is no policy `allow from web to db`; `weave policies`", 1),
        weave("a", "policies", "^default: allow"),
        weave("a", "allow from web to db"),
        weave("b", "deny from web to db", "`allow from web to db` says the opposite, and would be replaced", 1),
        weave("b", "deny from env=prod to role=front", "no container|deny from env=prod"),
        weave("b", "allow from role=front to role=front", "as specific and says the opposite", 1),
        weave("b", "deny --remove from web to db", "there is no policy `deny from web to db`: there is `allow", 1),
        weave("b", "deny --force from web to db", "says the opposite"),
        weave("a", "policies", "deny from web to db"),
        weave("a", "deny --force from later to db"),
        weave("a", "policies --explain web db", "denied by `deny from web to db`"),
        "wait: 1s",
        weave("c", "policies", r"(?s) 1  deny from later to db .* 2  deny from web to db .* 3  deny from env=prod"),
    )
    assert (outcome.verdict, outcome.reason) == ("valid", "")


def test_a_network_that_is_closed_from_the_start() -> None:
    outcome, _ = play(
        "expect: {unreachable: {from: web, to: [api, db, guest]}, within: 5s}",
        "expect: {dns: {name: db.weave.local, answers: 1, from: all}, within: 10s}",
        weave("a", "status", "Policy: 0 policies, default deny, enforced .simulated.; all peers agree"),
        weave("a", "policies --explain web db:8080", "denied by default"),
        weave("b", "allow from role=front to db:8080"),
        "expect: {reachable: {from: [web, api], to: db}, within: 5s}",
        "expect: {unreachable: {from: guest, to: db}, within: 5s, for: 1s}",
        "kill: {daemon: c, for: 1s}",
        "wait: 3s",
        "expect: {unreachable: {from: guest, to: [db, web]}, within: 5s, for: 1s}",
        "reset: c",
        "launch: {hosts: [c], options: {default-deny: false}}",
        "connect: {from: c, to: [a, b]}",
        "wait: 3s",
        weave("a", "status", r"1 of 2 other peers differ\n(?s:.)*Trouble: policies: c is launched without --default"),
        options="default-deny: true",
    )
    assert (outcome.verdict, outcome.reason) == ("valid", "")


@pytest.mark.parametrize("host", ["b", "c"])
def test_one_of_the_two_hosts_suffices_and_none_is_found_out(host: str) -> None:
    """The receiver drops what the sender lets out, and the sender what the receiver would take; without both, packets
    pass against a policy that all have agreed on, which the simulator notices."""

    def open_one(lab: SimLab) -> None:
        lab.hosts[host].kernel.set_policy(SetPolicy(CompiledPolicy()))

    def open_both(lab: SimLab) -> None:
        for name in ("b", "c"):
            lab.hosts[name].kernel.set_policy(SetPolicy(CompiledPolicy()))

    steps = (
        UP,
        weave("a", "deny from guest to db"),
        "expect: {unreachable: {from: guest, to: db}, within: 5s}",
        "wait: 10s",
        "expect: {unreachable: {from: guest, to: db}, within: 1s}",
    )
    outcome, _ = play(*steps, backend=Watched(8 * SECOND, open_one))
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    outcome, _ = play(*steps, backend=Watched(8 * SECOND, open_both))
    assert outcome.verdict == "invalid" and outcome.reason.startswith("invariant: policy: "), outcome.reason


def test_a_new_container_is_known_to_the_packet_filter_before_it_is_plugged_in() -> None:
    known: list[bool] = []

    def watch(lab: SimLab) -> None:
        kernel = lab.hosts["b"].kernel
        before = kernel.plug

        def plug(port: BridgePort) -> None:
            (address,) = map(ip_address, port.addresses)
            known.append(not kernel.policy.decide(address, address, "tcp", 1)[0])
            before(port)

        kernel.plug = plug  # type: ignore[method-assign]

    outcome, _ = play(
        UP,
        "remove: [db]",
        weave("a", "deny --force from all to env=prod"),
        "wait: 10s",
        "run: [db]",
        "expect: {unreachable: {from: guest, to: db}, within: 5s}",
        backend=Watched(8 * SECOND, watch),
    )
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    assert known == [True]


def policy_of(lab: SimLab, host: str) -> Any:
    return lab.hosts[host].kernel.policy


def test_a_daemon_that_starts_again_enforces_at_once_all_that_it_knew() -> None:
    """Its kernel goes on meanwhile; then it knows other hosts' containers from its disk, before it hears of any."""
    seen: list[CompiledPolicy] = []

    def look(lab: SimLab) -> None:
        seen.append(policy_of(lab, "b"))

    def cut(lab: SimLab) -> None:
        look(lab)
        kernel = lab.hosts["b"].kernel
        before = kernel.set_policy

        def note(effect: SetPolicy) -> None:
            seen.append(effect.policy)
            before(effect)

        daemon = lab.hosts["b"].daemon
        assert daemon is None, "it is down"
        kernel.set_policy = note  # type: ignore[method-assign]

    outcome, _ = play(
        UP,
        weave("a", "deny from all to db"),
        weave("a", "allow from web to db:8080"),
        "expect: {unreachable: {from: guest, to: db}, within: 5s}",
        "wait: 15s",
        "partition: {isolate: b, for: 12s}",
        "kill: {daemon: b, for: 4s}",
        "wait: 20s",
        "expect: {reachable: {from: web, to: db}, within: 10s}",
        "expect: {unreachable: {from: guest, to: db}, within: 5s}",
        backend=Watched(19 * SECOND, cut),
    )
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    assert len(seen[0].rules) == 3 and len(seen) >= 2
    assert all([rule.name for rule in each.rules] == [rule.name for rule in seen[0].rules] for each in seen)

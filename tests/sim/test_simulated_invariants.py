"""What must hold of all peers is looked at as a simulated run goes; what breaks it on purpose is found and named."""

import io
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from lab.backends.simulated.backend import SimBackend, SimLab
from lab.checkers import check
from lab.records.history import AnyRecord, Event, Writer, decode
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve
from lab.sim.kernel import BridgePort
from overlay.dns.registry import NameRegistry
from overlay.effects import Effect, SetFlood
from overlay.ipam.paxos import Agreement
from overlay.ipam.ring import Ring
from overlay.wire.ring import Ballot, Promise, Token

SECOND = 1_000_000_000
SCENARIO = """
version: 1
underlay: {hosts: {a: {}, b: {}}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a}
  two: {image: ksahnine/dummy-http, args: [two], host: b}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 10s}
  - wait: 90s
"""


class Sabotaged(SimBackend):
    """Something goes wrong five seconds into the run."""

    def __init__(self, sabotage: Callable[[SimLab], None]) -> None:
        self._sabotage = sabotage
        self.looked = 0

    async def up(self, scenario: Resolved) -> SimLab:
        lab = await super().up(scenario)
        lab.world.scheduler.at(5 * SECOND, self._sabotage, lab)
        self.lab = lab
        return lab


def played(sabotage: Callable[[SimLab], None], text: str = SCENARIO) -> tuple[RunOutcome, list[AnyRecord], SimLab]:
    backend, history = Sabotaged(sabotage), io.BytesIO()
    outcome = backend.run(Runner(resolve(parse(text)), backend, Writer(history)).run())
    return outcome, [decode(line) for line in history.getvalue().splitlines()], backend.lab


def nothing(lab: SimLab) -> None:
    """All goes well."""


def address_twice(lab: SimLab) -> None:
    ours = next(iter(lab.hosts["a"].kernel.ports.values()))
    theirs = next(iter(lab.hosts["b"].kernel.ports.values()))
    lab.hosts["b"].kernel.plug(BridgePort(theirs.container, theirs.mac, ours.addresses, ours.cidrs))


def mac_twice(lab: SimLab) -> None:
    ours = next(iter(lab.hosts["a"].kernel.ports.values()))
    theirs = next(iter(lab.hosts["b"].kernel.ports.values()))
    lab.hosts["b"].kernel.plug(BridgePort(theirs.container, ours.mac, theirs.addresses, theirs.cidrs))


def flood_twice(lab: SimLab) -> None:
    other = lab.hosts["b"].address
    lab.hosts["a"].kernel.set_flood(SetFlood((other, other)))


def flood_to_itself(lab: SimLab) -> None:
    lab.hosts["a"].kernel.set_flood(SetFlood((lab.hosts["a"].address,)))


def contradiction(lab: SimLab) -> None:
    node = lab.world.peers["a"].node
    assert node is not None
    node.registry._digest ^= 1
    lab.invariants.peer_changed("a")


def test_nothing_is_found_where_nothing_is_wrong_and_little_is_looked_at() -> None:
    outcome, _, lab = played(nothing)
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    assert not lab.violation.done()
    assert 3 <= lab.invariants.looked <= 40, "once when something changed, not at every event"


@pytest.mark.parametrize(
    ("sabotage", "what", "hosts"),
    [
        (address_twice, "address twice", ["a", "b"]),
        (mac_twice, "duplicate delivery", ["a", "b"]),
        (flood_twice, "duplicate delivery", ["a"]),
        (flood_to_itself, "forwarding loop", ["a"]),
        (contradiction, "contradiction", ["a"]),
    ],
)
def test_violation_ends_the_run_and_says_what_who_and_when(
    sabotage: Callable[[SimLab], None], what: str, hosts: list[str]
) -> None:
    outcome, records, _ = played(sabotage)
    assert outcome.verdict == "invalid" and outcome.reason.startswith(f"invariant: {what}: ")
    event = next(record for record in records if isinstance(record, Event) and record.what == "invariant")
    assert event.ok is False and event.detail["hosts"] == hosts and 5 * SECOND <= event.t < 8 * SECOND
    assert all(host in event.detail["error"] for host in hosts)
    assert check(records).verdict == "invalid"
    if what == "address twice":
        assert event.detail["addresses_concerned"][0] in event.detail["error"]


def test_beliefs_that_stay_apart_when_nothing_moves_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(lab: SimLab) -> None:
        monkeypatch.setattr(NameRegistry, "dns_digest", property(id))

    outcome, _, _ = played(apart)
    assert outcome.verdict == "invalid" and "differ about names, 60 s after anything moved" in outcome.reason


def test_address_that_two_people_typed_is_no_violation() -> None:
    outcome, _, _ = played(
        nothing,
        SCENARIO.replace("host: a}", "host: a, address: 10.0.1.1/24}").replace(
            "- wait: 90s", "- exec: {host: b, command: weave attach 10.0.1.1/24 two}\n  - wait: 90s"
        ),
    )
    assert (outcome.verdict, outcome.reason) == ("valid", "")


def test_too_many_peers_are_refused_with_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = resolve(parse("version: 1\nunderlay: {generate: {kind: ring, hosts: 5000}}\ntimeline: [{wait: 1s}]\n"))
    monkeypatch.setattr("lab.backends.simulated.backend.free_memory", lambda: 4 << 30)
    (reason,) = SimBackend().refuse(scenario)
    assert "5000 simulated peers with 5000 connections" in reason and "4.0 GiB are free" in reason
    monkeypatch.setattr("lab.backends.simulated.backend.free_memory", lambda: 64 << 30)
    assert SimBackend().refuse(scenario) == []


COLD = """
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}, d: {}}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a}
  two: {image: ksahnine/dummy-http, args: [two], host: d}
timeline:
  - launch: all
  - partition: {groups: [[a, b], [c, d]], for: 20s}
  - connect: all
  - run: all
  - expect: {converged: all, within: 60s}
"""


def test_two_agreements_of_one_network_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each half of four peers divides the range by itself, because it asks for a majority of the reachable only."""
    cold = COLD.replace("- run: all", "- wait: 21s\n  - run: all")
    outcome, _, _ = played(nothing, cold)
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    monkeypatch.setattr(Agreement, "quorum", lambda self, now: len(self._electors()) // 2 + 1)
    outcome, _, _ = played(nothing, COLD)
    assert "two agreements: " in outcome.reason and "each needed 3 peers to agree" in outcome.reason
    # Two networks that were launched as such may.
    text = COLD.replace("- launch: all", "- launch: {hosts: [a, b], options: {init: consensus=2}}\n"
                        "  - launch: {hosts: [c, d], options: {init: consensus=2}}")  # fmt: skip
    assert "two agreements" not in played(nothing, text)[0].reason


SCARCE = """
version: 1
underlay: {hosts: {a: {}, b: {}}, links: {default: {delay: 150ms}}}
overlay: {kind: weave, options: {iprange: 10.32.0.0/29}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a}
  two: {image: ksahnine/dummy-http, args: [two], host: b, replicas: 4}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 10s}
"""


def test_an_owner_that_changes_its_range_without_a_new_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(nothing, SCARCE)[0].verdict == "valid"

    def written(self: Ring, tokens: list[Token]) -> list[Token]:
        tokens = [replace(token, version=0) for token in tokens]
        for token in tokens:
            self._put(token)
        return tokens

    monkeypatch.setattr(Ring, "_write", written)
    assert "invariant: ring goes back: " in played(nothing, SCARCE)[0].reason


def test_a_second_agreement_is_found_though_nobody_may_ever_learn_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}, links: {default: {delay: 150ms}}}
timeline:
  - launch: all
  - connect: all
  - wait: 2s
  - exec: {host: a, command: "weave prime; sleep 60", expect: {code: 124}, timeout: TURNS}
  - partition: {isolate: [a], for: 10s}
  - exec: {host: b, command: "weave prime; sleep 60", expect: {code: 124}, timeout: 10s}
  - expect: {converged: all, within: 30s}
"""
    turns = ("400ms", "550ms", "700ms", "850ms")
    assert all(played(nothing, text.replace("TURNS", turn))[0].verdict == "valid" for turn in turns)
    promise = Agreement._promise

    def forgetful(self: Agreement, ballot: Ballot) -> tuple[list[Effect], Promise]:
        return promise(self, ballot)[0], Promise(ballot, None, None)

    monkeypatch.setattr(Agreement, "_promise", forgetful)
    reasons = [played(nothing, text.replace("TURNS", turn))[0].reason for turn in turns]
    assert any("two agreements: " in reason and "after a majority" in reason for reason in reasons), reasons


def test_a_name_that_outlives_its_container_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SCENARIO.replace("  - wait: 90s", "  - remove: [one]\n  - wait: 90s")
    assert played(nothing, text)[0].verdict == "valid"
    monkeypatch.setattr(NameRegistry, "_unregister", lambda self, input: [])
    reason = played(nothing, text)[0].reason
    assert "name outlives its container: " in reason and "one.weave.local" in reason


def test_a_peer_whose_dial_was_cut_off_before_the_first_frame_dials_again() -> None:
    """A daemon is told that the dial has failed; the simulator said that an unknown connection had ended."""
    text = """
version: 1
underlay: {hosts: {a: {}, b: {}}, links: {default: {delay: 150ms}}}
timeline:
  - launch: all
  - connect: all
  - wait: TURNS
  - partition: {isolate: [a], for: 2s}
  - wait: 3s
  - expect: {converged: all, within: 30s}
"""
    for turns in ("100ms", "250ms", "350ms", "450ms"):
        assert played(nothing, text.replace("TURNS", turns))[0].verdict == "valid", turns

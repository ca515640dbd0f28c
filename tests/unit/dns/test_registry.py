"""The registry: what is answered follows the map, the reachable peers and the quarantine, whatever comes in between."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.config import Config
from overlay.dns.names import address_of_reverse, check_name
from overlay.dns.registry import NameRegistry
from overlay.effects import Log, Persist
from overlay.errors import EnvironmentProblem, UsageError
from overlay.inputs import (
    Detached,
    OriginChanged,
    PeerForgotten,
    PeerLeft,
    PeersChanged,
    QuarantineChanged,
    RegisterName,
    UnregisterName,
)
from overlay.replicated.origin_map import OriginMap
from overlay.wire.origins import EndpointValue, NameValue

A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"


def make(name=A, stored=None):
    registry = NameRegistry(Config(name=name, nickname=name), 1, stored or {})
    return registry, registry.start(0)


def tell(registry, delta):
    _, effects = registry.channel.merge(delta, 0)
    for effect in effects:
        assert isinstance(effect.input, OriginChanged)
        registry.handle(effect.input, 0)


names = st.sampled_from(["a.weave.local.", "A.weave.local.", "b.weave.local."])
addresses = st.sampled_from(["10.0.1.1", "10.0.1.2", "fd00::1", "nonsense"])
containers = st.sampled_from(["c1", "c2"])
steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from([B, C]), names, addresses, containers),
    st.tuples(st.just("remove"), st.sampled_from([B, C]), names, addresses, containers),
    st.builds(lambda c, n, a: RegisterName(c, n, a), containers, names, addresses),
    st.builds(UnregisterName, containers, st.just("") | names, st.just("") | addresses),
    st.builds(Detached, containers),
    st.sets(st.sampled_from([B, C])).map(lambda peers: PeersChanged(tuple(sorted({A, *peers})))),
    st.builds(PeerLeft, st.sampled_from([A, B, C])),
    st.builds(PeerForgotten, st.sampled_from([B, C])),
    st.tuples(st.just("quarantine"), st.sampled_from([A, B, C]), containers, st.sampled_from(["10.0.1.1", "fd00::1"])),
)


@given(st.lists(steps, max_size=30))
@settings(max_examples=300, deadline=None)
def test_the_index_follows_everything(sequence):
    registry, _ = make()
    others = {B: OriginMap("dns", B, 1), C: OriginMap("dns", C, 1)}
    quarantine: set[Any] = set()
    for step in sequence:
        if not isinstance(step, tuple):
            registry.handle(step, 0)
        elif step[0] == "quarantine":
            registry.handle(QuarantineChanged(*(((), (step[1:],)) if step[1:] in quarantine else ((step[1:],), ()))), 0)
            quarantine ^= {step[1:]}
        else:
            act, peer, name, address, container = step
            key = f"{name.lower()} {address} {container}"
            delta = (
                others[peer].put(key, NameValue(name, address, container)) if act == "put" else others[peer].remove(key)
            )
            if delta is not None:
                tell(registry, delta)
        registry.check_invariants()


def test_only_reachable_origins_are_answered_and_digests_agree_with_answers():
    one, _ = make(A)
    two, _ = make(B)
    one.handle(RegisterName("c", "svc.weave.local.", "10.0.1.1"), 0)
    two.handle(RegisterName("d", "SVC.weave.local.", "10.0.1.2"), 0)
    assert one.dns_digest != two.dns_digest
    for source, target in ((one, two), (two, one)):
        tell(target, source.channel.missing(target.channel.vector()))
    assert one.lookup("svc") == ("10.0.1.1",)
    for registry in (one, two):
        registry.handle(PeersChanged((A, B)), 0)
        assert registry.lookup("svc.weave.local") == registry.lookup("Svc") == ("10.0.1.1", "10.0.1.2")
    assert one.dns_digest == two.dns_digest
    one.handle(PeersChanged((A,)), 0)
    assert one.lookup("svc") == ("10.0.1.1",)
    states = {entry["container"]: entry["state"] for entry in one.report(0)["entries"]}
    assert states == {"c": "answered", "d": "unreachable"}


def test_names_survive_a_restart_and_go_with_their_container():
    registry, _ = make()
    registry.handle(RegisterName("c", "a.weave.local.", "10.0.1.1"), 0)
    effects = registry.handle(RegisterName("weave:extern", "b.weave.local.", "192.0.2.7"), 0)
    (persist,) = (effect for effect in effects if isinstance(effect, Persist))
    again, effects = make(stored={persist.key: persist.data})
    assert effects == [] and again.lookup("a") == ("10.0.1.1",)
    again.handle(Detached("c"), 0)
    assert again.lookup("a") == () and again.lookup("b") == ("192.0.2.7",)
    with pytest.raises(EnvironmentProblem, match="weave reset"):
        make(stored={"names": b"\xc1"})


@pytest.mark.parametrize("name", ["", ".", "svc1", "a..b.", "-.x/y.", "ä.weave.local.", "a" * 64 + ".", "ab." * 90])
def test_bad_names_are_refused_with_what_is_expected(name):
    with pytest.raises(UsageError, match="final dot"):
        check_name(name)
    registry, _ = make()
    (log,) = registry.handle(RegisterName("c", name, "10.0.1.1"), 0)
    assert isinstance(log, Log) and log.level == "error"


def test_bad_addresses_are_refused_and_odd_spellings_made_one():
    registry, _ = make()
    (log,) = registry.handle(RegisterName("c", "svc.weave.local.", "10.0.1"), 0)
    assert "10.0.1" in log.text
    registry.handle(RegisterName("c", "svc.weave.local.", "FD00:0::1"), 0)
    assert registry.handle(RegisterName("c", "svc.weave.local.", "fd00::1"), 0) == []
    assert registry.lookup("svc") == ("fd00::1",)
    registry.handle(UnregisterName("c", address="FD00::1"), 0)
    assert registry.lookup("svc") == ()


def test_a_name_outside_of_the_domain_is_kept_but_said_not_to_be_answered():
    registry, _ = make()
    effects = registry.handle(RegisterName("c", "svc.example.", "10.0.1.1"), 0)
    assert "outside" in effects[-1].text


def test_values_of_another_kind_are_not_names():
    registry, _ = make()
    registry.handle(PeersChanged((A, B)), 0)
    other = OriginMap("dns", B, 1)
    tell(registry, other.put("x", EndpointValue("c", "02:00:00:00:00:01", ("10.0.1.1/24",))))
    registry.check_invariants()
    assert registry.report(0)["entries"] == []


@given(st.ip_addresses())
def test_reverse_names_lead_back(address):
    assert address_of_reverse(address.reverse_pointer + ".") == str(address)

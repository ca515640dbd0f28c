"""The endpoints' core on its own: what it refuses, keeps over a restart, holds, and when it wants to be woken."""

import pytest

from overlay.config import Address, Config
from overlay.crypto.secure_peer import SecurePeer, tunnel_address
from overlay.datapath import announcer
from overlay.datapath.endpoints import GRAIN, Endpoints
from overlay.effects import (
    Announce,
    Broadcast,
    Log,
    Notify,
    Persist,
    RemoveForwarding,
    SetFlood,
    SetForwarding,
    SetSecurePeers,
    SetSources,
)
from overlay.env import SECOND
from overlay.errors import EnvironmentProblem
from overlay.inputs import (
    Attached,
    CarriersChanged,
    Detached,
    NeighboursLost,
    PathsChanged,
    PeerForgotten,
    PeerLeft,
    PeersChanged,
    Wake,
)
from overlay.tuning import STANDARD
from overlay.wire.origins import EndpointValue, NameValue, OriginDelta, OriginEntry, OriginState

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
MAC = "02:00:0a:00:01:01"
HOLD = 60 * SECOND
TOLD = Announce((("10.0.1.1", MAC),))
"""What this host's containers hear once the kernel forwards there."""


def make(name=A, uid=1, stored=None, adopted=(), places=None):
    places = places or {}
    core = Endpoints(
        Config(name=name, nickname=name, hold=HOLD),
        uid,
        stored or {},
        lambda literal, holders: min(holders),
        lambda peer: [Address(places[peer], 6783)] if peer in places else [],
    )
    return core, core.start(0, adopted)


def feed(core, *inputs, now=0):
    effects = []
    for input in inputs:
        effects += core.handle(input, now)
        core.check_invariants()
    return effects


def tell(core, delta, now=0):
    """What the node does with a delta: merge, then hand the changes on."""
    _, effects = core.channel.merge(delta, now)
    return [done for e in effects if isinstance(e, Notify) for done in feed(core, e.input, now=now)]


def neighbour(core, now=0):
    return feed(core, PeersChanged((A, B)), PathsChanged(((B, "192.0.2.2"),)), now=now)


def state(uid, version, since, *entries):
    return OriginDelta((OriginState(B, uid, version, since, 0, entries),))


def endpoint(container="c", mac=MAC, *addresses):
    return EndpointValue(container, mac, addresses or ("10.0.1.1/24",))


def test_an_attached_container_is_told_and_then_stored_in_canonical_spelling():
    core, _ = make()
    broadcast, persist, told = feed(core, Attached("c", "02-00-0A-00-01-01", ("10.0.1.1/24", "FD00::1/64")))
    assert isinstance(broadcast, Broadcast) and isinstance(persist, Persist)
    assert told == Announce((("10.0.1.1", MAC), ("fd00::1", MAC)))
    assert isinstance(broadcast.delta, OriginDelta)
    (entry,) = broadcast.delta.states[0].entries
    assert entry.value == endpoint("c", MAC, "10.0.1.1/24", "fd00::1/64")
    assert feed(core, Attached("c", MAC, ("10.0.1.1/24", "fd00::1/64"))) == []
    assert len(feed(core, Detached("c"))) == 2
    assert feed(core, Detached("c")) == []


@pytest.mark.parametrize(
    ("mac", "addresses"),
    [
        ("02:00:0a:00:01", ("10.0.1.1/24",)),
        ("01:00:0a:00:01:01", ("10.0.1.1/24",)),
        ("02:00:0a:00:01:zz", ("10.0.1.1/24",)),
        (MAC, ()),
        (MAC, ("10.0.1.300/24",)),
        (MAC, ("10.0.1.1/24", "10.0.1.1/16")),
        (MAC, ("fe80::1%eth0/64",)),
    ],
)
def test_nonsense_is_refused_here_and_ignored_from_others(mac, addresses):
    core, _ = make()
    (log,) = feed(core, Attached("c", mac, addresses))
    assert isinstance(log, Log) and log.level == "error"
    neighbour(core)
    bad = EndpointValue("c", mac, addresses)
    (log,) = tell(core, state(1, 1, 0, OriginEntry("c", 1, bad)))
    assert B in log.text
    assert tell(core, state(1, 2, 1, OriginEntry("d", 2, bad))) == []  # once for each peer
    good = tell(core, state(1, 3, 2, OriginEntry("c", 3, endpoint())))
    assert good == [SetForwarding(MAC, "192.0.2.2", ("10.0.1.1",)), TOLD]


def test_values_of_another_kind_or_under_another_key_are_ignored():
    core, _ = make()
    neighbour(core)
    name = NameValue("svc1.weave.local.", "10.0.1.1", "c")
    entries = (OriginEntry("c", 1, name), OriginEntry("d", 2, endpoint("e")))
    assert [type(e) for e in tell(core, state(1, 2, 0, *entries))] == [Log]


EARLIER = ("192.0.2.2", "192.0.2.3", "192.0.2.9")
"""Where the kernel sends since an earlier daemon: the hosts of B and C, and one of a peer that is not seen."""
PLACES = {B: "192.0.2.2", "c": "192.0.2.3"}


def test_the_first_peer_after_a_restart_does_not_cut_off_the_others():
    core, started = make(adopted=EARLIER, places=PLACES)
    assert started == []
    assert neighbour(core) == []  # the kernel sends to it already
    assert feed(core, PathsChanged(((B, "192.0.2.2"), ("c", "192.0.2.3"))), now=1) == []
    left = feed(core, Wake(), now=HOLD)
    assert left == [SetSources(EARLIER[:2]), SetFlood(EARLIER[:2])]
    assert feed(core, Wake(), now=2 * HOLD) == []


def test_a_peer_on_an_adopted_host_takes_a_detour_as_late_as_a_lost_one():
    core, _ = make(adopted=EARLIER, places=PLACES)
    feed(core, PeersChanged((A, B, "c")), PathsChanged(((B, "192.0.2.2"),)))
    assert feed(core, Wake(), now=STANDARD.detour_newcomer + GRAIN) == []
    without = (EARLIER[0], EARLIER[2])
    assert feed(core, Wake(), now=STANDARD.detour_lost) == [SetSources(without), SetFlood(without)]


def test_adopted_hosts_are_released_when_a_peer_there_moves_to_the_tunnel_or_leaves():
    core, _ = make(adopted=EARLIER, places=PLACES)
    neighbour(core)
    assert feed(core, CarriersChanged((B,))) == [SetFlood(EARLIER[1:])]
    assert feed(core, PeerLeft("c")) == [SetSources((EARLIER[0], EARLIER[2])), SetFlood(EARLIER[2:])]


def test_lost_peers_are_held_and_let_go_when_the_hold_is_over():
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    assert feed(core, PathsChanged(()), PeersChanged((A,)), now=SECOND) == []
    assert core.report(0)["entries"][0]["state"] == "held"
    assert core.deadline() == SECOND + HOLD
    assert feed(core, Wake(), now=SECOND + HOLD) == [SetSources(()), RemoveForwarding(MAC), SetFlood(())]
    assert core.deadline() is None
    assert neighbour(core, now=3 * HOLD) == [
        SetSources(("192.0.2.2",)),
        SetForwarding(MAC, "192.0.2.2", ("10.0.1.1",)),
        SetFlood(("192.0.2.2",)),
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_a_farewell_is_final_in_whatever_order_it_is_noticed(order):
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    inputs = [PeerLeft(B), PeersChanged((A,)), PathsChanged(())]
    effects = feed(core, *(inputs[n] for n in order))
    assert sorted(type(e).__name__ for e in effects) == ["RemoveForwarding", "SetFlood", "SetSources"]
    assert core.deadline() is None
    assert core.report(0)["entries"] == []


def test_a_peer_that_came_back_before_its_absence_was_noticed_is_held_again():
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    feed(core, PeerLeft(B))  # it returns as another incarnation; reachable peers and paths never changed
    assert tell(core, state(2, 1, 0, OriginEntry("c", 1, endpoint()))) == [
        SetForwarding(MAC, "192.0.2.2", ("10.0.1.1",))
    ]
    assert feed(core, PeersChanged((A,)), PathsChanged(())) == []
    assert core.report(0)["entries"][0]["state"] == "held"


def test_a_peer_whose_connection_is_lost_is_reached_over_others_after_a_while():
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    assert feed(core, PathsChanged(())) == []
    assert core.deadline() == STANDARD.detour_lost
    assert feed(core, Wake(), now=STANDARD.detour_lost) == [
        SetSources(()),
        SetForwarding(MAC, "", ("10.0.1.1",)),
        SetFlood(()),
    ]
    assert core.deadline() is None
    assert feed(core, PathsChanged(((B, "192.0.2.2"),))) == [
        SetSources(("192.0.2.2",)),
        SetForwarding(MAC, "192.0.2.2", ("10.0.1.1",)),
        SetFlood(("192.0.2.2",)),
    ]


def test_a_lost_peer_whose_path_was_silent_is_reached_over_others_as_soon_as_a_newcomer():
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    assert feed(core, NeighboursLost((B,), (B,)), PathsChanged(())) == []
    assert core.deadline() == STANDARD.detour_newcomer < STANDARD.detour_lost
    detoured = feed(core, Wake(), now=STANDARD.detour_newcomer)
    assert detoured == [SetForwarding(MAC, "", ("10.0.1.1",)), SetFlood(())], "its own packets still come directly"
    assert core.deadline() == STANDARD.detour_newcomer + STANDARD.detour_lost
    assert feed(core, Wake(), now=STANDARD.detour_newcomer + STANDARD.detour_lost) == [SetSources(())]
    assert core.deadline() is None
    neighbour(core, now=SECOND)
    assert feed(core, PathsChanged(()), now=SECOND) == [], "it is known of one loss only"
    assert core.deadline() == SECOND + STANDARD.detour_lost


def test_newcomers_without_a_connection_are_reached_over_others_one_group_after_another():
    core, _ = make()
    groups = [(1, "b"), (2, "c"), (GRAIN, "d"), (GRAIN + 1, "e"), (2 * GRAIN, "f")]
    macs = {}
    reached: tuple[str, ...] = (A,)
    for number, (now, name) in enumerate(groups):
        macs[name] = f"02:00:0a:00:02:{number:02x}"
        value = EndpointValue("c", macs[name], (f"10.0.2.{number + 1}/24",))
        reached = (*reached, name)
        feed(core, PeersChanged(tuple(sorted(reached))), now=now)
        tell(core, OriginDelta((OriginState(name, 1, 1, 0, 0, (OriginEntry("c", 1, value),)),)), now)
    for due, names in ((GRAIN + STANDARD.detour_newcomer, "bcd"), (2 * GRAIN + STANDARD.detour_newcomer, "ef")):
        assert core.deadline() == due
        found = feed(core, Wake(), now=due)
        assert {e.mac for e in found if isinstance(e, SetForwarding) and not e.remote} == {macs[n] for n in names}
    assert core.deadline() is None


def test_what_must_be_encrypted_never_takes_the_kernels_path():
    core, _ = make()
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    feed(core, CarriersChanged((B,)))
    assert neighbour(core) == [SetSources(("192.0.2.2",)), SetForwarding(MAC, "", ("10.0.1.1",)), TOLD]
    assert feed(core, CarriersChanged(()))[0] == SetForwarding(MAC, "192.0.2.2", ("10.0.1.1",))


def test_a_lost_peer_whose_frames_took_the_tunnel_is_not_sent_them_by_the_kernel():
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    assert SetForwarding(MAC, "", ("10.0.1.1",)) in feed(core, CarriersChanged((B,)))
    # In this order: who is lost, who is in the tunnel, and the hosts.
    lost = (NeighboursLost((B,), ()), CarriersChanged(()), PathsChanged(()), PeersChanged((A,)))
    assert feed(core, *lost, now=SECOND) == []
    assert core.report(0)["entries"][0]["state"] == "held" and core.plan.host(B) == ""
    assert RemoveForwarding(MAC) in feed(core, Wake(), now=SECOND + HOLD)
    assert SetForwarding(MAC, "192.0.2.2", ("10.0.1.1",)) in neighbour(core, now=3 * HOLD)


def test_vxlan_is_taken_from_neighbours_in_clear_even_while_their_own_traffic_takes_the_tunnel():
    core, _ = make()
    assert feed(core, PeersChanged((A, B)), PathsChanged(((B, "192.0.2.2"),))) == [
        SetSources(("192.0.2.2",)),
        SetFlood(("192.0.2.2",)),
    ]
    assert feed(core, CarriersChanged((B,))) == [SetFlood(())]  # its probes must come in, or it never recovers
    assert feed(core, PathsChanged(((B, "192.0.2.9"),))) == [SetSources(("192.0.2.9",))]
    lost = feed(core, PathsChanged(()), PeersChanged((A,)), now=SECOND)
    assert not any(isinstance(effect, SetSources) for effect in lost)  # its kernel may forward on
    assert feed(core, PeerLeft(B), now=SECOND)[0] == SetSources(())


def test_a_storm_of_changes_is_told_at_a_rate_and_what_is_known_to_be_wrong_first():
    """10,000 new MACs: a burst at once, then a thousand a second; one that replaces another never waits behind them."""
    core, _ = make()
    neighbour(core)
    many = [
        OriginEntry(
            f"c{n}", n + 1, endpoint(f"c{n}", f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}", f"10.1.{n >> 8}.{n & 255}/8")
        )
        for n in range(10_000)
    ]
    first = [e for e in tell(core, state(1, len(many), 0, *many)) if isinstance(e, Announce)]
    assert [len(effect.addresses) for effect in first] == [announcer.BURST]
    now = core.deadline()
    changed = OriginEntry("c9999", 10_001, endpoint("c9999", MAC, "10.1.39.15/8"))
    told = [e for e in tell(core, state(1, 10_001, 10_000, changed), now=now) if isinstance(e, Announce)]
    assert [effect.addresses[0] for effect in told] == [("10.1.39.15", MAC)]
    heard = [pair for effect in (*first, *told) for pair in effect.addresses]
    while (due := core.deadline()) is not None:
        assert due - now == announcer.GRAIN
        now = due
        (effect,) = core.handle(Wake(), now)
        assert len(effect.addresses) <= announcer.GRAIN // announcer.PAUSE
        heard += effect.addresses
    assert len(heard) == len(dict(heard)) == 10_000
    assert now <= 10 * SECOND


def test_an_address_that_nobody_had_for_a_while_is_told_if_it_comes_back_with_another_mac():
    core, _ = make()
    neighbour(core)
    assert TOLD in tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    gone = tell(core, state(1, 2, 1, OriginEntry("c", 2, None)))
    again = tell(core, state(1, 3, 2, OriginEntry("c", 3, endpoint())))
    assert gone == [RemoveForwarding(MAC)] and again == [SetForwarding(MAC, "192.0.2.2", ("10.0.1.1",))]
    tell(core, state(1, 4, 3, OriginEntry("c", 4, None)))
    other = MAC[:-1] + "2"
    here = feed(core, Attached("d", other, ("10.0.1.1/24",)))
    assert here[-1] == Announce((("10.0.1.1", other),))  # it is this host's own now: all the same
    assert feed(core, Detached("d"))[-1] != Announce((("10.0.1.1", other),))


def test_another_path_to_the_same_mac_is_no_news():
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    effects = feed(core, CarriersChanged((B,)), PathsChanged(((B, "192.0.2.9"),)), CarriersChanged(()))
    assert not any(isinstance(effect, Announce) for effect in effects)


def test_within_wireguard_a_peer_is_let_in_by_its_key_until_it_goes_or_has_another():
    core, _ = make()
    first, second = (SecurePeer(tunnel_address(B), bytes([n]) * 32, Address("192.0.2.2", 6785)) for n in (1, 2))
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    feed(core, PeersChanged((A, B)), CarriersChanged((B,)))
    assert feed(core, PathsChanged((), ((B, first),))) == [
        SetSecurePeers((first,)),
        SetForwarding(MAC, "", ("10.0.1.1",)),
        TOLD,
    ]
    assert feed(core, CarriersChanged(()))[0] == SetForwarding(MAC, first.address, ("10.0.1.1",))
    assert feed(core, PathsChanged((), ((B, second),))) == [SetSecurePeers((second,))]
    assert SetSecurePeers(()) not in feed(core, PathsChanged(()), PeersChanged((A,)), now=SECOND)
    assert core.report(0)["entries"][0]["state"] == "held"
    assert feed(core, Wake(), now=SECOND + HOLD)[0] == SetSecurePeers(())
    assert feed(core, PeersChanged((A, B)), PathsChanged((), ((B, first),)))[0] == SetSecurePeers((first,))
    assert feed(core, PathsChanged(((B, "192.0.2.2"),)))[:2] == [SetSources(("192.0.2.2",)), SetSecurePeers(())]


def test_a_forgotten_peer_leaves_nothing():
    core, _ = make()
    neighbour(core)
    tell(core, state(1, 1, 0, OriginEntry("c", 1, endpoint())))
    feed(core, PathsChanged(()), PeersChanged((A,)))
    assert feed(core, PeerForgotten(B)) == [SetSources(()), RemoveForwarding(MAC), SetFlood(())]
    assert core.channel.vector().known == ()


def test_what_was_attached_survives_a_restart_until_the_recovery_is_over():
    core, _ = make()
    stored = {}
    for n in range(3):
        for effect in feed(core, Attached(f"c{n}", f"02:00:0a:00:01:0{n}", (f"10.0.1.{n}/24",))):
            if isinstance(effect, Persist):
                stored[effect.key] = effect.data
    again, effects = make(uid=2, stored=stored)
    assert effects == []
    assert [value.container for _, value in again.channel.entries_of(A)] == ["c0", "c1", "c2"]
    assert feed(again, Attached("c0", "02:00:0a:00:01:00", ("10.0.1.0/24",))) == []
    evicted = feed(again, Attached("new", "02:00:0a:00:01:09", ("10.0.1.1/16",)))  # has c1's address now
    assert Notify(Detached("c1")) in evicted
    assert again.deadline() == STANDARD.endpoint_recovery
    effects = feed(again, Wake(), now=STANDARD.endpoint_recovery)
    assert [type(e) for e in effects] == [Log, Notify] and effects[1].input == Detached("c2")
    feed(again, effects[1].input)
    assert [value.container for _, value in again.channel.entries_of(A)] == ["c0", "new"]


def test_a_store_that_cannot_be_read_ends_the_start():
    with pytest.raises(EnvironmentProblem, match="weave reset"):
        make(stored={"endpoints": b"\xc1garbage"})

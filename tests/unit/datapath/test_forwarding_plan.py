"""The forwarding plan: diffs applied to a model kernel always give what a computation from nothing gives."""

from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.datapath.claims import EndpointClaim, Standing
from overlay.datapath.plan import ForwardingPlan
from overlay.effects import Log, Notify, RemoveForwarding, SetFlood, SetForwarding

OWN, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
MACS = ["02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:01:03"]
ADDRESSES = ["10.0.1.1", "10.0.1.2", "10.0.1.3"]


def lowest(literal, holders):
    return min(holders)


def claim(mac, *literals):
    return EndpointClaim(mac, tuple(f"{literal}/24" for literal in literals), literals)


def plan_with_neighbours():
    plan = ForwardingPlan(OWN, lowest)
    for peer, host in ((B, "192.0.2.2"), (C, "192.0.2.3")):
        plan.stand(peer, Standing.REACHABLE)
        plan.move(peer, host)
    assert plan.flush() == [SetFlood(("192.0.2.2", "192.0.2.3"))]
    return plan


class ModelKernel:
    """A kernel whose neighbour table knows one MAC for each address, as the real one's."""

    def __init__(self):
        self.remote = {}
        self.neighbour = {}
        self.flood: tuple[str, ...] = ()

    def apply(self, effects):
        for effect in effects:
            match effect:
                case SetForwarding():
                    self._take(effect.mac)
                    self.remote[effect.mac] = effect.remote
                    for address in effect.addresses:
                        assert address not in self.neighbour, "given before it was taken from another"
                        self.neighbour[address] = effect.mac
                case RemoveForwarding():
                    self._take(effect.mac)
                    del self.remote[effect.mac]
                case SetFlood():
                    self.flood = effect.remotes
                case _:
                    assert isinstance(effect, Log | Notify)

    def _take(self, mac):
        self.neighbour = {address: owner for address, owner in self.neighbour.items() if owner != mac}


operations = st.one_of(
    st.tuples(
        st.just("announce"),
        st.sampled_from([OWN, B, C]),
        st.sampled_from(["x", "y"]),
        st.none()
        | st.builds(claim, st.sampled_from(MACS), *[st.sampled_from(ADDRESSES)])
        | st.builds(lambda mac: claim(mac, *ADDRESSES[:2]), st.sampled_from(MACS)),
    ),
    st.tuples(st.just("stand"), st.sampled_from([B, C]), st.sampled_from(list(Standing))),
    st.tuples(st.just("move"), st.sampled_from([B, C]), st.sampled_from([None, "192.0.2.2", "192.0.2.3"])),
    st.tuples(st.just("flush")),
)


@given(st.lists(operations, max_size=40))
@settings(max_examples=300, deadline=None)
def test_diffs_lead_to_what_stands(steps):
    plan, kernel = ForwardingPlan(OWN, lowest), ModelKernel()
    blocked: set[object] = set()
    for name, *arguments in [*steps, ("flush",)]:
        effects = getattr(plan, name)(*arguments)
        if name != "flush":
            continue
        kernel.apply(effects)
        plan.check_invariants()
        assert kernel.remote == {entry.mac: entry.remote for entry in plan.forwarding()}
        assert kernel.neighbour == {a: entry.mac for entry in plan.forwarding() for a in entry.addresses}
        assert kernel.flood == plan.flood()
        for effect in effects:
            if isinstance(effect, Notify) and hasattr(effect.input, "removed") and hasattr(effect.input, "added"):
                blocked -= set(effect.input.removed)
                blocked |= set(effect.input.added)
        assert blocked == {(*identity, lost) for identity, _ in plan.claims() for lost in plan.lost(identity)}
        assert plan.flush() == []


def test_a_change_says_only_what_changed():
    plan = plan_with_neighbours()
    plan.announce(B, "x", claim(MACS[0], "10.0.1.1"))
    plan.announce(C, "y", claim(MACS[1], "10.0.1.2"))
    assert plan.flush() == [
        SetForwarding(MACS[0], "192.0.2.2", ("10.0.1.1",)),
        SetForwarding(MACS[1], "192.0.2.3", ("10.0.1.2",)),
    ]
    plan.move(C, "192.0.2.9")
    assert plan.flush() == [
        SetForwarding(MACS[1], "192.0.2.9", ("10.0.1.2",)),
        SetFlood(("192.0.2.2", "192.0.2.9")),
    ]
    plan.announce(B, "x", None)
    assert plan.flush() == [RemoveForwarding(MACS[0])]
    plan.announce(OWN, "mine", claim(MACS[2], "10.0.1.3"))
    assert plan.flush() == []


def test_a_reachable_peer_takes_over_from_a_held_one_whatever_its_name():
    plan = plan_with_neighbours()
    plan.announce(B, "x", claim(MACS[0], "10.0.1.1"))
    plan.flush()
    plan.stand(B, Standing.HELD)
    assert plan.flush() == []
    plan.announce(C, "x", claim(MACS[1], "10.0.1.1"))
    assert [e for e in plan.flush() if not isinstance(e, Notify)] == [
        RemoveForwarding(MACS[0]),
        SetForwarding(MACS[1], "192.0.2.3", ("10.0.1.1",)),
    ]
    assert plan.contests() == ()  # a container that moved is no duplicate
    plan.stand(B, Standing.REACHABLE)
    plan.flush()
    (contest,) = plan.contests()
    assert (contest.winner, contest.loser, contest.mend) == ((B, "x"), (C, "x"), "`weave detach 10.0.1.1/24 x`")


def test_two_containers_that_swap_addresses_never_share_one_in_the_kernel():
    plan, kernel = ForwardingPlan(OWN, lowest), ModelKernel()
    plan.stand(B, Standing.REACHABLE)
    plan.move(B, "192.0.2.2")
    for turn in (0, 1):
        plan.announce(B, "x", claim(MACS[0], ADDRESSES[turn]))
        plan.announce(B, "y", claim(MACS[1], ADDRESSES[1 - turn]))
        kernel.apply(plan.flush())
        assert kernel.neighbour == {ADDRESSES[turn]: MACS[0], ADDRESSES[1 - turn]: MACS[1]}


def test_the_arbiter_is_asked_again_when_it_may_have_changed_its_mind():
    preferred = [B]
    plan = ForwardingPlan(OWN, lambda literal, holders: min(holders, key=lambda h: (h[0] != preferred[0], h)))
    for peer, mac in ((B, MACS[0]), (C, MACS[1])):
        plan.stand(peer, Standing.REACHABLE)
        plan.move(peer, "192.0.2.2")
        plan.announce(peer, "x", claim(mac, "10.0.1.1"))
    plan.flush()
    assert [entry.mac for entry in plan.forwarding()] == [MACS[0]]
    preferred[0] = C
    assert plan.flush() == []
    plan.recheck()
    assert plan.flush() != []
    assert [entry.mac for entry in plan.forwarding()] == [MACS[1]]
    plan.check_invariants()

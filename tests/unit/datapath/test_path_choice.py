"""Path choice and the search for what fits, against a network that drops what the test says. No bytes, no sockets."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.config import Address, Config
from overlay.crypto.derive import RootKeys
from overlay.crypto.secure_peer import SecurePeer, tunnel_address
from overlay.datapath.paths import PRECISION, TRANSITIONS, Fast, PathEvent, Paths
from overlay.effects import Notify, ResizeTunnel, SendProbe
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import CarriersChanged, Neighbour, NeighboursChanged, NeighboursLost, ProbeHeard, TrafficSeen, Wake

B = "00:00:00:00:00:02"
KEYS = RootKeys(bytes(32), bytes(32))
TUNNEL = SecurePeer(tunnel_address(B), bytes(range(32)), Address("192.0.2.2", 6785))


class Net:
    """One peer's path choice and a neighbour that answers every probe that arrives."""

    def __init__(self, **options):
        self.now = SECOND
        keys, tunnel = options.pop("keys", None), options.pop("tunnel", None)
        self.vias = set()
        self.core = Paths(Config(name="00:00:00:00:00:01", nickname="a", **options), Random(1))
        self.fast_passes = True
        self.limit = 1472
        self.delay = MILLISECOND
        self.loss = 0.0
        self.rng = Random(2)
        self.sizes = []
        self.tunnelled = None
        self.changes = []
        self.probes = 0
        self.pending = []
        self.do(NeighboursChanged((Neighbour(B, Address("192.0.2.2", 6783), 7, True, keys, tunnel),)))

    def do(self, item):
        for effect in self.core.handle(item, self.now):
            match effect:
                case SendProbe(answer=False):
                    self.probes += 1
                    self.vias |= {effect.via} if effect.fast else set()
                    passes = self.fast_passes if effect.fast else effect.size <= self.limit
                    if passes and self.rng.random() >= self.loss:
                        heard = ProbeHeard(B, effect.fast, effect.nonce, effect.size, True)
                        self.pending.append((self.now + self.delay, heard))
                case ResizeTunnel():
                    self.sizes.append(effect.size)
                case Notify(input=CarriersChanged() as change):
                    self.tunnelled = change.tunnelled == (B,)
                    self.changes.append((self.now, self.tunnelled))

    def run(self, duration, busy=False):
        end = self.now + duration
        look = self.now
        while True:
            dues = [self.core.deadline() or end, end, *(due for due, _ in self.pending)]
            if busy:
                dues.append(look)
            self.now = max(self.now, min(dues))
            if self.now >= end:
                return
            if busy and self.now >= look:
                look += SECOND
                self.do(TrafficSeen((B,)))
            ready = [item for due, item in self.pending if due <= self.now]
            self.pending = [(due, item) for due, item in self.pending if due > self.now]
            for item in ready:
                self.do(item)
            if (self.core.deadline() or end) <= self.now:
                self.do(Wake())

    @property
    def state(self):
        return self.core.report(self.now)[B]


def test_a_good_path_stays_and_an_idle_one_costs_little():
    net = Net()
    net.run(600 * SECOND)
    assert net.changes == [] and net.state["fastdp"] == "trusted" and net.state["path"] == "fastdp"
    assert net.probes < 150


def test_blocked_under_traffic_it_changes_within_three_seconds_and_comes_back():
    net = Net()
    net.run(20 * SECOND, busy=True)
    net.fast_passes = False
    blocked = net.now
    net.run(10 * SECOND, busy=True)
    ((when, tunnelled),) = net.changes
    assert tunnelled and when - blocked < 3 * SECOND
    net.fast_passes = True
    net.run(10 * SECOND, busy=True)
    assert net.tunnelled is False and net.core.carried(B)


def test_a_path_on_which_nothing_ever_came_is_left_at_the_first_miss():
    net = Net()
    net.fast_passes = False
    begun = net.now
    net.run(3 * SECOND)
    ((when, tunnelled),) = net.changes
    assert tunnelled and when - begun < 600 * MILLISECOND


def test_a_path_that_passes_one_direction_is_left_at_the_second_miss():
    net = Net()
    net.fast_passes = False
    begun = net.now
    net.do(ProbeHeard(B, True, 5, 1450, False))
    net.run(3 * SECOND)
    ((when, tunnelled),) = net.changes
    assert tunnelled and 600 * MILLISECOND < when - begun < 1100 * MILLISECOND


def test_a_path_that_has_replied_is_not_left_so_soon():
    net = Net()
    net.run(SECOND, busy=True)
    net.fast_passes = False
    blocked = net.now
    net.run(5 * SECOND, busy=True)
    ((when, _),) = net.changes
    assert when - blocked > 1200 * MILLISECOND


def test_a_path_that_fails_again_and_again_must_prove_itself_longer():
    net = Net()
    for _ in range(3):
        net.fast_passes = False
        net.run(8 * SECOND, busy=True)
        net.fast_passes = True
        net.run(8 * SECOND, busy=True)
    assert [change for _, change in net.changes] == [True, False] * 3
    gaps = [back - away for (away, _), (back, _) in zip(net.changes[::2], net.changes[1::2], strict=True)]
    assert gaps[0] < gaps[-1]


def test_a_cut_changes_nothing():
    net = Net()
    net.run(20 * SECOND, busy=True)
    net.fast_passes, net.limit = False, 0
    net.run(60 * SECOND)
    assert net.changes == []
    net.fast_passes, net.limit = True, 1472
    net.run(20 * SECOND)
    assert net.changes == [] and net.state["fastdp"] == "trusted"


def test_who_is_lost_while_its_path_did_not_answer_is_named():
    def lost(*, passes):
        net = Net()
        net.run(10 * SECOND, busy=True)
        net.fast_passes = passes
        net.run(4 * SECOND, busy=True)
        found = net.core.handle(NeighboursChanged(()), net.now)
        return [effect.input for effect in found if isinstance(effect, Notify)]

    assert lost(passes=True) == [NeighboursLost((B,), ())]
    assert lost(passes=False)[0] == NeighboursLost((B,), (B,))


def test_a_shrunken_path_is_measured_and_measured_again():
    net = Net()
    net.run(20 * SECOND, busy=True)
    net.fast_passes, net.limit = False, 1172
    cut = net.now
    net.run(5 * SECOND, busy=True)
    assert net.tunnelled and net.changes[0][0] - cut < 4 * SECOND
    assert 1172 - PRECISION <= net.sizes[-1] <= 1172
    net.limit = 1472
    net.run(15 * SECOND, busy=True)
    assert net.state["mtu"] == 1398


@given(st.integers(600, 1436))
@settings(deadline=None, max_examples=60)
def test_the_search_finds_what_fits(limit):
    net = Net(fastdp=False)
    net.limit = limit
    net.run(10 * SECOND, busy=True)
    assert limit - PRECISION <= net.sizes[-1] <= limit if limit < 1436 else not net.sizes
    assert net.state["sleeve"] == "confirmed"


def test_what_is_encrypted_and_what_is_told_so_never_takes_the_kernels_path():
    for net, kind in (
        (Net(keys=KEYS), "wireguard"),
        (Net(fastdp=False), "fastdp"),
        (Net(keys=KEYS, tunnel=TUNNEL, fastdp=False), "wireguard"),
    ):
        net.run(30 * SECOND)
        assert net.tunnelled and not net.core.carried(B) and net.state[kind] == "forbidden"
        assert net.vias == set()
        assert net.state["path"] == "sleeve"


def test_who_is_told_not_to_take_the_kernels_path_lets_no_neighbour_take_it():
    for fastdp in (True, False):
        net = Net(fastdp=fastdp)
        for fast in (True, False):
            answers = net.core.handle(ProbeHeard(B, fast, 5, 1400, False), net.now)
            assert [effect.answer for effect in answers if isinstance(effect, SendProbe)] == [True] * (
                fastdp or not fast
            )


def test_wireguard_must_show_itself_before_it_carries_and_fails_like_any_path():
    net = Net(keys=KEYS, tunnel=TUNNEL)
    assert net.tunnelled and net.state["path"] == "sleeve"
    net.run(3 * SECOND)
    assert net.tunnelled is False and net.state["path"] == "wireguard" and net.vias == {TUNNEL.address}
    net.fast_passes = False
    net.run(10 * SECOND, busy=True)
    assert net.tunnelled and net.state["path"] == "sleeve" and net.state["wireguard"] == "failed"
    net.fast_passes = True
    net.run(20 * SECOND, busy=True)
    assert net.state["path"] == "wireguard"


def test_blocked_wireguard_never_carries():
    net = Net(keys=KEYS, tunnel=TUNNEL)
    net.fast_passes = False
    net.run(60 * SECOND, busy=True)
    assert net.changes == net.changes[:1] and net.tunnelled and net.state["sleeve"] == "confirmed"


def test_other_keys_start_anew_and_the_same_ones_go_on():
    net = Net(keys=KEYS, tunnel=TUNNEL)
    net.run(3 * SECOND)
    address = Address("192.0.2.2", 6783)
    net.do(NeighboursChanged((Neighbour(B, address, 8, True, KEYS, TUNNEL),)))
    assert net.state["path"] == "wireguard"
    fresh = SecurePeer(TUNNEL.address, bytes(range(1, 33)), TUNNEL.endpoint)
    net.do(NeighboursChanged((Neighbour(B, address, 9, True, KEYS, fresh),)))
    assert net.state["path"] == "sleeve" and net.tunnelled
    net.run(3 * SECOND)
    assert net.state["path"] == "wireguard"


def test_a_probe_in_clear_of_a_neighbour_with_whom_all_is_secret_is_not_answered():
    asked = ProbeHeard(B, True, 1, 1412, False)
    for options, answers in (({"keys": KEYS}, 0), ({"keys": KEYS, "tunnel": TUNNEL}, 1), ({}, 1)):
        net = Net(**options)
        effects = net.core.handle(asked, net.now)
        assert sum(isinstance(effect, SendProbe) and effect.answer for effect in effects) == answers


def test_a_little_loss_does_not_change_the_path():
    net = Net()
    net.loss = 0.02
    net.run(300 * SECOND, busy=True)
    assert net.changes == []


def test_every_state_knows_what_an_answer_and_a_miss_mean():
    for state in Fast:
        if state is not Fast.FORBIDDEN:
            assert (state, PathEvent.ANSWER) in TRANSITIONS and (state, PathEvent.MISS) in TRANSITIONS


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**63), st.integers(0, 65535), st.booleans()), max_size=20))
def test_answers_that_nobody_asked_for_change_nothing(items):
    net = Net()
    for fast, nonce, size, answer in items:
        net.do(ProbeHeard(B, fast, nonce, size, answer))
        net.do(ProbeHeard("stranger", fast, nonce, size, answer))
    assert net.changes == [] and net.sizes == []

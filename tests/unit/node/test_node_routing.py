"""The node's own duties: the incarnation, order of effects, who gets which input, names of peers. No network."""

from random import Random

import pytest

from overlay.config import Address, Config
from overlay.effects import Announce, DnsAnswer, Effect, Notify, Persist, Reply
from overlay.errors import EnvironmentProblem
from overlay.inputs import Attached, Connect, Deliver, DnsQuery, Input, Prime, RegisterName, RemovePeer, Wake
from overlay.node import Node
from overlay.wire.ring import Trigger

A = "02:00:00:00:00:0a"


def make(stored=None, boot=0, seed=1, **options):
    return Node(Config(name=A, nickname="orion", **options), Random(seed), stored or {}, boot)


def test_the_incarnation_rises_by_disk_or_by_clock_and_is_stored_first():
    node = make(boot=1_700_000_000_000_000_000)
    assert node.uid == 1_700_000_000_000_000_000
    first = node.start(0)[0]
    assert first == Persist("uid", b"1700000000000000000")
    assert make({first.key: first.data}, boot=5).uid == node.uid + 1  # the clock was set back
    assert make({first.key: first.data}, boot=node.uid + 100).uid == node.uid + 100
    with pytest.raises(EnvironmentProblem, match="weave reset"):
        make({first.key: b"garbage"}, boot=7)
    assert make(seed=1).uid != make(seed=2).uid  # neither disk nor clock: drawn


def test_nothing_internal_leaves_and_every_input_has_a_place():
    node = make()
    node.start(0)
    effects = node.handle(Attached("c", "02:00:00:00:00:01", ("10.0.1.1/24",)), 0)
    effects += node.handle(RegisterName("c", "svc.weave.local.", "10.0.1.1"), 0)
    assert [type(effect) for effect in effects] == [Persist, Announce, Persist]
    assert {type(e) for e in node.handle(DnsQuery(1, bytes(2) + b"\x01" + bytes(9)), 0)} >= {DnsAnswer}
    internal = {"Broadcast", "Unicast", "Notify"}
    routed = {kind.__name__ for kind in node._handlers}
    assert routed == {kind.__name__ for kind in Input.__subclasses__() if kind.__module__ == Input.__module__}
    assert not internal & {kind.__name__ for kind in map(type, effects)}
    with pytest.raises(TypeError):
        node.handle(Effect(), 0)


def test_what_a_notification_leads_to_stands_in_its_place():
    node = make()
    attached = Attached("c", "02:00:00:00:00:01", ("10.0.1.1/24",))
    effects = node._resolve([Reply(1), Notify(attached), Reply(2)], 0)
    assert [type(effect) for effect in effects] == [Reply, Persist, Announce, Reply]


def test_a_unicast_for_an_unknown_channel_is_dropped_with_a_word():
    node = make()
    (log,) = node.handle(Deliver("02:00:00:00:00:0b", "future", Trigger("10.32.0.0/12", False)), 0)
    assert log.level == "debug" and "future" in log.text


def test_rmpeer_of_nobody_says_so():
    node = make()
    (reply,) = node.handle(RemovePeer(4, "nobody"), 0)
    assert isinstance(reply, Reply) and reply.request == 4 and "nobody" in reply.error


def test_connect_is_answered_once():
    node = make()
    replies = [e for e in node.handle(Connect(3, ()), 0) if isinstance(e, Reply)]
    assert [reply.request for reply in replies] == [3]


def test_wake_reaches_whoever_is_due():
    node = make()
    node.start(0)
    due = node.deadline()
    assert due is not None
    node.handle(Wake(), due)
    assert node.deadline() != due


def test_the_report_has_its_sections_and_is_plain_data():
    import json

    node = make()
    node.start(0)
    node.handle(Attached("c", "02:00:00:00:00:01", ("10.0.1.1/24",)), 0)
    report = json.loads(json.dumps(node.report(0)))
    assert list(report) == ["version", "mesh", "ipam", "dns", "endpoints", "policy", "paths", "tunnel"]
    assert report["endpoints"]["entries"][0]["state"] == "local"


def test_targets_of_an_earlier_life_count_among_the_electors():
    first = make()
    addresses = tuple(Address(f"192.168.0.{number}", 6783) for number in (3, 4))
    stored = {e.key: e.data for e in first.handle(Connect(1, addresses), 0) if isinstance(e, Persist)}
    again = make(stored)
    assert not [e for e in again.handle(Prime(2), 0) if isinstance(e, Reply)], "one peer of three is no quorum"
    assert "needs 2 peers" in again.report(0)["ipam"]["waiting"]
    assert [e for e in make().handle(Prime(2), 0) if isinstance(e, Reply)], "who dials nobody decides alone"

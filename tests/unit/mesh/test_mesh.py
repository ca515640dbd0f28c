"""One mesh core by itself or two joined: the handshake's table, channels, unicasts, bad input, the report."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_mesh import VirtualMesh

from overlay.config import Address, Config, PeerName
from overlay.effects import CloseTcp, Dial, Effect, Log, Notify, Reply, SendDatagram, SendTcp
from overlay.env import MILLISECOND, SECOND
from overlay.errors import RemoteError
from overlay.inputs import (
    Connect,
    Datagram,
    Deliver,
    DialFailed,
    Forget,
    Leave,
    Release,
    TcpClosed,
    TcpMessage,
    TcpOpened,
    Wake,
)
from overlay.mesh.connections import TRANSITIONS, Connection, ConnectionEvent, ConnectionState
from overlay.mesh.mesh import Mesh
from overlay.mesh.report import report as mesh_report
from overlay.wire.codec import Delta, Vector
from overlay.wire.envelopes import (
    Accept,
    Beacon,
    Beat,
    Digests,
    Envelope,
    Goodbye,
    Graft,
    Hello,
    News,
    Prune,
    Reason,
    StreamBeat,
    Want,
)
from overlay.wire.origins import OriginDelta, OriginEntry, OriginState, OriginVector
from overlay.wire.ring import Trigger
from overlay.wire.topology import TopologyDelta, TopologyVector

A, B = Address("10.0.0.1", 6783), Address("10.0.0.2", 6783)


class Grow:
    """The least of a channel: a growing set of keys, carried by `OriginDelta`s. A key "poison" cannot be merged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: set[str] = set()

    def say(self, *keys: str) -> OriginDelta:
        entries = tuple(OriginEntry(key, 1, None) for key in sorted(keys))
        return OriginDelta((OriginState("x", 1, 1, 0, 0, entries),))

    def digest(self) -> int:
        return sum(int.from_bytes(key.encode(), "big") for key in self.keys) & (2**64 - 1)

    def vector(self) -> Vector:
        return OriginVector(tuple((key, 0, 0) for key in sorted(self.keys)))

    def missing(self, vector: Vector, named: bool = False) -> Delta | None:
        assert isinstance(vector, OriginVector)
        theirs = {key for key, _, _ in vector.known}
        lacking = self.keys & theirs if named else self.keys - theirs
        return self.say(*lacking) if lacking else None

    def lacking(self, vector: Vector) -> Vector | None:
        assert isinstance(vector, OriginVector)
        lacking = {key for key, _, _ in vector.known} - self.keys
        return OriginVector(tuple((key, 0, 0) for key in sorted(lacking))) if lacking else None

    def merge(self, delta: Delta, now: int) -> tuple[Delta | None, list[Effect]]:
        assert isinstance(delta, OriginDelta)
        keys = {entry.key for entry in delta.states[0].entries} - self.keys
        if "poison" in keys:
            raise RemoteError("poison")
        self.keys |= keys
        return (self.say(*keys), [Log("debug", f"learned {sorted(keys)}")]) if keys else (None, [])

    def join(self, *deltas: Delta) -> Delta:
        states = [delta.states[0] for delta in deltas if isinstance(delta, OriginDelta)]
        return self.say(*(entry.key for state in states for entry in state.entries))

    def check_invariants(self) -> None:
        pass


class ChannelMesh(VirtualMesh):
    """Meshes with one `Grow` each, in `grown`."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.grown: dict[int, Grow] = {}
        super().__init__(count, seed, self._make)

    def _make(self, index: int, name: PeerName) -> list[Grow]:
        self.grown[index] = Grow("dns")
        return [self.grown[index]]

    def tell(self, index: int, *keys: str) -> None:
        """The peer's own core changes its channel."""
        delta = self.grown[index].say(*keys)
        self.grown[index].keys |= set(keys)
        self.do(index, self.meshes[index].broadcast("dns", delta, self.now))


def pair(seed: int = 0) -> ChannelMesh:
    net = ChannelMesh(2, seed)
    net.launch(0)
    net.launch(1, [0])
    net.run_until(net.converged, SECOND)
    net.run(SECOND)
    return net


def alone(**options: object) -> Mesh:
    return Mesh(Config(name="b", nickname="bee", **options), 5, Random(1), [], {})  # type: ignore[arg-type]


def established(mesh: Mesh, conn: int = 1, name: str = "c", now: int = 0) -> Connection:
    """A connection from a peer `name`, by hand."""
    mesh.handle(TcpOpened(conn, B, Address("10.0.0.9", 40000), None), now)
    mesh.handle(TcpMessage(conn, Hello(name, "cee", 1, 77, 6783)), now)
    connection = mesh.connections.all[conn]
    mesh.handle(TcpMessage(conn, Accept(connection.nonce)), now)
    assert connection.state is ConnectionState.ESTABLISHED
    return connection


@given(st.sampled_from(ConnectionState), st.sampled_from(ConnectionEvent))
def test_every_event_in_every_state_moves_on_by_the_table_or_is_refused(
    state: ConnectionState, event: ConnectionEvent
) -> None:
    connection = Connection(1, A, B, None, 5)
    connection.state = state
    if (state, event) in TRANSITIONS:
        connection.advance(event)
        assert connection.state is TRANSITIONS[state, event]
    else:
        with pytest.raises(RemoteError):
            connection.advance(event)


def test_news_of_a_burst_join_one_message() -> None:
    net = pair()
    before = net.sent["News"]
    for key in ("a", "b", "c", "d"):
        net.tell(0, key)
    net.run(20 * MILLISECOND)
    assert net.grown[1].keys == {"a", "b", "c", "d"}
    assert net.sent["News"] - before == 1
    assert Log("debug", "learned ['a', 'b', 'c', 'd']") in net.hosts[1].effects


def test_states_that_differ_at_the_start_become_equal() -> None:
    net = ChannelMesh(3)
    for index in range(3):
        net.launch(index, [0] if index else [])
        net.grown[index].keys = {f"only{index}", "all"}
    net.run(500 * MILLISECOND)
    assert net.grown[0].keys == net.grown[1].keys == net.grown[2].keys == {"all", "only0", "only1", "only2"}


def test_a_change_that_was_not_spread_is_mended_by_the_next_round() -> None:
    net = pair()
    net.grown[0].keys.add("silent")
    net.run(40 * SECOND)
    assert "silent" in net.grown[1].keys


def test_a_conflict_marks_the_channel_and_keeps_the_connection() -> None:
    net = pair()
    net.tell(0, "poison")
    net.run(SECOND)
    conflicts: Any = mesh_report(net.meshes[1], net.now)["channel_conflicts"]
    (conflict,) = conflicts
    assert conflict == {"peer": net.name(0), "nickname": "host0", "channel": "dns", "error": "poison"}
    assert net.meshes[1].neighbours == (net.name(0),)
    net.run(60 * SECOND)
    warnings = [effect for effect in net.hosts[1].effects if isinstance(effect, Log) and effect.level == "warning"]
    assert len(warnings) == 1
    net.grown[0].keys.remove("poison")
    net.tell(0, "antidote")
    net.run(SECOND)
    assert mesh_report(net.meshes[1], net.now)["channel_conflicts"] == []
    assert net.grown[1].keys == {"antidote"}


def test_channels_that_only_one_side_knows_do_no_harm() -> None:
    net = pair()
    conn = next(iter(net.meshes[1].connections.all))
    for message in (
        News((("other", TopologyDelta(())),)),
        Digests(1, (("other", 1),)),
        Want("other", TopologyVector(()), True),
    ):
        net.handle(1, TcpMessage(conn, message))
    net.run(SECOND)
    assert net.meshes[1].neighbours == (net.name(0),)


def test_the_structs_of_another_channel_are_a_conflict_and_no_more() -> None:
    net = pair()
    conn = next(iter(net.meshes[1].connections.all))
    net.handle(1, TcpMessage(conn, News((("dns", TopologyDelta(())),))))
    net.handle(1, TcpMessage(conn, Want("topology", OriginVector(()), True)))
    conflicts = mesh_report(net.meshes[1], net.now)["channel_conflicts"]
    assert [conflict["channel"] for conflict in conflicts] == ["dns", "topology"]  # type: ignore[attr-defined]
    assert net.meshes[1].neighbours == (net.name(0),)


def test_unicasts_take_several_hops_and_find_this_peer_too() -> None:
    body = Trigger("10.32.0.0/12", observer=False)
    net = VirtualMesh(4, discovery=False)
    for index in range(4):
        net.launch(index, [index - 1] if index else [])
    net.run_until(net.converged, 5 * SECOND)
    net.do(0, net.meshes[0].unicast(net.name(3), "ipam", body, net.now))
    net.do(0, net.meshes[0].unicast(net.name(0), "ipam", body, net.now))
    net.do(0, net.meshes[0].unicast("nobody", "ipam", body, net.now))
    net.run(10 * MILLISECOND)
    for index in (0, 3):
        assert net.notified(index, Deliver) == [Deliver(net.name(0), "ipam", body)]


@pytest.mark.parametrize(
    "message",
    [Accept(3), Prune(), Graft(), News(()), Digests(0, ()), StreamBeat(1, True), Want("t", TopologyVector(()), True)],
)
def test_what_comes_before_hello_ends_the_connection(message: Envelope) -> None:
    mesh = alone()
    mesh.handle(TcpOpened(1, B, A, None), 0)
    effects = mesh.handle(TcpMessage(1, message), 0)
    assert [type(effect) for effect in effects] == [Log, SendTcp, CloseTcp]
    assert isinstance(effects[1], SendTcp) and isinstance(effects[1].message, Goodbye)
    assert effects[1].message.reason == Reason.PROTOCOL
    assert mesh.handle(TcpMessage(1, message), 0) == []
    assert mesh.handle(TcpClosed(1, "reset"), 0) == []


def test_a_second_hello_ends_the_connection() -> None:
    mesh = alone()
    established(mesh)
    effects = mesh.handle(TcpMessage(1, Hello("c", "cee", 1, 78, 6783)), SECOND)
    assert CloseTcp(1, "hello on a connection that is established") in effects
    assert mesh.neighbours == () and mesh.dialler.connected == {}


def test_the_lower_name_refuses_a_duplicate_and_the_higher_follows() -> None:
    mesh = alone()
    established(mesh)
    mesh.handle(TcpOpened(2, B, Address("10.0.0.9", 40001), None), 1)
    effects = mesh.handle(TcpMessage(2, Hello("c", "cee", 1, 79, 6783)), 1)
    assert [type(effect) for effect in effects[:2]] == [SendTcp, CloseTcp]
    established(mesh, 3, "a", 2)
    established(mesh, 4, "a", 3)
    assert sorted(mesh.connections.all) == [1, 4]
    mesh.check_invariants()


def test_a_silent_connection_gives_way_to_a_new_one() -> None:
    mesh = alone()
    established(mesh)
    established(mesh, 2, now=3 * SECOND // 2)
    assert list(mesh.connections.all) == [2]


def test_a_handshake_that_hangs_is_ended() -> None:
    mesh = alone()
    mesh.handle(TcpOpened(1, B, A, None), 0)
    assert mesh.deadline() == 5 * SECOND
    (effect,) = mesh.handle(Wake(), 5 * SECOND)
    assert isinstance(effect, CloseTcp) and mesh.connections.all == {}


def test_a_stranger_that_calls_is_answered_but_not_dialled() -> None:
    mesh = alone()
    source = Address("10.0.0.66", 6783)
    (effect,) = mesh.handle(Datagram(source, Beacon("z", 1, 6783)), 0)
    assert effect == SendDatagram(source, Beacon("b", 5, 6783, answer=True))
    assert mesh.handle(Datagram(source, Beacon("z", 1, 6783, answer=True)), 0) == []


def test_an_answer_from_a_target_is_dialled_though_a_dial_hangs() -> None:
    mesh = alone(peers=(A,))
    assert mesh.handle(Wake(), 0) == [Dial(A)]
    assert mesh.handle(Datagram(A, Beacon("a", 1, 6783, answer=True)), 100 * MILLISECOND) == []
    assert mesh.handle(Datagram(A, Beacon("a", 1, 6783, answer=True)), SECOND) == [Dial(A)]
    mesh.handle(DialFailed(A, "timed out"), 5 * SECOND)
    mesh.handle(TcpOpened(1, B, A, A), 6 * SECOND)
    assert mesh_report(mesh, 6 * SECOND)["targets"][0]["state"] == "connected"  # type: ignore[index]


def test_beats_for_another_connection_are_no_sign_of_life() -> None:
    mesh = alone()
    connection = established(mesh)
    mesh.handle(Datagram(A, Beat("c", connection.id ^ 1, SECOND, True)), 2 * SECOND)
    assert connection.heard_at == 0
    mesh.handle(Datagram(A, Beat("c", connection.id, SECOND, True)), 2 * SECOND)
    assert connection.heard_at == 2 * SECOND


def test_a_sender_that_beats_rarely_is_waited_for() -> None:
    mesh = alone()
    connection = established(mesh)
    mesh.handle(Datagram(A, Beat("c", connection.id, 3 * SECOND, True)), SECOND)
    mesh.handle(Wake(), 12 * SECOND)
    assert mesh.neighbours == ("c",)
    mesh.handle(Wake(), 13 * SECOND)
    assert not mesh.neighbours


def test_backoff_grows_to_a_minute() -> None:
    mesh = alone(peers=(A,), discovery=False)
    now, pauses = 0, []
    for _ in range(25):
        due = mesh.dialler.timers.deadline()
        assert due is not None
        pauses.append(due - now)
        now = due
        assert Dial(A) in mesh.handle(Wake(), now)
        mesh.handle(DialFailed(A, "refused"), now)
    assert pauses[0] == 0 and SECOND // 4 <= pauses[1] < 3 * SECOND // 4
    assert all(30 * SECOND <= pause < 90 * SECOND for pause in pauses[15:])


def test_an_input_of_another_core_raises() -> None:
    with pytest.raises(KeyError):
        alone().handle(Release(1, "c"), 0)


def test_after_the_farewell_requests_are_answered_and_nothing_else_happens() -> None:
    mesh = alone(peers=(A,))
    established(mesh)
    effects = mesh.handle(Leave(1), SECOND)
    farewell, goodbye = [effect.message for effect in effects if isinstance(effect, SendTcp)]
    assert isinstance(farewell, News) and isinstance(goodbye, Goodbye) and goodbye.reason == Reason.LEAVING
    assert farewell.items[0][1].records[0].gone  # type: ignore[union-attr]
    assert effects[-1] == Reply(1)
    assert mesh.deadline() is None and mesh.handle(Wake(), 2 * SECOND) == []
    assert mesh.handle(Leave(2), 2 * SECOND) == [Reply(2)]
    (reply,) = mesh.handle(Connect(3, (A,)), 2 * SECOND)
    assert isinstance(reply, Reply) and reply.error
    (reply,) = mesh.handle(Forget(4, (A,)), 2 * SECOND)
    assert isinstance(reply, Reply) and reply.error


def test_the_report_is_json_and_names_everything() -> None:
    net = pair()
    found = json.loads(json.dumps(mesh_report(net.meshes[1], net.now)))
    assert [target["state"] for target in found["targets"]] == ["connected"]
    (connection,) = found["connections"]
    assert (connection["peer"], connection["state"], connection["outbound"]) == (net.name(0), "established", True)
    assert [peer["links"][0]["peer"] for peer in found["peers"]] == [net.name(1), net.name(0)]
    assert found["sent_messages"] == net.meshes[1].sent_messages > 0


def test_effects_of_a_connection_name_the_other_side_once_up_and_once_down() -> None:
    net = pair()
    net.kill(1)
    net.run(SECOND)
    lines = [effect.text for effect in net.hosts[0].effects if isinstance(effect, Log) and effect.level == "info"]
    assert len(lines) == 2 and all(net.name(1) in line and "host1" in line for line in lines)
    assert not any(isinstance(effect, Notify) and isinstance(effect.input, Deliver) for effect in net.hosts[0].effects)


def test_news_get_around_the_root_of_the_tree_before_its_death_is_noticed() -> None:
    net = ChannelMesh(16, 4)
    for index in range(16):
        net.launch(index, [0] if index else [])
    net.run(2 * SECOND)
    for key in range(16):
        net.tell(key, f"warm{key}")
        net.run(SECOND)
    net.partition([0])
    net.tell(5, "news")
    took = net.run_until(lambda: all("news" in net.grown[index].keys for index in range(1, 16)), 3 * SECOND)
    assert all(net.name(0) in mesh.neighbours for mesh in net.meshes.values() if mesh is not net.meshes[0])
    assert took < 900 * MILLISECOND
    # The branches that were grafted carry the next change at once.
    net.tell(7, "more")
    took = net.run_until(lambda: all("more" in net.grown[index].keys for index in range(1, 16)), 3 * SECOND)
    assert took < 100 * MILLISECOND

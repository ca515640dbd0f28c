"""A whole node that one neighbour tells anything that the wire admits: it never raises, and others stay connected.

The messages are generated from the structs' own definitions (`msgspec.inspect`), so a new one is hostile here at once.
"""

from random import Random
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from overlay import inputs as i
from overlay.config import Address, Config
from overlay.effects import CloseTcp, Effect, Reply
from overlay.env import MILLISECOND, SECOND
from overlay.node import Node
from overlay.wire.codec import DatagramMessage, decode_message, encode_message
from overlay.wire.envelopes import Accept, Delta, Envelope, Hello, News, Routed, Vector, Want
from overlay.wire.origins import OriginDelta, OriginVector
from overlay.wire.ring import IpamMessage, Lineage, RingDelta, RingVector, SpaceDonation, Token, Trigger
from overlay.wire.topology import TopologyDelta, TopologyVector

OWN, HOSTILE, FRIENDS = "b", "a", ("c", "d")
CONNS = {HOSTILE: 1, "c": 2, "d": 3}
RANGE = "10.32.0.0/12"
# Words that mean something to some part of a node; the rest is left to chance.
WORDS = st.one_of(
    st.sampled_from(
        [
            *(OWN, HOSTILE, *FRIENDS, "topology", "ipam", "dns", "endpoints", RANGE, "10.0.0.0/8", "fd00::/64", ""),
            *("10.0.0.1:6783", "[::1]:1", "svc.weave.local.", "10.0.1.1", "10.0.1.1/24", "02:00:00:00:00:01", "mine"),
        ]
    ),
    st.text(max_size=6),
)
NUMBERS = st.one_of(st.integers(0, 4), st.sampled_from([-1, 7, 63, 64, 2**20 - 1, 2**20, 2**31, 2**62, 2**63 - 1]))


def strategy(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values (of builtin types) that decode as `kind`."""
    match kind:
        case inspect.StructType():
            fields = [strategy(field.type) for field in kind.fields]
            tag = [] if kind.tag is None else [kind.tag]
            return st.tuples(*fields).map(lambda values: [*tag, *values])
        case inspect.UnionType():
            return st.one_of([strategy(each) for each in kind.types])
        case inspect.VarTupleType():
            return st.lists(strategy(kind.item_type), max_size=3)
        case inspect.TupleType():
            return st.tuples(*[strategy(each) for each in kind.item_types])
        case inspect.IntType():
            low = kind.ge if kind.ge is not None else (kind.gt + 1 if kind.gt is not None else -(2**63))
            high = kind.le if kind.le is not None else (kind.lt - 1 if kind.lt is not None else 2**64 - 1)
            return NUMBERS.map(lambda number: int(min(max(number, low), high)))
        case inspect.StrType():
            low, high = kind.min_length or 0, kind.max_length or 10**6
            return WORDS.map(lambda word: word.ljust(low, "x")[:high])
        case inspect.BytesType():
            least, most = kind.min_length or 0, 64 if kind.max_length is None else kind.max_length
            return st.binary(min_size=least, max_size=most)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.EnumType():
            return st.sampled_from([member.value for member in kind.cls])
    raise AssertionError(f"the wire has a type that this test does not know: {kind}")


def of(union: Any) -> st.SearchStrategy[Any]:
    return strategy(inspect.type_info(union)).map(lambda value: msgspec.convert(value, union))


# Half of it in places where it is looked at: gossip and unicasts.
CHANNELS = st.sampled_from(["topology", "ipam", "dns", "endpoints", "x"])
messages = st.one_of(
    of(Envelope),
    st.builds(News, st.lists(st.tuples(CHANNELS, of(Delta))).map(tuple), st.booleans()),
    st.builds(Want, CHANNELS, of(Vector), st.booleans()),
    st.builds(
        Routed,
        st.sampled_from([HOSTILE, *FRIENDS, OWN, "z"]),
        st.just(OWN),
        st.just("ipam"),
        st.just(3),
        of(IpamMessage),
    ),
)
datagrams = of(DatagramMessage)


class Driven:
    """A node with three established connections; keeps the driver's side of the contract."""

    def __init__(self, chance: int, **options: Any) -> None:
        config = Config(name=OWN, nickname="bee", **options)
        self.now = SECOND
        self.node = Node(config, Random(chance), {}, 0)
        self.node.start(self.now)
        self.closed: list[int] = []
        self.replies: list[Reply] = []
        self.friends_heard_at = 0
        for name, conn in CONNS.items():
            remote = Address(f"192.168.0.{conn}", 40000)
            (hello,) = self.do(i.TcpOpened(conn, Address("192.168.0.9", 6783), remote, None))
            self.do(i.TcpMessage(conn, Hello(name, name, 1, conn, 6783)))
            self.do(i.TcpMessage(conn, Accept(hello.message.nonce)))  # type: ignore[attr-defined]
        assert self.node.mesh.neighbours == (HOSTILE, *FRIENDS)

    def do(self, item: i.Input) -> list[Effect]:
        effects = self.node.handle(item, self.now)
        self.closed += [effect.conn for effect in effects if isinstance(effect, CloseTcp)]
        self.replies += [effect for effect in effects if isinstance(effect, Reply)]
        return effects

    def pause(self, duration: int) -> None:
        """Let time pass, in which the friends beat and timers run."""
        end = self.now + duration
        while self.now < end:
            due = self.node.deadline()
            self.now = max(self.now, min(end, due if due is not None else end, self.now + SECOND))
            for name in FRIENDS:
                connection = self.node.mesh.connections.established[name]
                connection.heard_at = connection.heard_udp_at = self.now
            if due is not None and due <= self.now:
                self.do(i.Wake())
                after = self.node.deadline()
                assert after is None or after > self.now, "a deadline that Wake does not move is a busy loop"

    def check(self) -> None:
        self.node.check_invariants()
        self.node.report(self.now)
        self.node.view(self.now)
        assert set(FRIENDS) <= set(self.node.mesh.neighbours), "a neighbour's words closed another one's connection"
        assert not {CONNS[name] for name in FRIENDS} & set(self.closed)


LINEAGE = Lineage(1, 2, 3)
GIFT = SpaceDonation(1, RingDelta(RANGE, LINEAGE, (Token(0, 5, "a", 1, 0),)))
WRONG_KINDS = [
    News(((channel, delta),))
    for channel in ("topology", "ipam", "dns", "endpoints")
    for delta in (TopologyDelta(()), RingDelta(RANGE, LINEAGE, ()), OriginDelta(()))
] + [
    Want(channel, vector, True)
    for channel in ("topology", "ipam", "dns", "endpoints")
    for vector in (TopologyVector(()), RingVector(RANGE, None, ()), OriginVector(()))
]


def test_every_struct_in_every_channel_that_is_not_its_own() -> None:
    driven = Driven(1)
    for message in WRONG_KINDS:
        driven.do(i.TcpMessage(CONNS[HOSTILE], message))
        driven.check()
    assert not driven.closed, "a conflict in a channel marks the channel and closes nothing"
    assert {conflict["channel"] for conflict in driven.node.report(driven.now)["mesh"]["channel_conflicts"]}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(st.tuples(messages, st.sampled_from([0, 1, 200, 2000])), min_size=1, max_size=12),
    st.lists(st.sampled_from(["allocate", "claim", "prime", "attach", "name", "datagram"]), max_size=4),
    datagrams,
    st.booleans(),
)
@example([(Routed(HOSTILE, OWN, "ipam", 1, GIFT), 2000)], [], None, False)
@example([(Routed(HOSTILE, OWN, "ipam", 1, Trigger("10.0.0.0/8", True)), 0)], ["prime", "allocate"], None, True)
def test_nothing_that_the_wire_admits_breaks_a_node(
    steps: list[tuple[Any, int]], own: list[str], datagram: Any, seeded: bool
) -> None:
    driven = Driven(7, **({"ipam_init": "seed", "seed": (OWN, "c")} if seeded else {}))
    commands = iter(own)
    for number, (message, pause) in enumerate(steps):
        match next(commands, ""):
            case "allocate":
                driven.do(i.Allocate(10 + number, "mine"))
            case "claim":
                driven.do(i.Claim(10 + number, "mine", "10.32.0.7/12"))
            case "prime":
                driven.do(i.Prime(10 + number))
            case "attach":
                driven.do(i.Attached("mine", "02:00:00:00:00:01", ("10.0.1.1/24",)))
            case "name":
                driven.do(i.RegisterName("mine", "svc.weave.local.", "10.0.1.1"))
            case "datagram" if datagram is not None and datagram.name not in FRIENDS:
                driven.do(i.Datagram(Address("192.168.0.1", 6783), datagram))
        driven.do(i.TcpMessage(CONNS[HOSTILE], decode_message(encode_message(message))))
        driven.check()
        driven.pause(pause * MILLISECOND)
        driven.check()
    driven.pause(3 * SECOND)
    driven.check()
    requests = [reply.request for reply in driven.replies]
    assert len(requests) == len(set(requests)), "a request was answered twice"

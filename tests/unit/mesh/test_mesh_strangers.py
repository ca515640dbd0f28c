"""What strangers may cost a mesh: handshakes, forged beacons and hellos are all bounded."""

from random import Random
from typing import Any

from overlay.config import Address, Config
from overlay.effects import CloseTcp, Dial, SendTcp
from overlay.env import SECOND
from overlay.inputs import Datagram, TcpMessage, TcpOpened, Wake
from overlay.mesh.connections import MAX_HANDSHAKES
from overlay.mesh.dialler import MAX_TARGETS
from overlay.mesh.mesh import Mesh
from overlay.wire.envelopes import Accept, Beacon, Goodbye, Hello, News
from overlay.wire.topology import PeerRecord, TopologyDelta

HERE = Address("192.168.0.9", 6783)


def mesh(**options: int) -> Mesh:
    return Mesh(Config(name="b", nickname="bee", **options), 1, Random(1), [], {})  # type: ignore[arg-type]


def opened(number: int) -> TcpOpened:
    return TcpOpened(number, HERE, Address(f"10.0.{number >> 8}.{number & 255}", 40_000), None)


def meet(made: Mesh, number: int, name: str) -> None:
    hello = made.handle(opened(number), 0)[0]
    assert isinstance(hello, SendTcp) and isinstance(hello.message, Hello)
    made.handle(TcpMessage(number, Hello(name, name, 1, number, 6783)), 0)
    made.handle(TcpMessage(number, Accept(hello.message.nonce)), 0)


def test_a_crowd_that_never_greets_is_let_in_up_to_a_limit_and_sent_away_in_time() -> None:
    made = mesh()
    ended = sum(isinstance(made.handle(opened(number), 0)[0], CloseTcp) for number in range(1, 5001))
    assert ended == 5000 - MAX_HANDSHAKES
    assert len(made.connections.all) == MAX_HANDSHAKES
    made.handle(Wake(), 6 * SECOND)
    assert not made.connections.all
    assert isinstance(made.handle(opened(6000), 6 * SECOND)[0], SendTcp), "and there is room again"


def test_a_flood_from_one_source_keeps_no_newcomer_out() -> None:
    """First frames and nothing more from one address, or from one IPv6 subnet, while another peer comes."""
    for flood in ("10.9.9.9", "2001:db8::{:x}"):
        made = mesh()
        for number in range(1, 4 * MAX_HANDSHAKES):
            made.handle(TcpOpened(number, HERE, Address(flood.format(number), 40_000), None), 0)
            if number == 2 * MAX_HANDSHAKES:
                (*_, last) = made.handle(TcpOpened(9999, HERE, Address("10.0.0.1", 40_000), None), 0)
                hello: Any = last
                assert isinstance(hello, SendTcp) and isinstance(hello.message, Hello)
            assert len(made.connections.all) <= MAX_HANDSHAKES
        made.handle(TcpMessage(9999, Hello("c", "c", 1, 9, 6783)), 0)
        made.handle(TcpMessage(9999, Accept(hello.message.nonce)), 0)
        assert made.neighbours == ("c",)
        made.handle(Wake(), 6 * SECOND)
        assert not made.connections.all and not len(made.connections._handshakes), "nothing is left of it"


def test_a_flood_of_hellos_ends_at_the_connection_limit() -> None:
    made = mesh(conn_limit=20)
    goodbyes = 0
    for number in range(1, 400):
        made.handle(opened(number), 0)
        effects = made.handle(TcpMessage(number, Hello(f"peer{number}", "x", 1, number, 6783)), 0)
        goodbyes += any(isinstance(e, SendTcp) and isinstance(e.message, Goodbye) for e in effects)
    assert len(made.connections.all) == 20
    assert goodbyes == 399 - 20


def test_forged_beacons_of_a_known_peer_make_no_endless_list_of_targets() -> None:
    made = mesh()
    meet(made, 1, "c")
    made.handle(TcpMessage(1, News((("topology", TopologyDelta((PeerRecord("z", 1, 1, "zed", ()),))),))), 0)
    dials = 0
    for number in range(20_000):
        source = Address(f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 6783)
        effects = made.handle(Datagram(source, Beacon("z", 1, 6783, answer=True)), SECOND)
        dials += any(isinstance(effect, Dial) for effect in effects)
    assert dials <= MAX_TARGETS
    assert len(made.dialler.targets) <= MAX_TARGETS
    made.check_invariants()


def test_a_quarter_of_the_places_is_kept_for_those_whom_nobody_reaches() -> None:
    made = mesh(conn_limit=8)
    assert made.admission.room("stranger") == 8
    made.routes.tree["known"] = "b"
    assert made.admission.room("known") == made.admission.room() == 6
    meet(made, 1, "c")
    assert made.admission.room("stranger") == 7
    assert made.admission.room("known") == made.admission.room() == 5
    assert mesh(conn_limit=1).admission.room() == 1

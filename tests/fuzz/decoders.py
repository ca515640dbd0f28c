"""Coverage-guided fuzzing of everything that bytes of strangers reach (atheris): `make fuzz`, or one target by name.

    python tests/fuzz/decoders.py TARGET [libFuzzer arguments, as -max_total_time=60]

A target takes bytes and must raise nothing; the protocol's own error counts as an answer. `pairs.py` has the targets
that drive a driver together with its core. pytest does not collect
this file; `tests/unit/mesh/test_fuzz_targets.py` runs every target on Hypothesis' bytes, without atheris.
"""

import gc
import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from types import FunctionType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import kept
import pairs

from overlay import inputs as i
from overlay.config import Address, Config
from overlay.crypto.derive import RootKeys
from overlay.crypto.pake import SEED, RealCrypto, StubCrypto
from overlay.crypto.seal import Opener, Sealer
from overlay.datapath.sleeve import Flag, connection_tag, peer_id
from overlay.datapath.tunnel import Holder, Tunnel
from overlay.effects import CloseTcp, Compute, Effect, Secure, SendTcp
from overlay.env import SECOND
from overlay.errors import RemoteError, UsageError
from overlay.inputs import Neighbour
from overlay.mesh.routes import Routes
from overlay.mesh.session import MAX_HANDSHAKE, Session
from overlay.mesh.topology import Topology
from overlay.node import Node
from overlay.policy.table import PolicyTable
from overlay.policy.words import parse
from overlay.wire.codec import decode_datagram, decode_message, encode_datagram, encode_message
from overlay.wire.policy import MAX_COUNTER, PolicyDelta, PolicyEntry, PolicySpan

ROOT = bytes(range(32))
HOLD = 300 * SECOND
PAGE = Path(__file__).resolve().parents[2] / "docs" / "wire.md"
HERE, THERE = Address("192.0.2.1", 6783), Address("192.0.2.2", 40000)


def message(data: bytes) -> None:
    """A whole control message; what decodes encodes to something that decodes to the same."""
    try:
        found = decode_message(data)
    except RemoteError:
        return
    assert decode_message(encode_message(found)) == found


def datagram(data: bytes) -> None:
    """A whole datagram of the control port."""
    try:
        found = decode_datagram(data)
    except RemoteError:
        return
    assert decode_datagram(encode_datagram(found)) == found


def stream(data: bytes) -> None:
    """A stream from its first byte, in two pieces; the first byte says where it is cut, and whether it is sealed."""
    session = Session()
    session.receive(Session().outgoing() if data[:1] > b"\x20" else b"")
    if data[:1] > b"\x80" and session.agreed is not None:
        session.secure(RootKeys(ROOT, ROOT))
    cut = data[0] % (len(data) or 1) if data else 0
    try:
        for piece in (data[1:cut], data[cut:]):
            session.receive(piece)
    except RemoteError:
        return


def packet(data: bytes) -> None:
    """A sealed packet; and a genuine one with these bytes laid over it."""
    genuine = Sealer(ROOT, 0).seal(b"frame", b"header", 0)
    opener = Opener(ROOT)
    assert (opener.open(data, b"header") == b"frame") is (data == genuine)
    opener = Opener(ROOT)
    changed = bytes(a ^ b for a, b in zip(genuine, data.ljust(len(genuine), b"\0"), strict=False))
    assert (opener.open(changed, b"header") == b"frame") is (changed == genuine)
    assert len(opener._ahead) <= 1025


def tunnel(data: bytes) -> None:
    """A neighbour's tunnel packet whose content is these bytes, and one that is these bytes; both in clear.

    The first byte gives the genuine one its kind and flags, the second its way: for this peer, for another, a flood.
    """
    low, high = "00:00:00:00:00:01", "00:00:00:00:00:02"
    topology = Topology(low, "low", 1)
    holder = Holder(lambda mac: high, Routes(topology), topology.uid_of, lambda peer: False)
    made = Tunnel(low, 1, holder, HOLD)
    made.set_neighbours((Neighbour(high, THERE, 7, True, None),), SECOND)
    kind, to = data[:1] or b"\0", peer_id(low if data[1:2] < b"\x80" else high)
    head = bytes((kind[0] & ~Flag.SEALED | Flag.TUNNEL, 2)) + connection_tag(7) + peer_id(high) + to
    for packet_ in (head + bytes(7) + b"\x01" + data[2:], data, head + bytes(7) + b"\x02" + data[2:]):
        made.incoming(packet_, 0, (THERE.host, THERE.port), SECOND)
        made.incoming(packet_, 40, (THERE.host, THERE.port), SECOND)
    written = sum(len(buffer) for buffers in made.take_writes() for buffer in buffers)
    assert written <= 8 * (len(data) + 64), "more goes to the port than has come"
    sent = sum(len(each) for _, group, _ in made.take_sends() for each in group)
    assert sent <= 8 * (len(data) + 64), "more is sent than has come"
    made.take_heard()


def outgoing(data: bytes) -> None:
    """What a container hands over, with whatever header; what leaves fits the path and is taken apart over there."""
    low, high = "00:00:00:00:00:01", "00:00:00:00:00:02"
    sides = []
    for own, other in ((low, high), (high, low)):
        topology = Topology(own, "own", 1)
        holder = Holder(lambda mac, other=other: other, Routes(topology), topology.uid_of, lambda peer: False)  # type: ignore[misc]
        side = Tunnel(own, 1, holder, HOLD)
        side.set_neighbours((Neighbour(other, THERE, 7, True, RootKeys(ROOT, ROOT)),), SECOND)
        sides.append(side)
    for start in range(0, min(len(data), 2000), 200):
        sides[0].outgoing(data[start : start + 200], SECOND)
        sides[0].outgoing(bytes(10) + b"\2" + data[start : start + 200], SECOND)
    for _, group, segment in sides[0].take_sends():
        assert all(len(each) <= 1452 for each in group)
        sides[1].incoming(b"".join(group), segment, (THERE.host, THERE.port), SECOND)
    sides[1].take_writes()
    assert sides[1].counts["strange"] == 0


def share(data: bytes) -> None:
    """The other side's share of the PAKE, and a public key."""
    crypto = RealCrypto(lambda size: ROOT[:1] * size)
    crypto.pake("x", bool(data[:1] > b"A"), "a", "b", bytes(SEED)).finish(data)
    crypto.exchange(ROOT, data)


def stranger(data: bytes) -> None:
    """A whole node with a password, to which somebody who does not know it says a stream of anything."""
    rng = Random(1)
    node = Node(Config(name="b", nickname="b", password="x"), rng, {}, 0, StubCrypto(rng))
    node.start(SECOND)
    session, closed = Session(), False

    def carry_out(effects: list[Effect]) -> None:
        nonlocal closed
        for effect in effects:
            match effect:
                case SendTcp():
                    session.encode(effect.message)
                case Secure():
                    raise AssertionError("a stranger was let in")
                case CloseTcp():
                    closed = True
                case Compute():
                    carry_out(node.handle(i.Computed(effect.job, effect.work()), SECOND))

    try:
        session.receive(Session().outgoing())
        carry_out(node.handle(i.TcpOpened(1, HERE, THERE, None), SECOND))
        session.feed(data[: 2 * MAX_HANDSHAKE])
        while not closed and (found := session.take()) is not None:
            carry_out(node.handle(i.TcpMessage(1, found), SECOND))
    except RemoteError:
        pass
    node.check_invariants()
    assert not node.mesh.neighbours and len(node.mesh.topology.records) == 1
    if not closed:
        carry_out(node.handle(i.TcpClosed(1, "gone"), SECOND))
    assert not node.mesh.connections.all and not node.mesh.dialler.targets and not node.mesh.dialler.connected


def policies(data: bytes) -> None:
    """News of policies from a neighbour who says anything: two tables that have heard it in another order agree.

    And the words of one: whatever is read has one spelling.
    """
    first, second = PolicyTable("a", 1), PolicyTable("b", 1)
    first.put(False, "from all to db")
    deltas = []
    for at in range(0, len(data) - 6, 7):
        kind, writer, low, length, version, covered, rule = data[at : at + 7]
        by = f"{'abx'[writer % 3]}@{1 + writer // 3 % 2}"
        span = PolicySpan(by, 1 + low % 8, 1 + low % 8 + length % 4 - (length == 255))
        number = 1 + (low + covered % 4) % 8
        text = ("from all to db", "from web to db:80", "nonsense", "from all to " + "x" * rule)[rule % 4]
        entry = PolicyEntry(by, number, MAX_COUNTER if version == 255 else 1 + version % 5, covered < 128, text)
        deltas.append(PolicyDelta((span,), (entry,) if kind % 3 else ()))
    for table, order in ((first, deltas), (second, deltas[::-1])):
        for delta in order:
            with suppress(RemoteError):
                table.merge(delta, SECOND)
        table.check_invariants()
    for one, other in ((first, second), (second, first)) * 2:
        missing = other.missing(one.vector())
        assert (missing is None) == (one.lacking(other.vector()) is None)
        if missing is not None:
            one.merge(missing, SECOND)
            one.check_invariants()
    assert first.digest() == second.digest() and first.entries() == second.entries()
    with suppress(UsageError):
        policy = parse(data[:1] > b"\x80", data[1:].decode(errors="replace"))
        assert parse(policy.accept, policy.rule) == policy


TARGETS: dict[str, Callable[[bytes], None]] = (
    {
        target.__name__: target
        for target in (message, datagram, stream, packet, tunnel, outgoing, share, stranger, policies)
    }
    | pairs.TARGETS
    | kept.TARGETS
)


def main(arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    if arguments[1:] == ["--list"]:
        print(*TARGETS)
        sys.exit(0)
    if len(arguments) < 2 or arguments[1] not in TARGETS:
        sys.exit(f"usage: {arguments[0]} {'|'.join(TARGETS)} [-max_total_time=SECONDS]")
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    logging.disable(logging.CRITICAL)
    # All of what is loaded would be aiohttp and asyncio too, and take minutes.
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and (thing.__module__ or "").partition(".")[0] == "overlay":
            atheris.instrument_func(thing)
    corpus = PAGE.parents[1] / "reports" / "fuzz-corpus" / arguments[1]  # kept: the next run begins where this one ends
    corpus.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(PAGE.read_text().splitlines()):
        found = re.fullmatch(r"[\w-]+ +([0-9a-f]{8,})", line)
        if found:
            octets = bytes.fromhex(found[1])
            framed = len(octets).to_bytes(4, "big") + octets if arguments[1] in ("stream", "stranger") else octets
            (corpus / f"wire{number}").write_bytes(framed)
    atheris.Setup([arguments[0], *arguments[2:], str(corpus)], TARGETS[arguments[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)

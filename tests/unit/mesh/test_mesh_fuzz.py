"""A mesh that is told anything that decodes, in any order: it may close connections, and nothing else goes wrong."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.config import Address, Config
from overlay.env import MILLISECOND
from overlay.inputs import Connect, Datagram, DialFailed, Forget, Input, TcpClosed, TcpMessage, TcpOpened, Wake
from overlay.mesh.mesh import Mesh
from overlay.mesh.report import report as mesh_report
from overlay.wire.envelopes import (
    Accept,
    Beacon,
    Beat,
    Digests,
    Goodbye,
    Graft,
    Hello,
    Namesake,
    News,
    Prune,
    Routed,
    StreamBeat,
    Want,
)
from overlay.wire.origins import OriginDelta, OriginVector
from overlay.wire.ring import Trigger
from overlay.wire.topology import TopologyDelta, TopologyVector

names = st.sampled_from(["a", "b", "c", "d"])
small = st.integers(0, 3)
addresses = st.sampled_from([Address("10.0.0.1", 6783), Address("10.0.0.2", 6783), Address("::1", 1)])
records = st.deferred(lambda: st.from_type(TopologyDelta))
messages = st.one_of(
    st.builds(Hello, names, st.just("n"), small, small, st.just(6783)),
    st.builds(Accept, small),
    st.builds(Goodbye, st.integers(0, 9), st.text(max_size=3), st.just(("nonsense", "10.0.0.7:1", ":::"))),
    st.builds(Namesake, st.sampled_from(["10.0.0.7:1", ":::", ""]), st.text(max_size=3)),
    st.builds(
        News,
        st.sampled_from(["topology", "dns"]).flatmap(
            lambda name: st.one_of(records, st.just(OriginDelta(()))).map(lambda delta: ((name, delta),))
        ),
        st.booleans(),
    ),
    st.builds(Digests, st.integers(-1, 3), st.just((("topology", -5), ("x", 2)))),
    st.builds(
        Want, st.sampled_from(["topology", "x"]), st.sampled_from([TopologyVector(()), OriginVector(())]), st.booleans()
    ),
    st.sampled_from([Prune(), Graft(), StreamBeat(2**62, False)]),
    st.builds(Routed, names, names, st.just("ipam"), st.integers(0, 2), st.just(Trigger("r", False))),
)
datagrams = st.one_of(
    st.builds(Beat, names, small, st.sampled_from([1, 2**62]), st.booleans()),
    st.builds(Beacon, names, small, st.just(6783), st.booleans()),
)


class Driver:
    """Keeps the driver's side of the contract: numbers, and no message on a connection that never was."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.now = 0
        self.conn = 0

    def make(self, kind: int, number: int, message: object, datagram: object, address: Address) -> Input:
        conn = number % (self.conn + 1)
        match kind:
            case 0:
                self.conn += 1
                return TcpOpened(self.conn, address, address, address if number % 2 else None)
            case 1 | 2 | 3 | 4:
                return TcpMessage(conn, message)  # type: ignore[arg-type]
            case 5:
                return TcpClosed(conn, "closed")
            case 6:
                return Datagram(address, datagram)  # type: ignore[arg-type]
            case 7:
                return DialFailed(address, "no")
            case 8:
                return (Connect, Forget)[number % 2](1, (address,))
        return Wake()


steps = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 5), messages, datagrams, addresses, st.integers(0, 3000)), max_size=30
)


@settings(max_examples=100, deadline=None)
@given(steps, st.booleans())
def test_nothing_that_decodes_breaks_a_mesh(steps: list[tuple[Any, ...]], limited: bool) -> None:
    config = Config(name="b", nickname="bee", peers=(Address("10.0.0.1", 6783),), conn_limit=2 if limited else 200)
    mesh = Mesh(config, 1, Random(1), [], {})
    driver = Driver(mesh)
    for kind, number, message, datagram, address, pause in steps:
        driver.now += pause * MILLISECOND
        mesh.handle(driver.make(kind, number, message, datagram, address), driver.now)
        mesh.check_invariants()
        mesh_report(mesh, driver.now)
        due = mesh.deadline()
        if due is not None and due <= driver.now:
            mesh.handle(Wake(), driver.now)
            after = mesh.deadline()
            assert after is None or after > driver.now, "a deadline that Wake does not move is a busy loop"

"""Routes, filters and translated addresses of simulated routers, flow by flow."""

from lab.calibration import CALIBRATION
from lab.scenario.resolve import HostInterface, RouterSpec
from lab.sim.routers import Fate, Leg, Routers
from overlay.config import Address

ANSWERED, UNANSWERED = CALIBRATION.nat_answered, CALIBRATION.nat_unanswered

HOME, WAN = "home", "wan"


def place(network: str, address: str) -> HostInterface:
    return HostInterface(network, address, 24)


def routers(nat: str = "", drop: tuple[str, ...] = ()) -> Routers:
    hosts = {
        "in1": [place(HOME, "10.0.0.2")],
        "in2": [place(HOME, "10.0.0.3")],
        "out": [place(WAN, "20.0.0.2")],
        "far": [place("island", "30.0.0.2")],
        "both": [place(WAN, "20.0.0.9"), place("island", "30.0.0.9")],
    }
    gate = RouterSpec("gw", (place(HOME, "10.0.0.1"), place(WAN, "20.0.0.1")), nat, drop)
    return Routers(hosts, [gate])


OUT, GATE = Address("20.0.0.2", 6783), "20.0.0.1"


def test_neighbours_see_each_other_by_their_addresses_of_the_common_network() -> None:
    assert routers().trace("in1", "udp", 5, Address("10.0.0.3", 7), 0) == Leg("in2", 7, Address("10.0.0.2", 5))
    assert routers().trace("both", "tcp", 5, Address("30.0.0.2", 7), 0) == Leg("far", 7, Address("30.0.0.9", 5))


def test_routes_lead_over_a_router_and_no_further() -> None:
    assert routers().trace("in1", "udp", 5, OUT, 0) == Leg("out", 6783, Address("10.0.0.2", 5))
    assert routers().trace("in1", "udp", 5, Address("30.0.0.2", 7), 0) is Fate.NO_ROUTE
    assert routers().trace("in1", "udp", 5, Address("9.9.9.9", 7), 0) is Fate.SILENT


def test_a_filter_drops_in_both_directions() -> None:
    found = routers(drop=("udp",))
    assert (
        found.trace("in1", "udp", 5, OUT, 0) is found.trace("out", "udp", 5, Address("10.0.0.2", 7), 0) is Fate.SILENT
    )
    assert found.trace("in1", "tcp", 5, OUT, 0) == Leg("out", 6783, Address("10.0.0.2", 5))


def test_a_hidden_host_is_seen_at_the_router_and_reached_by_answers() -> None:
    found = routers(nat=HOME)
    assert found.trace("out", "udp", 6783, Address("10.0.0.2", 6783), 0) is Fate.NO_ROUTE
    assert found.trace("out", "udp", 6783, Address(GATE, 6783), 0) is Fate.SILENT
    assert found.trace("out", "tcp", 6783, Address(GATE, 6783), 0) is Fate.REFUSED
    assert found.trace("in1", "udp", 6783, OUT, 0) == Leg("out", 6783, Address(GATE, 6783))
    assert found.trace("out", "udp", 6783, Address(GATE, 6783), 1) == Leg("in1", 6783, OUT)
    assert found.trace("out", "udp", 6784, Address(GATE, 6783), 1) is Fate.SILENT  # another port is another flow
    assert found.trace("both", "udp", 6783, Address(GATE, 6783), 1) is Fate.SILENT


def test_a_port_that_is_taken_is_replaced() -> None:
    found = routers(nat=HOME)
    found.trace("in1", "udp", 6783, OUT, 0)
    second = found.trace("in2", "udp", 6783, OUT, 0)
    assert isinstance(second, Leg) and second.source.host == GATE and second.source.port != 6783
    assert found.trace("out", "udp", 6783, Address(GATE, second.source.port), 0) == Leg("in2", 6783, OUT)
    assert found.trace("out", "udp", 6783, Address(GATE, 6783), 0) == Leg("in1", 6783, OUT)


def test_a_mapping_is_forgotten_when_nothing_uses_it() -> None:
    found = routers(nat=HOME)
    found.trace("in1", "udp", 6783, OUT, 0)
    assert found.trace("out", "udp", 6783, Address(GATE, 6783), UNANSWERED) is Fate.SILENT
    found.trace("in1", "udp", 6783, OUT, UNANSWERED)
    answered = UNANSWERED + 1
    assert isinstance(found.trace("out", "udp", 6783, Address(GATE, 6783), answered), Leg)
    assert isinstance(found.trace("out", "udp", 6783, Address(GATE, 6783), answered + ANSWERED - 1), Leg)
    assert found.trace("out", "udp", 6783, Address(GATE, 6783), answered + 2 * ANSWERED) is Fate.SILENT

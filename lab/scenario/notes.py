"""What is worth knowing of a scenario that is no fault: said by `lab validate` and `lab run`, kept in histories.

Pure: a checked model in, notes out. What files besides the scenario's own have to say is `lab.scenario.files`'.
"""

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network

from lab.scenario.base import Note, listed
from lab.scenario.generators import pieces
from lab.scenario.model import Scenario
from lab.scenario.overlay_ranges import ranges_of
from lab.scenario.resolve import network_subnets
from overlay.ranges import Network, overlapping


def notes_on(scenario: Scenario) -> Iterator[Note]:
    """All notes, in the file's order of sections."""
    yield from _pieces(scenario)
    yield from _overlaps(scenario)


def _pieces(scenario: Scenario) -> Iterator[Note]:
    underlay = scenario.underlay
    if underlay.edges is None or len(found := pieces(underlay.edges, tuple(underlay.hosts))) < 2:
        return
    key = "file" if underlay.file is not None else "edges"
    told = listed((f"{listed(piece, 3)}" for piece in sorted(found, key=len)), 3)
    yield Note(
        ("underlay", key),
        f"the graph is in {len(found)} pieces, which `connect: all` does not join: {told.replace(', ', ' ')}",
    )


def _overlaps(scenario: Scenario) -> Iterator[Note]:
    """Addresses of underlay and overlay: in a container the overlay's win, on a host the underlay's."""
    networks: list[Network] = [ip_network(subnet) for subnet in network_subnets(scenario.underlay).values()]
    for where, network in ranges_of(scenario):
        if (other := overlapping(network, networks)) is not None:
            yield Note(where, f"the overlay's range {network} overlaps the underlay's {other}: {_MEANS}")
    for name, service in scenario.services.items():
        if service.address is not None:
            other = overlapping(ip_interface(service.address).network, networks)
            if other is not None:
                where = ("services", name, "address")
                yield Note(where, f"{service.address} is in the underlay's {other} too: {_MEANS}")


_MEANS = "in a container such an address is a container, on a host it is a host"

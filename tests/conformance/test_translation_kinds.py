"""Each kind of address translation, found out by packets as RFC 5780 does it: in the simulator and on real routers."""

import asyncio
import socket
from typing import Protocol

import pytest
from both_backends import BACKENDS
from netns_labs import in_lab, require_netns

from lab.backends.netns.backend import NetnsLab
from lab.calibration import CALIBRATION
from lab.probes.namespaces import Spaces
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve
from lab.sim.routers import Leg, Routers
from lab.translation import KINDS
from overlay.config import Address
from overlay.env import SECOND

SCENARIO = """
version: 1
underlay:
  networks: {{home: {{subnet: 10.1.0.0/24}}, wan: {{subnet: 192.168.0.0/24}}}}
  hosts:
    in1: {{network: home, address: 10.1.0.2}}
    in2: {{network: home, address: 10.1.0.3}}
    out1: {{network: wan, address: 192.168.0.2}}
    out2: {{network: wan, address: 192.168.0.3}}
  routers: {{gw: {{networks: [home, wan], nat: {nat}}}}}
overlay: none
timeline:
  - wait: 0s
"""
OUT1, OUT2 = "192.168.0.2", "192.168.0.3"
Seen = tuple[str, int]
"""Where a packet seems to come from."""


def scenario(nat: str) -> Resolved:
    return resolve(parse(SCENARIO.format(nat=nat)))


class Wire(Protocol):
    """Sends one datagram; says where it came out and from where, or None once it is sure that it does not."""

    async def send(self, host: str, port: int, to: Seen) -> tuple[str, int, Seen] | None: ...


class SimWire:
    """By the simulator's routers."""

    def __init__(self, resolved: Resolved) -> None:
        places = {name: spec.interfaces for name, spec in resolved.hosts.items()}
        self.routers = Routers(places, tuple(resolved.routers.values()))
        self.now = 0

    async def send(self, host: str, port: int, to: Seen) -> tuple[str, int, Seen] | None:
        self.now += 1
        found = self.routers.trace(host, "udp", port, Address(*to), self.now)
        return (found.host, found.port, (found.source.host, found.source.port)) if isinstance(found, Leg) else None


class RealWire:
    """By sockets in the hosts of a lab of namespaces."""

    def __init__(self, lab: NetnsLab) -> None:
        self.lab = lab
        self.spaces = Spaces()
        self.sockets: dict[tuple[str, int], socket.socket] = {}
        self.sent = 0

    def open(self, host: str, port: int) -> socket.socket:
        if (host, port) not in self.sockets:
            self.spaces.enter(f"/proc/{self.lab.hosts[host].pid}/ns/net")
            try:
                made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                made.bind(("", port))
            finally:
                self.spaces.home()
            self.sockets[host, port] = made
        return self.sockets[host, port]

    async def send(self, host: str, port: int, to: Seen) -> tuple[str, int, Seen] | None:
        self.sent += 1
        word = str(self.sent).encode()
        self.open(host, port).sendto(word, to)
        # Cables of one machine take microseconds, and nothing waits in the kernel but on a busy one.
        for _ in range(40 if to[0] not in (OUT1, OUT2) else 2000):
            for (there, at), each in self.sockets.items():
                try:
                    data, source = each.recvfrom(64)
                except OSError:  # nothing, or what ICMP says of an earlier one
                    continue
                if data == word:
                    return there, at, source
            await asyncio.sleep(0.005)
        return None


async def prove(wire: Wire, kind: str, hairpin: bool, hosts: tuple[str, str], outer: str) -> None:
    in1, in2 = hosts
    mapping, filtering = KINDS[kind]
    if isinstance(wire, RealWire):
        for host, port in (("out1", 7000), ("out1", 7001), ("out2", 7000)):
            wire.open(host, port)

    async def leaves(host: str, port: int, to: Seen) -> Seen:
        found = await wire.send(host, port, to)
        assert found is not None and found[2][0] == outer
        return found[2]

    # One socket and three destinations: how many mappings?
    seen = [await leaves(in1, 5000, to) for to in ((OUT1, 7000), (OUT1, 7001), (OUT2, 7000))]
    if kind == "linux":
        assert [port for _, port in seen] == [5000] * 3
    else:
        assert len(set(seen)) == (1 if mapping == "endpoint-independent" else 3)
    assert await leaves(in1, 5000, (OUT1, 7000)) == seen[0], "and the same one again"
    other = await leaves(in2, 5000, (OUT1, 7000))
    assert other != seen[0], "another host with the same port"

    # Who may send to a mapping that was made for one destination?
    hole = await leaves(in1, 5100, (OUT1, 7000))
    inside = (in1, 5100)
    from_another = await wire.send("out2", 7000, hole)
    from_its_other_port = await wire.send("out1", 7001, hole)
    assert await wire.send("out1", 7000, hole) == (*inside, (OUT1, 7000))
    free = filtering == "endpoint-independent"
    assert from_another == ((*inside, (OUT2, 7000)) if free else None)
    assert from_its_other_port == ((*inside, (OUT1, 7001)) if free or filtering == "address-dependent" else None)
    if free:
        assert await leaves(in1, 5100, (OUT2, 7000)) == hole, "an answer to a stranger leaves by the same mapping"

    # From inside to the outer address of another host inside.
    first, second = await leaves(in1, 5200, (OUT1, 7000)), await leaves(in2, 5200, (OUT1, 7000))
    turned = await wire.send(in1, 5200, second)
    if not hairpin:
        assert turned is None
    elif free:
        assert turned == (in2, 5200, first)
    else:
        assert turned is None, "in2 has sent nothing there yet"
        assert await wire.send(in2, 5200, first) == (in1, 5200, second)
        assert await wire.send(in1, 5200, second) == (in2, 5200, first)


CASES = [(kind, False) for kind in KINDS] + [(kind, True) for kind in KINDS if "cone" in kind]


def all_kinds() -> Resolved:
    """One network behind a router of each kind, with two hosts, and two hosts outside of all of them."""
    nets = [f"home{number}: {{subnet: 10.{number}.0.0/24}}" for number in range(len(CASES))]
    hosts = [f"in{who}-{number}: {{network: home{number}}}" for number in range(len(CASES)) for who in (1, 2)]
    routers = [
        f"gw{number}: {{networks: [home{number}, wan], nat: {{network: home{number}, kind: {kind}, "
        f"hairpin: {str(hairpin).lower()}}}}}"
        for number, (kind, hairpin) in enumerate(CASES)
    ]
    text = f"""
version: 1
underlay:
  networks: {{wan: {{subnet: 192.168.0.0/24}}, {", ".join(nets)}}}
  hosts:
    out1: {{network: wan, address: {OUT1}}}
    out2: {{network: wan, address: {OUT2}}}
    {"; ".join(hosts).replace("; ", chr(10) + "    ")}
  routers: {{{", ".join(routers)}}}
overlay: none
timeline:
  - wait: 0s
"""
    return resolve(parse(text))


@pytest.mark.parametrize("backend", BACKENDS)
def test_mapping_filtering_and_hairpin_are_those_of_the_kind(backend: str) -> None:
    resolved = all_kinds()

    async def prove_all(wire: Wire) -> None:
        for number, (kind, hairpin) in enumerate(CASES):
            print(kind, hairpin)
            outer = resolved.routers[f"gw{number}"].interfaces[1].address
            await prove(wire, kind, hairpin, (f"in1-{number}", f"in2-{number}"), outer)

    async def check(lab: NetnsLab) -> None:
        await prove_all(RealWire(lab))

    if backend == "sim":
        asyncio.run(prove_all(SimWire(resolved)))
    else:
        require_netns()
        in_lab(resolved, check)


@pytest.mark.parametrize(
    ("nat", "lifetime"),
    [
        ("home", CALIBRATION.nat_unanswered),
        ("{network: home, timeout: 7s}", 7 * SECOND),
        ("{network: home, kind: full-cone}", CALIBRATION.nat_mapping),
        ("{network: home, kind: symmetric, timeout: 45s}", 45 * SECOND),
    ],
)
def test_a_mapping_lives_as_long_as_it_is_said_after_the_last_packet_from_inside(nat: str, lifetime: int) -> None:
    wire = SimWire(scenario(nat))

    async def prove_it() -> None:
        found = await wire.send("in1", 5000, (OUT1, 7000))
        assert found is not None
        _, hole = found[1], found[2]
        wire.now += lifetime - 10
        assert await wire.send("in1", 5000, (OUT1, 7000)) == found
        wire.now += lifetime - 10
        assert await wire.send("out1", 7000, hole) == ("in1", 5000, (OUT1, 7000))
        wire.now += max(lifetime, CALIBRATION.nat_answered if nat == "home" else 0)
        assert await wire.send("out1", 7000, hole) is None

    asyncio.run(prove_it())


def test_other_pairs_of_behaviours_are_the_simulators_alone() -> None:
    resolved = scenario("{network: home, mapping: address-dependent, filtering: address-dependent}")
    wire = SimWire(resolved)

    async def prove_it() -> None:
        seen = [await wire.send("in1", 5000, to) for to in ((OUT1, 7000), (OUT1, 7001), (OUT2, 7000))]
        ports = [found[2][1] for found in seen if found is not None]
        assert ports[0] == ports[1] != ports[2]

    asyncio.run(prove_it())
    from lab.backends.netns.backend import NetnsBackend

    (reason,) = [why for why in NetnsBackend().refuse(resolved) if "nat" in why]
    assert "nft has no address-dependent mapping with address-dependent filtering" in reason

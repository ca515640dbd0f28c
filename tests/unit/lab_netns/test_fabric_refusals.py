"""What a scenario cannot have on real packets, and the words in which that is said."""

from lab.backends.real.fabric_lab import refusals
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

ROUTED = """
version: 1
underlay:
  networks: {one: {subnet: 192.168.1.0/24}, two: {subnet: 192.168.2.0/24}}
  hosts: {a: {network: one}, b: {network: two}, c: {network: two}}
  routers: {gw: {networks: [one, two]}}
  links: {"%s": {%sloss: 5%%, mtu: 1400}}
timeline: [{partition: {groups: [[a], [b]]}, for: 1s}, {block: {udp: 6784}, for: 1s}]
"""


def test_what_goes_over_a_router_can_be_lost_or_too_big_and_no_more() -> None:
    assert refusals(resolve(parse(ROUTED % ("b <-> a", ""))), "netns") == []
    (reason,) = refusals(resolve(parse(ROUTED % ("b <-> a", "rate: 10mbit, "))), "netns")
    assert reason.startswith("underlay.links: ") and "a -> b asks for rate" in reason


def test_a_network_has_no_more_hosts_than_a_bridge_has_ports() -> None:
    text = "version: 1\nunderlay: {generate: {kind: full_mesh, hosts: %d}}\noverlay: none\ntimeline: [{wait: 1s}]\n"
    assert refusals(resolve(parse(text % 1023)), "netns") == []
    (reason,) = refusals(resolve(parse(text % 1024)), "netns")
    assert reason.startswith("underlay: 1,024 hosts are in the network ") and "1,023 ports" in reason

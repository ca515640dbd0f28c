"""What a scenario cannot have on real packets, and the words in which that is said."""

from lab.backends.fabric_lab import refusals
from lab.scenario import parse
from lab.topology import resolve

ROUTED = """
version: 1
underlay:
  networks: {one: {subnet: 192.168.1.0/24}, two: {subnet: 192.168.2.0/24}}
  hosts: {a: {network: one}, b: {network: two}, c: {network: two}}
  routers: {gw: {networks: [one, two]}}
  links: {"%s": {loss: 5%%}}
timeline: [{partition: {groups: [[a], [b]]}, for: 1s}, {block: {udp: 6784}, for: 1s}]
"""


def test_a_link_over_a_router_is_refused_and_one_within_a_network_is_not() -> None:
    assert refusals(resolve(parse(ROUTED % "b -> c")), "netns") == []
    (reason,) = refusals(resolve(parse(ROUTED % "b <-> a")), "netns")
    assert reason.startswith("underlay.links: ") and "a -> b asks for loss" in reason

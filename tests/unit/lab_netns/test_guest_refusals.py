"""What virtual machines cannot honour is refused by its place in the scenario, and nothing else is."""

from lab.backends.vagrant.backend import refusals
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

SCENARIO = """
version: 1
underlay:
  networks: {x: {subnet: 192.168.1.0/24}, y: {subnet: 192.168.2.0/24}}
  hosts: {a: {network: x}, b: {network: y}}
  routers: {gw: {networks: [x, y]}}
services: {one: {image: no/such, args: [one], host: a}}
timeline: [{slow_disk: {host: a}, for: 1s}, {clock: {host: b, offset: 1s}, for: 1s}]
"""
LINKS = """
version: 1
underlay:
  hosts: {a: {}, b: {}}
  links: {default: {delay: 20ms, jitter: 2ms, loss: 1%, rate: 10mbit}}
timeline: [{partition: {groups: [[a], [b]]}, for: 1s}, {clock: {host: b, offset: 1s}, for: 1s}]
"""


def test_routers_disks_and_unknown_images_are_refused_by_name() -> None:
    reasons = refusals(resolve(parse(SCENARIO)))
    places = [reason.partition(": ")[0] for reason in reasons]
    assert places == ["underlay.routers.gw", "timeline[0].slow_disk", "services"]
    assert "no image no/such" in reasons[2]


def test_what_a_kernel_of_ones_own_can_do_is_not_refused() -> None:
    assert refusals(resolve(parse(LINKS))) == []

"""What a scenario cannot have on real packets, and the words in which that is said."""

import pytest

from lab.backends.real.fabric_lab import refusals
from lab.fabric import features
from lab.fabric.features import Feature
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


def test_what_goes_over_a_router_needs_the_relay_for_more_than_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"htb": True, "netem": True, "relay": False}

    def check(name: str) -> Feature:
        return Feature(name=name, serves="", required=False, found=has[name], remedy="load it", detail="unknown")

    monkeypatch.setattr(features, "check", check)
    slow = resolve(parse(ROUTED % ("b <-> a", "rate: 10mbit, ")))
    assert refusals(resolve(parse(ROUTED % ("b <-> a", ""))), "netns") == []
    (reason,) = refusals(slow, "netns")
    assert reason.startswith("underlay.links: the link a -> b and 1 more asks for loss, rate, mtu, but ")
    assert reason.endswith("relay (unknown); load it")
    has["relay"] = True
    assert refusals(slow, "netns") == []


def test_a_network_has_no_more_hosts_than_a_bridge_has_ports() -> None:
    text = "version: 1\nunderlay: {generate: {kind: full_mesh, hosts: %d}}\noverlay: none\ntimeline: [{wait: 1s}]\n"
    assert refusals(resolve(parse(text % 1023)), "netns") == []
    (reason,) = refusals(resolve(parse(text % 1024)), "netns")
    assert reason.startswith("underlay: 1,024 hosts are in the network ") and "1,023 ports" in reason

"""Faults and questions that do nothing are refused, each at its place, with what is possible instead."""

import pytest

from lab.scenario.load import ScenarioError, parse

HEAD = """\
version: 1
underlay:
  networks: {x: {subnet: 192.168.1.0/24}, y: {subnet: 192.168.2.0/24}, z: {subnet: 192.168.3.0/24}}
  hosts: {a: {network: x}, b: {network: x}, c: {network: y}, d: {network: z}}
  routers: {gw: {networks: [x, y]}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a}
  web: {image: ksahnine/dummy-http, args: [web], replicas: 2, hosts: [a, b]}
  shell: {image: tutum/curl, host: a}
timeline:
  - launch: all
  - run: all
"""


@pytest.mark.parametrize(
    ("step", "key", "message"),
    [
        ("block: {udp: 6784, hosts: a}", "hosts", "a alone: nothing to drop, expected at least two hosts"),
        ("mtu: {to: 1200, hosts: [b]}", "hosts", "b alone: nothing to shrink, expected at least two hosts"),
        ("block: {udp: 6784, hosts: [a, d]}", "hosts", "a, d: nothing to drop, for no link joins any two"),
        ("mtu: {to: 1500}", "to", "1500, expected less than 1500"),
        (
            "partition: {one_way: {from: a, to: a}}",
            "partition",
            "that cuts nothing, expected hosts on both",
        ),
        ("partition: {one_way: {from: a, to: d}}", "partition", "cuts nothing: no link joins these hosts"),
        ("partition: {groups: [[a, b, c, d]]}", "partition", "a partition that cuts nothing"),
        ("partition: {groups: []}", "partition", "a partition that cuts nothing"),
        ("partition: {isolate: d}", "partition", "cuts nothing: no link joins these hosts"),
        ("partition: {isolate: a, for: 0}", "partition", "`for: 0`: it would end as it begins"),
        ("kill: {host: a, for: 0s}", "kill", "`for: 0`: it would end as it begins"),
        ("churn: {every: 1s, hosts: a, for: 2s}", "hosts", "1 host, expected at least two, or `keep: 0`"),
        ("slow_disk: {host: a, latency: 0}", "slow_disk", "a disk as fast as ever"),
        ("clock: {host: a}", "clock", "a clock that is right, expected an `offset` or a `drift_ppm`"),
        ("connect: {from: a, to: a}", "to", "a itself, expected another host"),
        ("scale: {service: web, to: 2}", "to", "2 containers, as web has already, expected another number"),
        ("expect: {reachable: {from: one, to: one}}", "reachable", "one and nobody else, expected two containers"),
        ("expect: {unreachable: {from: web-1, to: web-1}}", "unreachable", "web-1 and nobody else"),
    ],
)
def test_what_does_nothing_is_said_with_its_place(step: str, key: str, message: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(HEAD + f"  - {step}\n")
    said = str(raised.value)
    assert message in said, said
    place = said.partition(": found")[0]
    assert place.startswith("scenario:13:") and place.endswith(key), place


@pytest.mark.parametrize(
    "step",
    [
        "block: {udp: 6784, hosts: [a, c]}",
        "partition: {one_way: {from: a, to: [a, b]}}",
        "partition: {groups: [[a]]}",
        "churn: {every: 1s, hosts: a, keep: 0, for: 2s}",
        "clock: {host: a, drift_ppm: -5}",
        "slow_disk: {host: a, latency: 0, full: true}",
        "scale: {service: web, to: 3}",
        "expect: {reachable: {from: web, to: web}}",
        "expect: {dns: {name: web.weave.local, answers: 0, from: one}}",
    ],
)
def test_what_does_something_is_accepted(step: str) -> None:
    parse(HEAD + f"  - {step}\n")


def test_probes_and_links_about_nobody() -> None:
    head, _, steps = HEAD.partition("timeline:")
    for probe, message in (
        ("{kind: http, from: one, to: one}", "one and nobody else"),
        ("{kind: icmp, from: shell, to: shell}", "shell and nobody else"),
    ):
        with pytest.raises(ScenarioError, match=message):
            parse(f"{head}probes: [{probe}]\ntimeline:{steps}")
    bare = "version: 1\nunderlay: {hosts: {a: {}}%s}\n%stimeline: [{wait: 1s}]\n"
    with pytest.raises(ScenarioError, match="a link from a to itself"):
        parse(bare % (', links: {"a -> a": {delay: 1ms}}', ""))
    quiet = "services: {s: {image: tutum/curl}, t: {image: tutum/curl}}\nprobes: [{kind: http}]\n"
    with pytest.raises(ScenarioError, match="no service that answers HTTP"):
        parse(bare % ("", quiet))

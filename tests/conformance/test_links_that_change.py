"""Links that change, follow a file or lose their carrier, in the simulator and on real packets: the same to a probe.

What is asserted of times has one side only: nothing arrives earlier than a link lets it, however slow the machine is.
"""

from pathlib import Path

import pytest
from both_backends import BACKENDS, Played, played

from lab.records.history import Sample

MS = 1_000_000
SCENARIO = """
version: 1
underlay:
  networks: {lan: {subnet: 192.168.0.0/24}, wan: {subnet: 192.168.1.0/24}}
  hosts: {a: {network: lan}, b: {network: lan}, c: {network: wan}}
  routers: {gw: {networks: [lan, wan]}}
services:
  one: {image: ksahnine/dummy-http, host: a, address: 10.0.1.1/24, args: [one]}
  two: {image: ksahnine/dummy-http, host: b, address: 10.0.1.2/24, args: [two]}
  three: {image: ksahnine/dummy-http, host: c, address: 10.0.1.3/24, args: [three]}
probes: [{kind: icmp, every: 100ms, timeout: 900ms}]
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s}
  - link: {from: a, to: all, delay: 90ms, for: 6s}
  - wait: 6s
  - expect: {converged: all, within: 90s}
  - trace: {file: %s, from: b, to: a}
  - wait: 6s
  - heal: all
  - expect: {converged: all, within: 90s}
  - flap: {host: b, every: 1s, down: 400ms, for: 2s}
  - wait: 3s
  - flap: {between: [a, c], for: 1s}
  - wait: 2s
  - expect: {converged: all, within: 90s}
"""


def answered(run: Played, source: str, target: str, start: int, end: int) -> list[int]:
    """Latencies of the good tries that were sent in a span."""
    found = (one for one in run.records if isinstance(one, Sample) and (one.source, one.target) == (source, target))
    return [one.latency for one in found if one.latency is not None and start <= one.t and one.t + one.late < end]


@pytest.mark.parametrize("name", BACKENDS)
def test_probes_see_what_was_asked(name: str, tmp_path: Path) -> None:
    file = tmp_path / "up.csv"
    file.write_text("time,delay,loss\n0,70ms,\n1,150ms,0%\n", "utf-8")
    run = played(SCENARIO % file, name, tmp_path)
    assert run.verdict == "valid", run.reason

    (begun,), (ended,) = run.events("link", "start"), run.events("link", "end")
    # An event's time is when the step began; the link is in force a moment later, or two.
    for target in ("two", "three"):
        found = answered(run, "one", target, begun.t + 3000 * MS, ended.t - 900 * MS)
        assert found and min(found) >= 90 * MS, "on one network, and over a router"
    (begun,) = run.events("trace", "start")
    healed = run.events("heal", "start")[0].t
    second = answered(run, "one", "two", begun.t + 4000 * MS, healed - 900 * MS)
    assert all(each >= 150 * MS for each in second)
    if name != "netns":  # a machine that stalls may answer late, and nothing in time
        assert second and min(answered(run, "one", "two", begun.t, healed)) < 150 * MS

    last = run.events("flap", "end")[-1].t
    assert min(answered(run, "one", "two", last, last + 60_000 * MS)) < 70 * MS

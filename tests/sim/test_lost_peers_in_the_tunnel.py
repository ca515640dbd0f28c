"""Containers apart for a cut: how soon they reach each other again must not depend on how their frames travel."""

from pathlib import Path

import pytest

import lab

EVERY = 10_000_000
"""Nanoseconds between two tries."""
FOR = 1_000_000_000


GROUPS = "groups: [[host1], [host2, host3]]"


def reached_after(tmp_path: Path, options: str, fault: str, wait: int, phase: str) -> int:
    """Nanoseconds from the start or end of the cut until everybody is reached, up to a few tries."""
    path = tmp_path / "cut.yaml"
    path.write_text(
        f"""version: 1
name: cut
overlay: {{options: {{{options}}}}}
underlay: {{hosts: {{host1: {{}}, host2: {{}}, host3: {{}}}}}}
services:
  web: {{image: ksahnine/dummy-http, args: [web], replicas: 3}}
probes: [{{kind: icmp, every: 10ms, timeout: 1s}}]
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{reachable: all, within: 60s, for: 1s}}
  - partition: {{{fault}}}
  - wait: {wait}ms
  - expect: {{reachable: all, within: 60s, for: 1s}}
""",
        encoding="utf-8",
    )
    run = lab.play(str(path), backend="sim", seed=wait, out=str(tmp_path / "runs"))
    assert run.verdict == "valid", run.reason
    since = next(event.t for event in run.events if event.what == "partition" and event.phase == phase)
    *_, reached = [event.t for event in run.events if event.what == "expect" and event.phase == "end"]
    return reached - since - FOR


@pytest.mark.parametrize(
    "options", ["fastdp: true", "fastdp: false", "password: of-the-lab", "password: of-the-lab, fastdp: false"]
)
def test_all_are_back_at_once_though_all_connections_were_lost(tmp_path: Path, options: str) -> None:
    for cut in (20_000, 20_150, 20_300):
        assert reached_after(tmp_path, options, f"{GROUPS}, for: {cut}ms", cut, "end") <= 3 * EVERY, cut


@pytest.mark.parametrize("options", ["", "fastdp: false", "password: of-the-lab, fastdp: false"])
def test_a_path_that_is_cut_in_one_direction_is_left_when_its_connection_is_lost(tmp_path: Path, options: str) -> None:
    """Four to five seconds of silence, and then not the three more that a daemon gets which may only start again."""
    fault = "one_way: {from: host1, to: host2}"
    assert reached_after(tmp_path, options, fault, 1500, "start") < 6.5e9

"""Containers apart for a cut: how soon they reach each other again must not depend on how their frames travel."""

from pathlib import Path

import pytest

import lab

EVERY = 10_000_000
"""Nanoseconds between two tries."""
FOR = 1_000_000_000


def back_after(tmp_path: Path, options: str, cut: int) -> int:
    """Nanoseconds from the heal to the first time that everybody is reached, up to a few tries."""
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
  - partition: {{groups: [[host1], [host2, host3]], for: {cut}ms}}
  - wait: {cut}ms
  - expect: {{reachable: all, within: 60s, for: 1s}}
""",
        encoding="utf-8",
    )
    run = lab.play(str(path), backend="sim", seed=cut, out=str(tmp_path / "runs"))
    assert run.verdict == "valid", run.reason
    (healed,) = [event.t for event in run.events if event.what == "partition" and event.phase == "end"]
    *_, reached = [event.t for event in run.events if event.what == "expect" and event.phase == "end"]
    return reached - healed - FOR


@pytest.mark.parametrize(
    "options", ["fastdp: true", "fastdp: false", "password: of-the-lab", "password: of-the-lab, fastdp: false"]
)
def test_all_are_back_at_once_though_all_connections_were_lost(tmp_path: Path, options: str) -> None:
    for cut in (20_000, 20_150, 20_300):
        assert back_after(tmp_path, options, cut) <= 3 * EVERY, cut

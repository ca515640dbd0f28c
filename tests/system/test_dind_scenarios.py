"""Scenarios and the walk-through, unchanged, on hosts that are containers with a Docker Engine."""

from pathlib import Path

import pytest
from dind_labs import lab, require_dind, summary
from wire_captures import tshark

from lab.capture.pcapng import whole_blocks

pytestmark = pytest.mark.turn(0)

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


def test_a_partition_unchanged(tmp_path: Path) -> None:
    require_dind()
    out = lab("run", str(SCENARIOS / "partition.yaml"), "--backend", "dind", "--json", "--out", str(tmp_path))
    assert summary(out)["verdict"] == "valid"


BRIDGED = """\
version: 1
name: bridged
underlay:
  hosts: {orion: {address: 192.168.0.2}, macbook: {address: 192.168.0.3}}
overlay: vxlan
services:
  svc1: {image: ksahnine/dummy-http, host: orion, address: 10.0.1.1/24}
  svc2: {image: ksahnine/dummy-http, host: orion, address: 10.0.1.2/24}
  svc3: {image: ksahnine/dummy-http, host: macbook, address: 10.0.1.3/24}
timeline: [{launch: all}, {run: all}, {expect: {reachable: all, within: 90s}}]
"""


def test_a_static_vxlan_passes_the_policy_of_docker(tmp_path: Path) -> None:
    require_dind()
    file = tmp_path / "bridged.yaml"
    file.write_text(BRIDGED)
    words = ["run", str(file), "--backend", "dind", "--json", "--out", str(tmp_path)]
    out = lab(*words, "--capture", "all", "--capture", "svc3")
    assert summary(out)["verdict"] == "valid"
    hosts, container = (tmp_path / "bridged" / "latest" / "captures" / f"{name}.pcapng" for name in ("all", "svc3"))
    for file in (hosts, container):
        assert whole_blocks(file.read_bytes()) == file.stat().st_size
        assert "step 3, " in tshark(file, "-Y", "frame.comment", "-T", "fields", "-e", "frame.comment")
    names = tshark(hosts, "-Y", "vxlan", "-T", "fields", "-e", "frame.interface_name").split("\n")
    assert set(names) - {""} == {"orion eth0", "macbook eth0"}
    assert tshark(container, "-Y", 'ip.addr == 10.0.1.3 and frame.interface_name contains "svc3"') != ""


def test_the_walk_through_word_for_word() -> None:
    require_dind()
    assert "commands did what they should" in lab("workshop", "--check", "--backend", "dind")


def test_the_walk_through_notices_what_is_wrong(tmp_path: Path) -> None:
    require_dind()
    page = tmp_path / "page.md"
    page.write_text("## 1. A\n```console\norion.local:~$ sudo weave status\nService: router\n```\n")
    out = lab("workshop", str(page), "--check", code=1)
    assert "part 1, `orion.local:~$ sudo weave status`" in out

"""A lab that a program holds, on real packets: cuts and heals between two calls, and other terminals meanwhile."""

import subprocess
import sys
from pathlib import Path

from netns_labs import require_netns

import lab
from lab.backends.netns import labs

SCENARIO = """\
version: 1
name: live-packets
underlay: {hosts: {a: {}, b: {}}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 2}}
timeline: [{launch: all}, {connect: all}, {run: all}]
"""
PATIENCE = "60s"


def test_a_cut_and_its_heal_between_two_calls(tmp_path: Path) -> None:
    require_netns()
    with lab.LiveLab(out=tmp_path) as live:
        live.up(SCENARIO)
        live.expect(reachable="all", within=PATIENCE)
        words = [sys.executable, "-m", "lab.cli", "exec", "--name", live.name, "a", "--", "hostname"]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "a"
        live.partition(groups=[["a"], ["b"]])
        live.expect(unreachable="all", within=PATIENCE)
        live.heal()
        live.expect(converged="all", within=PATIENCE)
        assert "established" in live.exec(host="b", command=["weave", "status", "connections"]).detail["stdout"]
        run = live.down()
        assert live.name not in [one.name for one in labs()]
    assert [found.ok for found in run.expectations] == [True] * 3
    assert run.summary["complete"] and run.loads and run.samples.where(ok=False)
    assert lab.load("live-packets", root=tmp_path).folder == run.folder

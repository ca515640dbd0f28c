"""`capture` steps and `--capture` on real packets: what is in the files, with which marks, and what a kill leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab_processes import family, gone, of_a_lab
from netns_labs import require_netns
from tiers import cannot_run
from waiting import eventually
from wire_captures import tshark

from lab.capture.filters import find_tcpdump
from lab.capture.pcapng import whole_blocks

LAB = [sys.executable, "-m", "lab.cli"]
HEAD = """
version: 1
name: {name}
underlay: {{hosts: {{a: {{address: 192.168.0.2}}, b: {{address: 192.168.0.3}}}}}}
overlay: weave
services:
  one: {{image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}}
  two: {{image: ksahnine/dummy-http, args: [two], host: b, address: 10.0.1.2/24}}
probes:
  - {{kind: icmp, from: one, to: two, every: 100ms}}
timeline:
"""
PLAYED = (
    HEAD
    + """
  - launch: all
  - capture: {{on: one, filter: icmp, name: wire}}
  - capture: {{on: [one, two], for: 500ms}}
  - connect: all
  - run: all
  - expect: {{reachable: all, within: 60s}}
  - kill: {{service: one}}
  - restart: {{service: one}}
  - expect: {{reachable: all, within: 60s}}
  - partition: {{groups: [[a], [b]]}}
    for: 2s
  - wait: 2500ms
  - expect: {{reachable: all, within: 60s}}
"""
)
"""What is captured at `one` begins before the container is there, and goes on with the next one."""


def rows(file: Path, *words: str) -> list[list[str]]:
    fields = [word for name in words for word in ("-e", name)]
    return [line.split("\t") for line in tshark(file, "-T", "fields", *fields).splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_netns()
    if find_tcpdump() is None:
        cannot_run("no tcpdump here (Debian: package tcpdump)")
    folder = tmp_path_factory.mktemp("capture steps")
    file = folder / "played.yaml"
    file.write_text(PLAYED.format(name=f"capture-steps-{os.getpid()}"))
    words = ["run", str(file), "--no-figures", "--out", str(folder), "--capture", "a->b", "--capture", "two", "--json"]
    done = subprocess.run([*LAB, *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(json.loads(done.stdout.splitlines()[-1])["run_dir"])


def test_a_run_has_a_file_for_each_capture_and_its_marks_are_those_of_the_history(run: Path) -> None:
    files = sorted((run / "captures").glob("*.pcapng"))
    assert [file.name for file in files] == ["a-to-b.pcapng", "one-two.pcapng", "two.pcapng", "wire.pcapng"]
    events = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    wanted = [f"{one['t'] / 1e9:.3f} s: step {one['step'] + 1}, " for one in events if one.get("step", -1) >= 0]
    for file in files:
        assert whole_blocks(file.read_bytes()) == file.stat().st_size
        marks = [(float(row[0]), row[1]) for row in rows(file, "frame.time_epoch", "frame.comment") if row[1]]
        heads = [head for head in wanted if any(text.startswith(head) for _, text in marks)]
        # What began later, or ended sooner, has the marks of its time.
        assert heads == wanted or (file.name in ("wire.pcapng", "one-two.pcapng") and len(heads) > 2)
        # What a mark says of the run's time is what its own time says: all have one beginning.
        begun = {round(at - float(text.partition(" ")[0]), 1) for at, text in marks}
        assert max(begun) - min(begun) < 0.15, marks
    assert any("reachable" in text and "true after" in text for _, text in marks)
    assert any(row[1].endswith("the run ends: valid") for row in rows(files[0], "frame.number", "frame.comment"))


def test_packets_and_marks_tell_the_same_story(run: Path) -> None:
    file = run / "captures" / "wire.pcapng"
    found = rows(file, "frame.time_epoch", "frame.interface_name", "icmp.type", "frame.comment")
    marks = {row[3].partition(": ")[2]: float(row[0]) for row in found if row[3]}
    replies = [float(row[0]) for row in found if row[2] == "0" and row[1].startswith("one ")]
    assert replies, found
    assert {row[2] for row in found if row[1].startswith("one ")} == {"0", "8"}, "the filter lets nothing else pass"
    cut, healed = marks["step 11, wait 2500ms: begins"], marks["step 10, partition a | b: ends"]
    killed, back = marks["step 7, kill service one: begins"], marks["step 8, restart service one: done"]
    assert not [at for at in replies if cut + 0.5 < at < healed], "nothing comes through a partition"
    assert [at for at in replies if at < killed] and [at for at in replies if at > back], "both containers are there"


def test_a_pair_has_only_the_packets_of_both(run: Path) -> None:
    found = rows(run / "captures" / "a-to-b.pcapng", "frame.interface_name", "ip.src", "arp.src.proto_ipv4")
    others = [row for row in found if row[0] == "a->b eth0"]
    assert others and all("192.168.0.3" in words or "192.168.0.2" in words for words in map(" ".join, others))


def test_kill_9_of_a_run_leaves_a_file_that_can_be_read_and_no_process(tmp_path: Path) -> None:
    require_netns()
    file = tmp_path / "killed.yaml"
    name = f"capture-killed-{os.getpid()}"
    file.write_text(HEAD.format(name=name) + "  - launch: all\n  - connect: all\n  - run: all\n  - wait: 10m\n")
    words = ["run", str(file), "--no-figures", "--out", str(tmp_path), "--capture", "all", "--capture", "one"]
    front = subprocess.Popen([*LAB, *words], stdout=subprocess.DEVNULL, start_new_session=True)
    captures = tmp_path / name / "latest" / "captures"

    def grown() -> bool:
        sizes = [one.stat().st_size for one in captures.glob("*.pcapng")]
        return len(sizes) == 2 and min(sizes) > 4000

    try:
        eventually(grown, what="packets in both files")
        below = family(front.pid)
        assert "sniff" in below.values()
        own = of_a_lab(pid for pid in below if pid != front.pid)
    finally:
        front.kill()
        front.wait()
    gone(own)
    for one in captures.glob("*.pcapng"):
        assert whole_blocks(one.read_bytes()) == one.stat().st_size
        assert any("icmp" in row[0] for row in rows(one, "frame.protocols"))


def test_a_standing_lab_captures_until_it_is_taken_down(tmp_path: Path) -> None:
    require_netns()
    file = tmp_path / "stands.yaml"
    name = f"capture-stands-{os.getpid()}"
    file.write_text(HEAD.format(name=name) + "  - launch: all\n")
    words = ["up", str(file), "--name", name, "--out", str(tmp_path), "--capture", "a"]
    done = subprocess.run([*LAB, *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    try:
        for command in (
            ["exec", "--name", name, "b", "--", "ping", "-c", "1", "192.168.0.2"],
            ["kill", "b", "--name", name],
        ):
            subprocess.run([*LAB, *command], check=True, timeout=120, capture_output=True)
    finally:
        subprocess.run([*LAB, "down", "--name", name], check=True, timeout=120, capture_output=True)
    found = rows(tmp_path / name / "latest" / "captures" / "a.pcapng", "icmp.type", "frame.comment")
    assert ["8", ""] in found and ["0", ""] in found
    assert any("kill daemon of b: begins" in row[1] for row in found if row[1])


def test_an_interface_that_comes_after_the_container_is_captured_too(tmp_path: Path) -> None:
    require_netns()
    file = tmp_path / "late.yaml"
    text = HEAD.replace("overlay: weave", "overlay: vxlan")  # which attaches a container after `docker run`
    steps = "  - launch: all\n  - run: all\n  - expect: {{reachable: all, within: 60s}}\n"
    file.write_text((text + steps).format(name=f"late-interface-{os.getpid()}"))
    words = ["run", str(file), "--no-figures", "--out", str(tmp_path), "--capture", "two", "--json"]
    done = subprocess.run([*LAB, *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = Path(json.loads(done.stdout.splitlines()[-1])["run_dir"], "captures", "two.pcapng")
    assert {name for (name,) in rows(found, "frame.interface_name")} >= {"two ethwe"}
    assert tshark(found, "-Y", "icmp and ip.src == 10.0.1.1") != ""

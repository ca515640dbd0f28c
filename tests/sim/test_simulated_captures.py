"""Captures of simulated runs: real bytes of the overlay in frames with right checksums, at virtual times, the same in
every run, and a run that does not notice."""

import io
from pathlib import Path

import pytest
from wire_captures import tshark

from lab.backends.simulated.backend import SimBackend
from lab.backends.simulated.loop import run_virtual
from lab.capture.filters import find_tcpdump
from lab.capture.places import CaptureRequest
from lab.records.history import Writer
from lab.runner.runner import Runner
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

EPOCH = 1_700_000_000
SCENARIO = """
version: 1
name: captured
underlay: {{hosts: {{a: {{}}, b: {{}}, c: {{}}}}}}
overlay: {{kind: weave, options: {options}}}
services:
  one: {{image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}}
  two: {{image: ksahnine/dummy-http, args: [two], host: b, address: 10.0.1.2/24}}
probes:
  - {{kind: icmp, from: one, to: two, every: 500ms}}
  - {{kind: http, from: two, to: one, every: 500ms}}
  - {{kind: udp, from: one, to: two, every: 500ms}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{reachable: all, within: 20s}}
{more}
  - partition: {{groups: [[a], [b, c]]}}
    for: 3s
  - wait: 3s
  - kill: {{daemon: c}}
  - expect: {{converged: all, within: 60s}}
  - expect: {{reachable: all, within: 20s}}
"""


def played(folder: Path | None, *places: str, more: str = "", options: str = "{}", filter: str = "") -> bytes:
    """The history of a run, captured at these places."""
    scenario = resolve(parse(SCENARIO.format(more=more, options=options)))
    file = io.BytesIO()
    if folder is not None:
        folder.mkdir(parents=True)
    wanted = [CaptureRequest(on=(place,), name=place.replace(">", ""), most=10**8, filter=filter) for place in places]
    runner = Runner(scenario, SimBackend(), Writer(file), version="1", run_dir=folder, captures=wanted)
    outcome = run_virtual(runner.run())
    assert outcome.verdict == "valid", outcome.reason
    return file.getvalue()


def fields(file: Path, *names: str, only: str = "") -> list[list[str]]:
    words = [word for name in names for word in ("-e", name)] + (["-Y", only] if only else [])
    return [line.split("\t") for line in tshark(file, "-T", "fields", *words).splitlines()]


def test_a_run_with_captures_is_the_run_without_and_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    plain = played(None)
    places = ("all", "a", "one", "a->b")
    assert played(tmp_path / "1", *places) == played(tmp_path / "2", *places) == plain
    files = sorted((tmp_path / "1" / "captures").iterdir())
    assert len(files) == 4
    for file in files:
        assert file.read_bytes() == (tmp_path / "2" / "captures" / file.name).read_bytes()
    step = "  - capture: {on: [a, two], for: 1s}\n"
    assert played(tmp_path / "3", more=step) == played(None, more=step), "where nothing is written all is counted"


@pytest.mark.parametrize(
    ("options", "path"),
    [("{}", "vxlan"), ("{fastdp: false}", "overlay.tunnel.kind == 0"), ("{password: secret}", "udp.port == 6785")],
)
def test_the_dissector_reads_what_hosts_send_on_each_path(tmp_path: Path, options: str, path: str) -> None:
    played(tmp_path / "run", "a", options=options)
    file = tmp_path / "run" / "captures" / "a.pcapng"
    names = [
        "overlay.hello",
        "overlay.accept",
        "overlay.digests",
        "overlay.news",
        "overlay.beat",
        "overlay.first.magic",
    ]
    wrong = ["overlay.broken", "overlay.dark", "_ws.malformed", "_ws.lua.error"]
    rows = fields(file, *names, *wrong)
    seen = {name for row in rows for name, value in zip([*names, *wrong], row, strict=True) if value}
    assert seen == set(names)
    checks = [word for name in ("ip", "tcp", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
    bad = "ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0 or icmp.checksum.status == 0"
    assert tshark(file, *checks, "-Y", bad) == ""
    assert tshark(file, "-Y", f"{path} and frame.len > 100") != ""


def test_times_are_virtual_and_in_order_and_marks_stand_among_the_packets(tmp_path: Path) -> None:
    history = played(tmp_path / "run", "all").decode().splitlines()
    names = ("frame.time_epoch", "frame.comment", "frame.interface_name")
    rows = fields(tmp_path / "run" / "captures" / "all.pcapng", *names)
    assert {row[2] for row in rows} == {"lab steps", "a eth0", "b eth0", "c eth0"}
    times = [float(row[0]) for row in rows]
    assert times == sorted(times) and times[0] >= EPOCH
    cut = next(float(row[0]) for row in rows if "partition a | b, c: begins" in row[1])
    (event,) = [line for line in history if '"what":"partition"' in line and '"phase":"start"' in line]
    assert round((cut - EPOCH) * 1e9, -3) == round(int(event.partition('"t":')[2].partition(",")[0]), -3)
    assert rows[-1][1].endswith("the run ends: valid")


def test_containers_ping_ask_and_are_asked(tmp_path: Path) -> None:
    played(tmp_path / "run", "one", "two")
    one, two = (tmp_path / "run" / "captures" / f"{name}.pcapng" for name in ("one", "two"))
    for file, asks in ((one, True), (two, False)):
        pings = fields(file, "icmp.type", "ip.src", "icmp.resp_to", only="icmp")
        assert {row[1] for row in pings if row[0] == "8"} == {"10.0.1.1"}
        answers = [row[1:] for row in pings if row[0] == "0"]
        assert {row[0] for row in answers} == {"10.0.1.2"} and all(row[1] for row in answers)
        unanswered = sum(row[0] == "8" for row in pings) - len(answers)
        assert unanswered >= 5 if asks else unanswered == 0, "in the partition they leave, and do not arrive"
        requests = fields(file, "http.request.uri", "http.response.code", "frame.interface_name", only="http")
        assert ["/", "", f"{file.stem} ethwe"] in requests and ["", "200", f"{file.stem} ethwe"] in requests
        assert fields(file, "udp.port", only="udp and ip.src == 10.0.1.1")
    assert "tcp.analysis" not in tshark(one, "-V", "-Y", "http")


def test_a_pair_has_the_packets_of_both_alone_and_a_filter_is_that_of_tcpdump(tmp_path: Path) -> None:
    if find_tcpdump() is None:
        pytest.skip("no tcpdump here (Debian: package tcpdump)")
    expression = "udp port 6783 and udp[8:4] = 0x6f766301"
    played(tmp_path / "all", "a", "a->b")
    played(tmp_path / "less", "a", "a->b", filter=expression)
    whole = fields(
        tmp_path / "all" / "captures" / "a.pcapng", "frame.time_epoch", "ip.dst", only="udp contains 6f:76:63:01"
    )
    pair = fields(tmp_path / "less" / "captures" / "a-b.pcapng", "ip.src", "ip.dst", only="not lab_step")
    less = fields(tmp_path / "less" / "captures" / "a.pcapng", "frame.time_epoch", "ip.dst", only="not lab_step")
    assert whole and less == whole
    addresses = {word for row in pair for word in row}
    assert pair and len(addresses) == 2 and len(pair) < len(less)

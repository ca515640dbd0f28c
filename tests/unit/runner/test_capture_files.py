"""Files of captures: whole blocks from several places, marks, bounds; and which filters are taken."""

import struct
from pathlib import Path

import pytest
from wire_captures import tshark

from lab.capture import pcapng
from lab.capture.file import MARKS, CaptureFile, mended
from lab.capture.filters import compiled, find_tcpdump, misread
from lab.capture.places import file_stem, halves, proper_stem
from lab.errors import LabError
from lab.records.history import Event
from lab.runner.captures import mark_of

T = 1_700_000_000_000_000_000
FRAME = bytes(range(60))


def stream(*names: str) -> bytes:
    """What a sniffer writes: its interfaces, then a packet of each, then its statistics."""
    parts = [pcapng.section("tests"), *(pcapng.interface(name) for name in names)]
    parts += [pcapng.packet(number, T + number, FRAME) for number in range(len(names))]
    return b"".join(parts) + b"".join(pcapng.statistics(number, T + 9, 1, 2) for number in range(len(names)))


def captured(file: Path) -> list[list[str]]:
    fields = [word for name in ("frame.time_epoch", "frame.interface_name", "frame.comment") for word in ("-e", name)]
    return [line.split("\t") for line in tshark(file, "-T", "fields", *fields).splitlines()]


def test_packets_of_several_places_are_in_one_file_with_marks_at_their_times(tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    file = CaptureFile(path, most=100_000, comment="a run")
    one, other, again = file.source(), file.source(), file.source()
    data = stream("a eth0", "a eth1")
    for at in range(0, len(data), 7):  # as a pipe cuts it
        one.feed(data[at : at + 7])
    file.mark(T + 5, "0.000 s: step 1, cut: begins")
    other.feed(stream("b eth0"))
    again.feed(stream("a eth1"))
    file.close()
    assert captured(path) == [
        ["1700000000.000000000", "a eth0", ""],
        ["1700000000.000000001", "a eth1", ""],
        ["1700000000.000000005", MARKS, "0.000 s: step 1, cut: begins"],
        ["1700000000.000000000", "b eth0", ""],
        ["1700000000.000000000", "a eth1", ""],
    ]
    assert file.packets == 4 and file.lost == 8 and file.written == path.stat().st_size
    line = tshark(path, "-Y", "lab_step", "-T", "fields", "-e", "_ws.col.Protocol", "-e", "_ws.col.Info")
    assert line.split("\t") == ["Lab", "0.000 s: step 1, cut: begins\n"]


def test_packets_that_are_held_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    path = tmp_path / "held.pcapng"
    file = CaptureFile(path, most=100_000, comment="", hold=100)
    number = file.interface("a eth0")
    for t in (T + 50, T + 20, T + 90, T + 20, T + 400):
        file.packet(t, pcapng.packet(number, t, FRAME))
    assert path.read_bytes().count(FRAME) == 4  # the last one waits still
    file.close()
    assert [row[0][-3:] for row in captured(path)] == ["020", "020", "050", "090", "400"]


def test_a_file_ends_at_its_limit_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "small.pcapng"
    file = CaptureFile(path, most=10_000, comment="")
    number = file.interface("a eth0")
    for count in range(500):
        file.packet(T + count, pcapng.packet(number, T + count, FRAME))
    file.mark(T + 999, "never seen")
    file.close()
    rows = captured(path)
    assert file.full and path.stat().st_size <= 10_000
    assert rows[-1][1:] == [MARKS, "the capture ends here: the file has its 10000 bytes"]


def test_what_a_kill_has_cut_off_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcapng"
    whole = stream("a eth0")
    path.write_bytes(whole + pcapng.packet(0, T, FRAME)[:-5])
    assert mended(path) and path.read_bytes() == whole
    assert not mended(path)
    path.write_bytes(b"no capture at all")
    assert not mended(path) and path.read_bytes() == b"no capture at all"


@pytest.mark.parametrize(
    "data",
    [
        b"\x06\0\0\0\xff\xff\xff\x7f",
        b"\x06\0\0\0\x0d\0\0\0" + bytes(5),
        struct.pack("<II", 6, 12) + struct.pack("<I", 16),
        pcapng.packet(0, T, FRAME),
        pcapng.section("x") + pcapng.interface("a") + pcapng.packet(1, T, FRAME),
        struct.pack("<III", 6, 12, 12),
    ],
)
def test_bytes_that_no_sniffer_writes_are_refused(tmp_path: Path, data: bytes) -> None:
    file = CaptureFile(tmp_path / "x.pcapng", most=100_000, comment="")
    with pytest.raises(pcapng.NotPcapng):
        file.source().feed(data)
    file.close()
    assert captured(tmp_path / "x.pcapng") == []


def test_an_existing_file_and_a_link_are_left_alone(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_bytes(b"mine")
    link.symlink_to(tmp_path / "elsewhere")
    for path in (there, link):
        with pytest.raises(OSError, match="exist"):
            CaptureFile(path, most=100_000, comment="")
    assert there.read_bytes() == b"mine" and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-w /tmp/x", "begins with -"),
        (" -r/etc/shadow", "begins with -"),
        ("host example.com", "'example.com'"),
        ("host b", "'b'"),
        ("port http", "'http'"),
        ("udp $(id)", "'$'"),
        ("udp\n-w x", "'\\n'"),
        ("tcp and \x1b[2J", "'\\x1b'"),
        ("ip " * 400, "1200 characters"),
    ],
)
def test_filters_that_could_do_more_than_filter_are_refused(text: str, found: str) -> None:
    assert found in misread(text, {"a": "192.168.0.2"})
    with pytest.raises(LabError, match="filter"):
        compiled(text, {"a": "192.168.0.2"})


@pytest.mark.skipif(find_tcpdump() is None, reason="no tcpdump")
def test_filters_are_those_of_tcpdump_with_hosts_of_the_lab() -> None:
    hosts = {"a": "192.168.0.2", "ip": "192.168.0.9"}
    assert compiled("host a", hosts) == compiled("host 192.168.0.2") != ""
    assert compiled("ip and tcp[tcpflags] & (tcp-syn|tcp-ack) != 0 and not port 6783", hosts)
    assert compiled("ether host 02:00:00:00:00:01 or net 10.0.0.0/8 or ip6 host fe80::1 or udp[8:4] = 0x80")
    with pytest.raises(LabError, match=r"tcpdump does not understand the filter `not \(\(`"):
        compiled("not ((")


def test_places_and_names_of_files() -> None:
    assert halves("a->b") == halves("a <-> b") == ("a", "b") and halves("a-b") is None
    assert file_stem(("a", "b.lan", "c->d")) == "a+b.lan+c-to-d".replace("+", "-")
    assert file_stem(("../x",)) == "x" and file_stem(("é",)) == "capture"
    assert not any(map(proper_stem, ("", "../x", "a/b", ".x", "x" * 61, "a\n"))) and proper_stem("wire-1.b")


def test_marks_say_what_became_of_steps() -> None:
    def event(what: str, phase: str, ok: bool | None, **detail: object) -> Event:
        return Event(t=1_500_000_000, step=2, what=what, phase=phase, ok=ok, detail=detail)  # type: ignore[arg-type]

    assert mark_of(event("partition", "start", True, label="cut a | b")) == "1.500 s: step 3, cut a | b: begins"
    assert mark_of(event("partition", "end", True, label="cut a | b")) == "1.500 s: step 3, cut a | b: ends"
    assert mark_of(event("run", "end", True, label="run all")) == "1.500 s: step 3, run all: done"
    failed = event("expect", "end", False, label="reachable", expect="reachable", error="one -> two")
    assert mark_of(failed) == "1.500 s: step 3, reachable: failed: one -> two"
    held = event("expect", "end", True, label="reachable", expect="reachable", took=2_000_000_000)
    assert mark_of(held) == "1.500 s: step 3, reachable: true after 2.00 s"

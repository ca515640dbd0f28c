"""pcapng as the draft has it: blocks of whole words, options, times; and that a program of others reads them."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from tiers import cannot_run

from lab.capture import pcapng

FRAME = bytes.fromhex("ffffffffffff02000000000108004500001c000000004001f97dc0000201c00002020800f7ff00000000")
TIME = 1_700_000_000_123_456_789


def whole() -> bytes:
    return (
        pcapng.section("overlay-lab", "a run")
        + pcapng.interface("a eth0")
        + pcapng.interface("b eth0", snap=96)
        + pcapng.packet(0, TIME, FRAME, flags=pcapng.OUTGOING, comments=("step 3: partition", "ü"))
        + pcapng.packet(1, TIME + 1, FRAME[:20], len(FRAME))
    )


def test_blocks_follow_each_other_and_say_their_length_twice() -> None:
    data, kinds, at = whole(), [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0 and struct.unpack_from("<I", data, at + length - 4) == (length,)
        kinds.append(kind)
        at += length
    assert at == len(data) and kinds == [0x0A0D0D0A, 1, 1, 6, 6]


def test_tshark_reads_times_interfaces_directions_and_comments(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        cannot_run("no tshark here (Debian: package tshark)")
    file = tmp_path / "whole.pcapng"
    file.write_bytes(whole())
    fields = ["frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction", "frame.len", "frame.comment"]
    words = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(file), "-T", "fields", "-E", "separator=|", "-E", "aggregator=;", *words],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    time, interface, direction, length, comments = first.split("|")
    assert (time, interface, length, comments) == ("1700000000.123456789", "a eth0", "42", "step 3: partition;ü")
    assert int(direction, 0) == pcapng.OUTGOING
    assert second.split("|")[:2] == ["1700000000.123456790", "b eth0"] and second.split("|")[3] == "42"


@pytest.mark.parametrize("size", range(5))
def test_what_is_odd_is_padded_and_its_length_kept(size: int) -> None:
    block = pcapng.packet(0, 0, b"x" * size)
    assert len(block) % 4 == 0 and struct.unpack_from("<II", block, 20) == (size, size)

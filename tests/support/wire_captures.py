"""Captures of the overlay's bytes for tests: frames around what the codec made, and what tshark makes of them."""

import shutil
import struct
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from tiers import cannot_run

from lab.capture import pcapng
from lab.capture.dissector import dissector

START = 1_700_000_000_000_000_000
TCP, UDP = 6, 17


def ethernet(source: int, destination: int, protocol: int, content: bytes) -> bytes:
    """An IPv4 packet of host 10.0.0.`source` in a frame; `content` begins with the header of TCP or UDP."""
    macs = bytes((2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), 0, 0, 64, protocol, 0)
    return macs + b"\x08\x00" + head + bytes((10, 0, 0, source, 10, 0, 0, destination)) + content


def datagram(payload: bytes, port: int = 6783, source: int = 1, destination: int = 2) -> bytes:
    return ethernet(source, destination, UDP, struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload)


class Stream:
    """A TCP connection from 10.0.0.1 to port 6783 of 10.0.0.2, as segments."""

    def __init__(self, port: int = 40000) -> None:
        self.port = port
        self.sent = [1, 1]
        self.frames = [self._segment(0, b"", 2, 0, 0), self._segment(1, b"", 0x12, 0, 1), self._segment(0, b"")]

    def send(self, side: int, data: bytes) -> None:
        """Side 0 has dialled."""
        self.frames.append(self._segment(side, data, 0x18))
        self.sent[side] += len(data)

    def _segment(self, side: int, data: bytes, flags: int = 0x10, seq: int = -1, ack: int = -1) -> bytes:
        ports = (self.port, 6783) if side == 0 else (6783, self.port)
        mine, other = self.sent[side], self.sent[1 - side]
        numbers = (mine if seq < 0 else seq, other if ack < 0 else ack)
        head = struct.pack("!HHIIBBHHH", *ports, *numbers, 0x50, flags, 0xFFFF, 0, 0)
        return ethernet(1 + side, 2 - side, TCP, head + data)


Field = tuple[str, str]


def dissected(folder: Path, frames: Sequence[bytes], *words: str) -> list[list[Field]]:
    """What `shown` says of a capture with these frames."""
    file = folder / "frames.pcapng"
    blocks = [pcapng.packet(0, START + number, frame) for number, frame in enumerate(frames)]
    file.write_bytes(b"".join([pcapng.section("tests"), pcapng.interface("a eth0"), *blocks]))
    return shown(file, *words)


def shown(file: Path, *words: str) -> list[list[Field]]:
    """Of each frame the fields that tshark finds with the dissector: name (without `overlay.`) and value."""
    found = []
    for packet in ElementTree.fromstring(tshark(file, "-T", "pdml", *words)).findall("packet"):
        found.append(
            [
                (name.removeprefix("overlay."), field.get("show", ""))
                for field in packet.iter("field")
                if (name := field.get("name", "")).startswith(("overlay.", "_ws.lua.error", "_ws.malformed"))
            ]
        )
        malformed = [proto.get("name") for proto in packet.iter("proto") if "malformed" in proto.get("name", "")]
        found[-1] += [("malformed", str(name)) for name in malformed]
    return found


def tshark(file: Path, *words: str) -> str:
    """What tshark prints of a capture with the dissector."""
    if shutil.which("tshark") is None:
        cannot_run("no tshark here (Debian: package tshark)")
    script = file.with_name("overlay.lua")
    script.write_text(dissector(), encoding="utf-8")
    done = subprocess.run(
        ["tshark", "-X", f"lua_script:{script}", "-r", str(file), *words],
        capture_output=True, text=True, errors="replace", check=True, timeout=120,
    )  # fmt: skip
    assert "Lua" not in done.stderr, done.stderr
    return done.stdout

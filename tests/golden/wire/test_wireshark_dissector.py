"""The Wireshark dissector: tshark shows with it what the codec reads, field by field."""

import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from virtual_mesh import Endpoint, VirtualMesh
from wire_captures import Field, Stream, datagram, dissected, ethernet, tshark

from lab.capture.dissector import dissector
from overlay.crypto.seal import Sealer
from overlay.datapath import fast_probe, sleeve
from overlay.env import MILLISECOND
from overlay.errors import RemoteError
from overlay.mesh.session import Session
from overlay.wire.codec import decode_datagram, decode_message, encode_message
from overlay.wire.envelopes import Confirm, Digests

PAGE = Path(__file__).parents[3] / "docs" / "wire.md"
HEX = {"nonce", "connection", "digest", "identity", "check", "table"}
TUPLES = {
    "TopologyVector.known": ("name", "uid", "version"), "OriginVector.known": ("origin", "uid", "version"),
    "News.items": ("channel", None), "Digests.items": ("channel", "digest"), "EndpointValue.labels": ("key", "value"),
    "RingVector.known": ("start", "version", "check"), "PolicyVector.standing": ("writer", "number", "check"),
}  # fmt: skip


def examples() -> list[tuple[str, bytes]]:
    """Of `docs/wire.md`: name and bytes of messages and datagrams."""
    block = PAGE.read_text().partition("<!-- examples -->")[2].partition("<!-- end of examples -->")[0]
    pairs = [line.split() for line in block.splitlines() if line and not line.startswith("```")]
    return [(name, bytes.fromhex(data)) for name, data in pairs if "-" not in name]


def fields(value: Any, path: str = "", name: str = "") -> list[Field]:
    """What of a decoded message must be shown, in order."""
    if isinstance(value, msgspec.Struct):
        kind = type(value).__name__
        found: list[Field] = [(kind.lower(), "")]
        for each in value.__struct_fields__:
            found += fields(getattr(value, each), f"{kind}.{each}", each)
        return found
    if isinstance(value, tuple):
        found = []
        for item in value:
            if isinstance(item, tuple):
                for word, element in zip(TUPLES[path], item, strict=True):
                    found += fields(element, f"{path}.{word}", word or "")
            else:
                found += fields(item, path, name)
        return found
    if value is None or value == b"":
        return []
    if isinstance(value, bool):
        shown = "1" if value else "0"
    elif isinstance(value, int):
        shown = f"0x{value:016x}" if name in HEX else str(value)
    else:
        shown = value if isinstance(value, str) else value.hex(":")
    return [(path.lower(), shown)]


def normal(found: list[Field]) -> list[Field]:
    """Later versions of tshark say True and False."""
    return [(name, {"True": "1", "False": "0"}.get(value, value)) for name, value in found]


def framed(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


def names(found: list[list[Field]]) -> set[str]:
    return {name for frame in found for name, _ in frame}


def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "lab.cli", "capture", "--dissector"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == dissector()


def test_every_message_is_shown_field_by_field(tmp_path: Path) -> None:
    stream, told = Stream(), []
    stream.send(0, Session().outgoing())
    for name, data in examples():
        if name in ("Beat", "Beacon"):
            stream.frames.append(datagram(data))
            told.append(("datagram.magic", "6f:76:63:01"))
            told += fields(decode_datagram(data))
        else:
            stream.send(0, framed(data))
            told.append(("frame.length", str(len(data))))
            told += fields(decode_message(data))
    found = [normal(frame) for frame in dissected(tmp_path, stream.frames)]
    first = [("frame.length", "14"), ("first.magic", "overlay-mesh"), ("first.lowest", "1"), ("first.highest", "1")]
    assert found[3] == first
    assert [field for frame in found[4:] for field in frame] == told
    line = tshark(tmp_path / "frames.pcapng", "-T", "fields", "-e", "_ws.col.Info", "-e", "_ws.col.Protocol")
    assert "Hello a\tOverlay" in line and "News topology\tOverlay" in line and "Routed Promise\tOverlay" in line


def conversation(pieces: int, **options: Any) -> tuple[Stream, list[bytes]]:
    """What two peers say that meet, as segments of at most so many bytes, and their frames in the order of arrival."""
    net, stream, chunks = VirtualMesh(2, 1, **options), Stream(), []

    def tap(receiver: Endpoint, chunk: bytes) -> None:
        chunks.append(chunk)
        side = 1 if receiver.dialled is not None else 0
        for at in range(0, len(chunk), pieces):
            stream.send(side, chunk[at : at + pieces])

    net.tap = tap
    net.launch(0)
    net.launch(1, [0])
    net.run(2000 * MILLISECOND)
    return stream, chunks


@pytest.mark.parametrize("pieces", [7, 1400])
def test_a_handshake_in_clear_is_read_to_its_last_byte(tmp_path: Path, pieces: int) -> None:
    stream, chunks = conversation(pieces)
    found = [field for frame in dissected(tmp_path, stream.frames) for field in normal(frame)]
    told = []
    for chunk in chunks:
        told.append(("frame.length", str(len(chunk) - 4)))
        if chunk[4:].startswith(b"overlay-mesh"):
            told += [("first.magic", "overlay-mesh"), ("first.lowest", "1"), ("first.highest", "1")]
        else:
            told += fields(decode_message(chunk[4:]))
    assert sorted(found) == sorted(told)  # pieces of both directions end in another order
    assert {"hello", "accept", "digests", "news"} <= {name for name, _ in found}


def test_a_handshake_with_a_password_is_sealed_after_its_confirm(tmp_path: Path) -> None:
    stream, chunks = conversation(1400, password="correct horse")
    found = dissected(tmp_path, stream.frames)[3:]
    confirm = next(number for number, frame in enumerate(found) if ("confirm", "") in frame)
    clear, sealed = found[: confirm + 1], found[confirm + 1 :]
    assert {"hello", "pakeshare", "confirm"} <= names(clear) and not {"sealed.length", "broken", "dark"} & names(clear)
    assert len(sealed) > 5 and len(found) == len(chunks)
    for frame, chunk in zip(sealed, chunks[confirm + 1 :], strict=True):
        shown = dict(frame)
        assert shown["frame.length"] == str(len(chunk) - 4) and shown["sealed.length"] == str(len(chunk) - 20)
        assert shown["sealed.content"] == chunk[4:-16].hex(":") and shown["sealed.tag"] == chunk[-16:].hex(":")
        assert set(shown) == {"frame.length", "sealed.length", "sealed.content", "sealed.tag"}
    assert dissected(tmp_path, stream.frames, "-2")[3:] == found  # read twice, as Wireshark does
    late = Stream()  # a capture that has not seen the beginning says that it cannot know
    late.send(0, chunks[confirm + 1])
    assert {"sealed.length", "dark"} <= names(dissected(tmp_path, late.frames))


INNER = ethernet(7, 8, 1, bytes.fromhex("0800f7ff00000000"))


def tunnel(kind: int, content: bytes, ttl: int = 64) -> bytes:
    tag = sleeve.connection_tag(0x1122334455667788)
    prefix = sleeve.prefix(kind, ttl, tag, sleeve.peer_id("a"), sleeve.peer_id("b"))
    if kind & sleeve.Flag.SEALED:
        return prefix + Sealer(bytes(32), 0).seal(content, prefix, 0)
    return prefix + (5).to_bytes(8, "big") + content


def test_tunnel_packets_show_their_header_and_what_they_carry(tmp_path: Path) -> None:
    packed = sleeve.bundled([(INNER, True), (INNER, False)])
    probe = (9).to_bytes(8, "big") + (1400).to_bytes(2, "big") + bytes(20)
    payloads = [
        tunnel(sleeve.DatagramKind.UNICAST | sleeve.Flag.PARTIAL, INNER),
        tunnel(sleeve.DatagramKind.FLOOD | sleeve.Flag.PASS_ON, INNER, 3),
        tunnel(sleeve.DatagramKind.UNICAST | sleeve.Flag.PACKED, packed),
        tunnel(sleeve.DatagramKind.UNICAST | sleeve.Flag.SEALED, INNER),
        tunnel(sleeve.DatagramKind.PROBE, probe),
        tunnel(sleeve.DatagramKind.ANSWER, probe[:10]),
        tunnel(sleeve.DatagramKind.UNICAST | sleeve.Flag.PACKED, packed[:-1]),
        tunnel(sleeve.DatagramKind.UNICAST, b"")[:20],
    ]
    found = dissected(tmp_path, [datagram(each) for each in payloads])
    shown = [dict(normal(frame)) for frame in found]
    for each in shown[:6]:
        assert each["tunnel.tag"] == "0x55667788" and each["tunnel.source"] == sleeve.peer_id("a").hex(":")
        assert "broken" not in each
    assert shown[0]["tunnel.partial"] == "1" and shown[0]["tunnel.destination"] == sleeve.peer_id("b").hex(":")
    assert shown[0]["tunnel.sequence"] == "5" and shown[0]["tunnel.ttl"] == "64"
    assert shown[1]["tunnel.flood"] == str(int.from_bytes(sleeve.peer_id("b"), "big"))
    assert shown[1]["tunnel.pass_on"] == "1" and shown[1]["tunnel.ttl"] == "3"
    assert [value for name, value in found[2] if name == "tunnel.frame"] == [str(len(INNER))] * 2
    assert shown[3]["sealed.length"] == str(len(INNER)) and shown[3]["tunnel.sealed"] == "1"
    assert shown[4]["probe.nonce"] == "0x0000000000000009" and shown[4]["probe.size"] == "1400"
    assert "probe.padding" in shown[4] and "probe.padding" not in shown[5]
    assert "broken" in shown[6] and "broken" in shown[7]
    inner = tshark(tmp_path / "frames.pcapng", "-T", "fields", "-e", "ip.src", "-e", "icmp.type").splitlines()
    assert inner[:4] == ["10.0.0.1,10.0.0.7\t8"] * 2 + ["10.0.0.1,10.0.0.7,10.0.0.7\t8,8", "10.0.0.1\t"]


@pytest.mark.parametrize("port", [6784, 6786])
def test_the_kernels_path_is_vxlan_with_probes_in_it(tmp_path: Path, port: int) -> None:
    probe = INNER[:12] + fast_probe.ETHERTYPE.to_bytes(2, "big") + fast_probe.MAGIC + b"\x01"
    probe += (9).to_bytes(8, "big") + (90).to_bytes(2, "big") + b"\x01a" + bytes(4)
    header = bytes.fromhex("08000000001a8000")
    shown = [dict(each) for each in dissected(tmp_path, [datagram(header + one, port) for one in (probe, INNER)])]
    assert shown[0] == {
        "probe.answer": "1", "probe.nonce": "0x0000000000000009", "probe.size": "90", "probe.sender": "a",
        "probe.padding": "00:00:00:00",
    }  # fmt: skip
    lines = tshark(tmp_path / "frames.pcapng", "-T", "fields", "-e", "vxlan.vni", "-e", "ip.src").splitlines()
    assert lines == ["6784\t10.0.0.1", "6784\t10.0.0.1,10.0.0.7"]


def test_what_the_codec_takes_is_shown_and_what_is_cut_is_called_broken(tmp_path: Path) -> None:
    """Mutations of all messages: the dissector refuses none that the codec takes, and no bytes make it fail."""
    draw, stream, good = random.Random(15), Stream(), {}
    stream.send(0, Session().outgoing())
    messages = [data for name, data in examples() if name not in ("Beat", "Beacon")]
    for data in messages:
        for number in range(24):
            mutant = bytearray(data if number % 2 else data[: draw.randrange(1, len(data))])
            for _ in range(draw.randrange(3) if number % 2 else 0):
                mutant[draw.randrange(len(mutant))] = draw.choice((0, 0x7F, 0x90, 0xC0, 0xC4, 0xCF, 0xDD, 0xFF, 0x81))
            try:
                message = decode_message(bytes(mutant))
            except RemoteError:
                good[len(stream.frames)] = None if number % 2 else "broken"
            else:
                if isinstance(message, Confirm):
                    continue  # from then on what is no message counts as sealed
                good[len(stream.frames)] = type(message).__name__.lower()
            stream.send(0, framed(bytes(mutant)))
    found = dissected(tmp_path, stream.frames)
    assert not {"_ws.lua.error", "malformed"} & names(found)
    for number, wanted in good.items():
        shown = {name for name, _ in found[number]}
        assert wanted is None or wanted in shown, (stream.frames[number][54:].hex(), shown)
        assert wanted in (None, "broken") or "broken" not in shown
    assert {"broken", "hello", "news", "routed"} <= set(good.values())


def test_a_message_of_very_many_values_is_shown_in_part(tmp_path: Path) -> None:
    stream = Stream()
    data = framed(encode_message(Digests(1, (("ipam", 5),) * 12_000)))
    for at in range(0, len(data), 1400):
        stream.send(0, data[at : at + 1400])
    found = dissected(tmp_path, stream.frames)[-1]
    assert 5_000 < [name for name, _ in found].count("digests.items.digest") < 12_000
    assert "the rest is not shown" in tshark(tmp_path / "frames.pcapng", "-V", "-Y", "overlay.digests")


def test_no_datagram_and_no_length_makes_it_fail(tmp_path: Path) -> None:
    draw, frames = random.Random(6), []
    for size in range(60):
        frames.append(datagram(draw.randbytes(size)))
        frames.append(datagram(bytes((0x80 | draw.randrange(128),)) + draw.randbytes(size)))
        frames.append(datagram(b"ovc\x01" + draw.randbytes(size)))
    hostile = (b"\xff" * 40, b"\x00\xa0\x00\x01" * 9, bytes(40), framed(b"\x92\x07" + b"\x91" * 99))
    for number, data in enumerate(hostile):
        stream = Stream(41000 + number)
        stream.send(0, Session().outgoing() + data)
        frames += stream.frames
    frames.append(datagram(b"ovc\x01" + bytes.fromhex("973ca1610101c301c410") + bytes(600)))
    found = dissected(tmp_path, frames)
    assert "_ws.lua.error" not in names(found) and "broken" in names(found)
    for frame in found:  # what is malformed is a frame within a tunnel packet, which others read
        assert "malformed" not in dict(frame) or "tunnel.tag" in dict(frame)

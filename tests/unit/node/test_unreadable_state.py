"""Stored state with a right checksum and other content: a sentence that names `weave reset`, and it stays."""

import zlib
from pathlib import Path
from random import Random

import msgspec
import pytest

from overlay.config import Config
from overlay.crypto.pake import StubCrypto
from overlay.daemon import identity
from overlay.docker.journal import Journal
from overlay.errors import EnvironmentProblem
from overlay.node import Node
from overlay.runtime.disk import Disk

ODD = {
    "ipam.paxos": msgspec.msgpack.encode({"a": 1}),
    "ipam.ring": b"\xc1",
    "ipam.addresses": msgspec.msgpack.encode({"c": ["no address"]}),
    "names": msgspec.msgpack.encode([["web", "nowhere", "c"]]),
    "endpoints": msgspec.msgpack.encode({"version": 2}),
    "targets": msgspec.msgpack.encode(7),
    "met": msgspec.msgpack.encode(["a"]),
    "uid": b"two",
    "session-key": b"short",
    "identity": b"\xff\xfe",
    "attachments": b'[{"container": 1}]',
}


def start(folder: Path) -> None:
    disk = Disk(folder)
    try:
        files = disk.load()
        identity.peer_name(disk, files, "", "")
        Journal(disk, Journal.stored(files))
        rng = Random(1)
        Node(Config(name="b", nickname="b", password="x"), rng, files, 0, StubCrypto(rng)).start(1)
    finally:
        disk.close()


@pytest.mark.parametrize("key", ODD)
def test_what_cannot_be_read_ends_the_start_in_a_sentence(key: str, tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.persist([("identity", b"02:00:00:00:00:01"), (key, ODD[key])])
    disk.close()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.state")}
    with pytest.raises(EnvironmentProblem, match=f"stored state '{key}' is unreadable .*`weave reset`"):
        start(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.state")} == before


def test_state_of_a_future_version_is_neither_read_nor_set_aside(tmp_path: Path) -> None:
    rest = b"names\n" + b"{}"
    file = tmp_path / "names.state"
    file.write_bytes(b"overlay-state 2 " + f"{zlib.crc32(rest):08x} ".encode() + rest)
    with pytest.raises(EnvironmentProblem, match=r"is state of version 2, .* reads version 1.*`weave reset`"):
        start(tmp_path)
    assert file.exists() and not list(tmp_path.glob("*.damaged"))

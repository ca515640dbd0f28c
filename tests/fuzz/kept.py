"""Fuzzing of what is read from disk: stored state of a peer, histories of runs, manifests of image archives.

All of it came through a checksum or was written by the lab itself, so a random change of a byte is not what hurts; what
does is well-formed data of another shape. So the targets make well-formed data out of the bytes (`_grown`), and each
must be understood or refused in a sentence. They run as those of `decoders.py` do.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from lab.checkers import check
from lab.errors import LabError, Unreadable
from lab.images.archive import names_in
from lab.records.history import read
from overlay.config import Config
from overlay.crypto.pake import StubCrypto
from overlay.daemon import identity
from overlay.docker.journal import Journal
from overlay.errors import EnvironmentProblem
from overlay.node import Node
from overlay.runtime.disk import Disk

KEYS = (
    "ipam.paxos", "ipam.ring", "ipam.addresses", "names", "endpoints", "targets", "met", "uid", "session-key",
    "session-peers", "identity", "attachments", "policies", "policies.known",
)  # fmt: skip
_WORDS = (
    "kind", "meta", "event", "sample", "view", "gone", "load", "t", "step", "what", "phase", "detail", "groups", "host",
    "scenario", "underlay", "hosts", "timeline", "probes", "services", "replicas", "start", "end", "point", "partition",
    "expect", "kill", "down", "took", "samples", "RepoTags", "Config", "x:1", "10.32.0.1/12", "a", "b", "",
)  # fmt: skip


def _grown(octets: Iterator[int], depth: int = 0) -> Any:
    """Plain data that these bytes describe: any shape, and words that programs look for."""
    match next(octets, 0) % (7 if depth < 6 else 4):
        case 0:
            return None
        case 1:
            return next(octets, 0) - 128
        case 2:
            return _WORDS[next(octets, 0) % len(_WORDS)]
        case 3:
            return (True, 1.5, 1 << 63, -(1 << 63), "\0", "\u202e", 1e300)[next(octets, 0) % 7]
        case 4:
            return [_grown(octets, depth + 1) for _ in range(next(octets, 0) % 5)]
        case _:
            return {
                _WORDS[next(octets, 0) % len(_WORDS)]: _grown(octets, depth + 1) for _ in range(next(octets, 0) % 7)
            }


def state(data: bytes) -> None:
    """A peer's start with one key of its stored state being anything: it starts, or says that it cannot read it."""
    key, rest = KEYS[data[0] % len(KEYS)] if data else "names", data[1:]
    held = rest[1:] if rest[:1] < b"\x80" else msgspec.msgpack.encode(_grown(iter(rest[1:])))
    rng = Random(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            disk = Disk(Path(folder))
            try:
                disk.persist([(key, held)])
                files = disk.load()
                identity.peer_name(disk, files, "", "")
                Journal(disk, Journal.stored(files))
                node = Node(Config(name="b", nickname="b", password="x"), rng, files, 0, StubCrypto(rng))
            finally:
                disk.close()
        node.start(1)
        node.check_invariants()
    except EnvironmentProblem as error:
        assert "weave reset" in str(error)


def history(data: bytes) -> None:
    """A history with any lines: it is judged, or refused."""
    from lab.records.unreadable import understood

    octets = iter(data)
    lines = [b'{"kind":"meta","t":0,"scenario":{},"backend":"sim","seed":1,"version":"1"}']
    while (kind := next(octets, None)) is not None:
        record = {"kind": ("meta", "event", "sample", "view", "gone", "load")[kind % 6], "t": next(octets, 0)}
        grown = _grown(octets)
        lines.append(msgspec.json.encode(record | (grown if isinstance(grown, dict) else {"detail": grown})))
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n".join(lines) + b"\n" + data)
        file.flush()
        try:
            with understood(Path(file.name)):
                check(read(Path(file.name)))
        except Unreadable as error:
            assert file.name in str(error)


def manifest(data: bytes) -> None:
    """An archive whose manifest is anything: it has names, or is refused."""
    text = data[1:] if data[:1] < b"\x80" else msgspec.json.encode(_grown(iter(data[1:])))
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(file.name, "w") as tar:
            info = tarfile.TarInfo("manifest.json")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        try:
            assert all(isinstance(name, str) for name in names_in(Path(file.name)))
        except LabError as error:
            assert file.name in str(error)


TARGETS: dict[str, Callable[[bytes], None]] = {"state": state, "history": history, "manifest": manifest}

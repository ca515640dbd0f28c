"""Which launch a life of the daemon belongs to, and so which peers it dials: kept on disk, decided before a node
starts. Pure.

A launch makes exactly the peers that it names the targets. `connect` and `forget` change them, and the targets outlive
the process as long as the launch lasts. A launch ends with `weave stop`. A daemon that ended otherwise (killed,
crashed, switched off, told to end by a supervisor) was not stopped: if the same peers are
named again, that launch goes on.
"""

from collections.abc import MutableMapping
from typing import Final

import msgspec

from overlay.config import Address
from overlay.mesh.dialler import STORED_KEY
from overlay.mesh.memory import MET_KEY
from overlay.stored import decode

__all__ = ["LAUNCH_KEY", "begin", "ended"]

LAUNCH_KEY: Final = "launch"

Peers = tuple[Address, ...]


def begin(stored: MutableMapping[str, bytes], peers: Peers, resume: bool | None) -> list[tuple[str, bytes]]:
    """A daemon starts with what is stored: change that to what its life is to know; returns what is to be written.

    `resume`: take up what earlier lives were told and which peers they met; False: forget it; None: forget it unless
    this is a launch that goes on.
    """
    if resume is None:
        resume = _goes_on(stored, peers)
    writes = {LAUNCH_KEY: _encoded(peers, stopped=False)}
    if not resume:
        writes[STORED_KEY] = msgspec.msgpack.encode(peers)
        writes[MET_KEY] = msgspec.msgpack.encode({})
    elif LAUNCH_KEY not in stored and STORED_KEY in stored:
        # Of a build before there were launches, which kept only what `connect` was told.
        told = decode(STORED_KEY, stored[STORED_KEY], Peers)
        writes[STORED_KEY] = msgspec.msgpack.encode(tuple(dict.fromkeys((*peers, *told))))
    changed = [(key, data) for key, data in writes.items() if stored.get(key) != data]
    stored.update(changed)
    return changed


def ended(peers: Peers) -> tuple[str, bytes]:
    """What is written when the launch that named these peers is stopped."""
    return LAUNCH_KEY, _encoded(peers, stopped=True)


def _goes_on(stored: MutableMapping[str, bytes], peers: Peers) -> bool:
    if LAUNCH_KEY not in stored:
        return STORED_KEY in stored or MET_KEY in stored
    before, stopped = decode(LAUNCH_KEY, stored[LAUNCH_KEY], tuple[Peers, bool])
    return not stopped and before == peers


def _encoded(peers: Peers, *, stopped: bool) -> bytes:
    return msgspec.msgpack.encode((peers, stopped))

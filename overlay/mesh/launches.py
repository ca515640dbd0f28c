"""Which launch a run of the daemon belongs to, and so which peers it dials. Decided before a node starts. Pure.

A launch is stored on disk, and sets the targets to exactly the peers it names. `connect` and `forget` change them, and
the targets outlive the process until the launch ends. A launch ends with `weave stop`. A daemon that ended in another
way (killed, crashed, powered off, ended by a supervisor) was not stopped: if the next start names the same peers, it
continues that launch.
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
    """Update `stored` for a daemon that starts; returns the entries to be written.

    `resume`: True: keep the targets and the peers met in earlier runs; False: discard them; None: keep them only if
    this start continues a launch.
    """
    if resume is None:
        resume = _goes_on(stored, peers)
    writes = {LAUNCH_KEY: _encoded(peers, stopped=False)}
    if not resume:
        writes[STORED_KEY] = msgspec.msgpack.encode(peers)
        writes[MET_KEY] = msgspec.msgpack.encode({})
    elif LAUNCH_KEY not in stored and STORED_KEY in stored:
        # Written by a version without launches, which stored only the `connect` targets.
        told = decode(STORED_KEY, stored[STORED_KEY], Peers)
        writes[STORED_KEY] = msgspec.msgpack.encode(tuple(dict.fromkeys((*peers, *told))))
    changed = [(key, data) for key, data in writes.items() if stored.get(key) != data]
    stored.update(changed)
    return changed


def ended(peers: Peers) -> tuple[str, bytes]:
    """The entry to write when the launch that named these peers is stopped."""
    return LAUNCH_KEY, _encoded(peers, stopped=True)


def _goes_on(stored: MutableMapping[str, bytes], peers: Peers) -> bool:
    if LAUNCH_KEY not in stored:
        return STORED_KEY in stored or MET_KEY in stored
    before, stopped = decode(LAUNCH_KEY, stored[LAUNCH_KEY], tuple[Peers, bool])
    return not stopped and before == peers


def _encoded(peers: Peers, *, stopped: bool) -> bytes:
    return msgspec.msgpack.encode((peers, stopped))

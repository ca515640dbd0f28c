"""What gossip of whole states, as the original's, would send for the states of a world of this overlay.

Weave Net 2.8 sends every 30 s the whole state of each channel to min(2 log2 n, neighbours) peers, the whole ring along
the broadcast tree for each change of it, a changed topology record on to as many neighbours from each peer that hears
of it, and a name's entry along the tree. The sizes are those of this project's own encoding of the same states
(MessagePack, more compact than the original's gob), so the comparison favours the original.
"""

from collections.abc import Mapping
from math import ceil, log2

from overlay.node import Node
from overlay.replicated.channel import Channel
from overlay.wire.codec import Vector, encode_message
from overlay.wire.origins import OriginVector
from overlay.wire.ring import RingVector
from overlay.wire.topology import TopologyVector

PERIOD = 30
"""Seconds between two rounds of the original."""


def sizes(node: Node) -> dict[str, int]:
    """Bytes of the whole state of each of the original's channels, as this peer holds them."""
    return {
        "topology": _size(node.mesh.topology, TopologyVector(())),
        "ring": _size(node.ipam.channel, RingVector(node.config.iprange, None, ())),
        "names": _size(node.registry.channel, OriginVector(())),
    }


def _size(channel: Channel, vector: Vector) -> int:
    delta = channel.missing(vector)
    return 0 if delta is None else len(encode_message(delta))


def per_change(kind: str, states: Mapping[str, int], peers: int, degree: int, record: int, entry: int) -> float:
    """Bytes that each peer sends, in the mean, for one change of this kind (`name`, `ring` or `link`)."""
    tree = (peers - 1) / peers
    match kind:
        case "name":
            return entry * tree
        case "ring":
            return states["ring"] * tree
        case "link":  # both ends write a new record; every peer that hears of one passes it on
            return 2 * record * fanout(peers, degree)
    raise ValueError(f"found the change {kind!r}, expected name, ring or link")


def per_round(states: Mapping[str, int], peers: int, degree: int) -> int:
    """Bytes that each peer sends every `PERIOD`, whether or not anything changes."""
    return sum(states.values()) * fanout(peers, degree)


def fanout(peers: int, degree: int) -> int:
    """To how many neighbours a peer of the original gossips."""
    return min(ceil(2 * log2(peers)), degree)

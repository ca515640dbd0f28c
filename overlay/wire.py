"""The whole vocabulary of the wire and its codec: which structs may stand where. No protocol logic.

Control messages are MessagePack arrays led by an integer tag; framing, sizes and the first frame stand in
`overlay.mesh.session`. Decoding raises `RemoteError` for whatever is not one of these, never anything else.
"""

from overlay.ipam.messages import RingDelta, RingVector
from overlay.mesh.messages import TopologyDelta, TopologyVector
from overlay.mesh.origin_messages import OriginDelta, OriginVector
from overlay.wirebase import Wire

Delta = TopologyDelta | RingDelta | OriginDelta
"""News of one channel."""

Vector = TopologyVector | RingVector | OriginVector
"""What a peer holds of one channel."""

Message = Wire
"""A control message. (The mesh's author narrows this to the union of all tagged structs.)"""

DatagramMessage = Wire
"""A message of the UDP control port. (The mesh's author narrows this likewise.)"""

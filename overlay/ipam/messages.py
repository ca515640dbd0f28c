"""What address management sends: the ring's tokens, donation, first agreement. Data alone; `docs/wire.md` explains."""

from overlay.wirebase import Wire


class RingDelta(Wire, frozen=True, tag=40):
    """Filled in by the IPAM's author."""


class RingVector(Wire, frozen=True, tag=41):
    """Filled in by the IPAM's author."""


IpamMessage = RingDelta | RingVector
"""What address management sends as a unicast. (Filled in by the IPAM's author.)"""

"""Memory estimate for a simulated lab, from measured parts. Pure.

Measured on CPython 3.11 (x86-64) as the growth of a process that runs labs of 50 to 200 peers, in full meshes and of
degree 8, until they converge; rounded up, because a lab that runs longer uses more.
"""

__all__ = ["estimate"]

PEER = 450_000
"""Bytes of a host with its peer, without connections."""
KNOWN = 600
"""Bytes per other peer that a peer knows."""
CONNECTION = 2_000
"""Bytes of one end of a connection."""
CONTAINER = 40_000
"""Bytes of a container, without its probes."""
ENDPOINT = 500
"""Bytes per attached container in the whole lab, for each peer."""


def estimate(peers: int, connections: int, containers: int) -> int:
    """Bytes; `connections` is the number of connected pairs of peers."""
    each = PEER + peers * KNOWN + containers * ENDPOINT
    return peers * each + 2 * connections * CONNECTION + containers * CONTAINER

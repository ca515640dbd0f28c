"""How much memory a simulated lab takes: an estimate from measured parts. Pure.

Measured on CPython 3.11 (x86-64) as the growth of a process that plays labs of 50 to 200 peers, in full meshes and of
degree 8, until they have converged; rounded up, for a lab that goes on collects more.
"""

__all__ = ["estimate"]

PEER = 450_000
"""Bytes of a host with its peer, by itself."""
KNOWN = 600
"""Bytes that a peer takes for every other one that it knows."""
CONNECTION = 2_000
"""Bytes of one end of a connection."""
CONTAINER = 40_000
"""Bytes of a container, its probes not counted."""
ENDPOINT = 500
"""Bytes that a peer takes for every attached container anywhere."""


def estimate(peers: int, connections: int, containers: int) -> int:
    """Bytes; `connections` are pairs of peers that are connected."""
    each = PEER + peers * KNOWN + containers * ENDPOINT
    return peers * each + 2 * connections * CONNECTION + containers * CONTAINER

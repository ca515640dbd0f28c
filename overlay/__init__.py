"""A container overlay network in the style of Weave Net: peer-to-peer routers, IPAM, DNS and one `weave` command.

Everything in this package is pure (no sockets, clocks, processes or randomness of its own) except
`overlay.drivers` and `overlay.cli`. `lab/` deploys this package; this package knows nothing of `lab/`.
"""

__version__ = "0.1.0"

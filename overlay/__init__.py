"""A container overlay network in the style of Weave Net: peer-to-peer routers, IPAM, DNS and one `weave` command.

Everything in this package is pure (no sockets, clocks, processes or randomness of its own) except `cli`, `daemon`,
`docker`, `kernel`, `runtime`, and the servers in `http` and `proxy`. `lab/` deploys this package; this package knows
nothing of `lab/`.
"""

__version__ = "0.1.0"

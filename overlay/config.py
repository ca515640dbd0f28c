"""The options of one peer, as data. Knows nothing of command lines, files or sockets.

Durations are integer nanoseconds, sizes bytes, rates per second. `overlay.cli.launch_flags` makes one from command-line
words and the simulator makes one from a scenario. `weave launch` compares two of them to decide whether the running
router has the requested options.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from overlay.env import MILLISECOND, SECOND
from overlay.tuning import STANDARD, Tuning

PeerName = str
"""A peer's name: six bytes in hex, colon separated and lower case, as `7a:9f:eb:b6:0c:6e`. Stable across restarts."""


class Address(Struct, frozen=True, order=True):
    """A socket address of the underlay: `host` is an IPv4 or IPv6 literal, `port` a UDP or TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The reverse of `str()`. Raises ValueError for anything other than "host:port" or "[host]:port"."""
        host, separator, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            separator = ""
        if not separator or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise ValueError(f"address {text!r}: expected host:port, with a port of 1 to 65535")
        return cls(host, int(port))

    @classmethod
    def parse_all(cls, texts: Iterable[str]) -> "list[Address]":
        """The addresses in texts from the wire; malformed texts are left out."""
        found = []
        for text in texts:
            try:
                found.append(cls.parse(text))
            except ValueError:
                continue
        return found

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Config(Struct, frozen=True, kw_only=True):
    """All options of a `Node`. See `docs/design.md` for how the timers depend on each other."""

    name: PeerName
    nickname: str
    port: int = 6783
    peers: tuple[Address, ...] = ()
    """Addresses to dial at once and for ever (the command line's peers); also kept for later runs."""
    discovery: bool = True
    conn_limit: int = 200

    password: str = ""
    """Shared by all peers; empty: nothing is encrypted."""
    trusted_subnets: tuple[str, ...] = ()
    """CIDRs of the underlay within which the data path may be unencrypted, if the other side agrees."""

    iprange: str = "10.32.0.0/12"
    """The range that the ring divides, as a.b.c.d/n. Addresses outside of it may still be assigned by hand."""
    default_subnet: str = ""
    """The subnet for addresses requested without a subnet; empty: the whole of `iprange`."""
    ipam_init: Literal["consensus", "seed", "observer"] = "consensus"
    seed: tuple[PeerName, ...] = ()
    """With `ipam_init="seed"`: the names that own the range from the start, equal on every peer."""
    initial_peer_count: int = 0
    """With `consensus`: the initial number of peers; 0: the number of `peers` plus one."""

    dns: bool = True
    dns_domain: str = "weave.local."
    dns_ttl: int = 1
    """Seconds."""

    default_deny: bool = False
    """Deny flows to and from this host's containers if no policy decides."""

    mtu: int = 0
    """MTU of the overlay; 0: computed from the underlay's when the data path is created."""

    fastdp: bool = True
    """Whether the kernel may carry traffic; if not, all goes through the userspace tunnel."""
    tunnel_key: bytes = b""
    """Public key of this incarnation's WireGuard interface; empty: there is none."""

    gossip_interval: int = 15 * SECOND
    """Time between two rounds of anti-entropy with a random neighbour."""
    flush_delay: int = 2 * MILLISECOND
    """Delay of changes for a neighbour, so that several share a message."""
    beat_interval: int = 1 * SECOND
    """Time between two heartbeats on one connection, while there are few connections; see `beat_budget`."""
    beat_budget: int = 32
    """Maximum heartbeats per second from one peer. With more connections each gets heartbeats less often, and a
    partition is detected later (see `docs/design.md`)."""
    beat_losses: int = 4
    """A connection is closed if nothing arrives on it for this many of the sender's intervals."""
    beacon_interval: int = 400 * MILLISECOND
    """Time between two UDP beacons to one lost peer; the first that arrives ends the back-off of the dial."""
    hold: int = 300 * SECOND
    """How long the state of a peer that was lost without a farewell is kept (forwarding entries, records)."""
    tuning: Tuning = STANDARD
    """All other timers and limits of the protocol."""

"""The options of one peer, as data. Knows nothing of command lines, files or sockets.

Durations are integer nanoseconds, sizes bytes, rates per second. `overlay.cli.launch_flags` makes one from words
and the simulator from a scenario; `weave launch` compares two of them to tell "the same router" from "another one".
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
        """The reverse of `str()`; ValueError for anything else than "host:port" or "[host]:port"."""
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
        """The addresses among texts that came over the wire; what is none is left out."""
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
    """Everything a `Node` is told when it is made. See `docs/design.md` for how the timers belong together."""

    name: PeerName
    nickname: str
    port: int = 6783
    peers: tuple[Address, ...] = ()
    """Addresses to dial at once and for ever (the command line's peers); not only to this configuration's life."""
    discovery: bool = True
    conn_limit: int = 200

    password: str = ""
    """What all peers share; empty: everything is in clear."""
    trusted_subnets: tuple[str, ...] = ()
    """CIDRs of the underlay within which the data path may stay in clear, if the other side agrees."""

    iprange: str = "10.32.0.0/12"
    """The universe that the ring divides, as a.b.c.d/n. Addresses outside of it may still be given by hand."""
    default_subnet: str = ""
    """Where an address is taken from when none is asked for; empty: the whole of `iprange`."""
    ipam_init: Literal["consensus", "seed", "observer"] = "consensus"
    seed: tuple[PeerName, ...] = ()
    """With `ipam_init="seed"`: the names that own the range from the start, equal on every peer."""
    initial_peer_count: int = 0
    """With `consensus`: how many peers there will be at first; 0: the number of `peers` plus one."""

    dns: bool = True
    dns_domain: str = "weave.local."
    dns_ttl: int = 1
    """Seconds."""

    default_deny: bool = False
    """What no policy decides is denied to and from this host's containers."""

    mtu: int = 0
    """Of the overlay; 0: computed from the underlay's when the data path is made."""

    fastdp: bool = True
    """Whether the kernel may carry traffic; without, all goes through the userspace tunnel."""
    tunnel_key: bytes = b""
    """Public key of this incarnation's WireGuard interface; empty: there is none."""

    gossip_interval: int = 15 * SECOND
    """Between two rounds of anti-entropy with a random neighbour."""
    flush_delay: int = 2 * MILLISECOND
    """How long news for one neighbour is held back so that more can join the same message."""
    beat_interval: int = 1 * SECOND
    """Between two heartbeats on one connection, when there are few; see `beat_budget`."""
    beat_budget: int = 32
    """Heartbeats a second that one peer sends at the most: with more connections each is beaten more rarely, and a
    cut is noticed later (see `docs/design.md`)."""
    beat_losses: int = 4
    """A connection on which nothing was heard for so many of the sender's intervals is closed."""
    beacon_interval: int = 400 * MILLISECOND
    """Between two UDP beacons to one peer that was lost: the first that arrives ends the wait of the re-dial."""
    hold: int = 300 * SECOND
    """How long what is known of a peer that went away without a farewell is kept (forwarding entries, records)."""
    tuning: Tuning = STANDARD
    """All other timers of the protocol."""

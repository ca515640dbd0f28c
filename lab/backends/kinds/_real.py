"""Abilities that all backends with real packets declare (`lab.kinds.abilities`)."""

from collections.abc import Mapping

__all__ = ["REAL", "REAL_LACKS"]

REAL: Mapping[str, str] = {
    "hosts": "yes",
    "routers": "a namespace that forwards, translates and filters; `links` over it by the lab's relay",
    "nat": "nft maps, IPv4 only",
    "cuts": "nft rules, in one transaction",
    "obstacles": "nft rules, offloads off meanwhile",
    "drops": "nft rules",
    "rates": "htb, else the lab's relay",
    "delays": "netem where the kernel has it, else the lab's relay",
    "models": "the lab's relay",
    "links": "yes; packets under way are not affected",
    "carrier": "its end of the cable goes down in the fabric: the host has no carrier",
    "power": "yes",
    "signals": "yes",
    "stress": "yes: processes of the host at normal priority; they end with the step, the host or the lab",
    "disk": "yes, for the daemon's writes",
    "clock": "yes, for the daemon only",
    "address": "yes; ARP entries, /etc/hosts and routers' rules are updated",
    "packets": "yes",
    "probes": "yes",
    "overlays": "yes",
    "password": "SPAKE2, X25519, AES",
    "commands": "the command runs",
    "exec": "any command",
    "own-answers": "yes",
    "standing": "yes",
    "repeat": "the same seed; the history differs in its times",
}
REAL_LACKS: Mapping[str, str] = {
    "topology": "routers and cables are not built around hosts of the {} backend so far; use netns or sim",
    "machine": "real hosts take the time that they take; it is for sim, leave it out here",
}

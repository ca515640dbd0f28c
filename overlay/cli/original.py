"""Forms of the original's command line without a meaning here; each is refused with an alternative.

Owns the tables of these commands and flags, and the small commands that only print values for scripts of the original.
docs/compatibility.md lists every form, accepted or refused; a test runs all of them. Imports only what a command needs.
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from overlay.cli.words import Usage

__all__ = ["COMMANDS", "DNS_FLAGS", "FLAGS", "dns_arguments", "refuse_command", "refuse_dns_flag", "refuse_flag"]

_IN_ROUTER = "DNS is part of the router"
_CLOUD = "Weave Cloud, which it belonged to, is gone: name the peers, `weave launch PEER ...`"
_BRIDGE = "the bridge is always called `weave`: `weave launch` makes it, and whatever else it needs"
_PROCESS = "router and proxy find the host's files and processes themselves, also in a container"
_PLUGIN = "`weave launch --plugin` is the one plugin that there is"
_ANSWERS = "answers come from a table that all peers have, so nothing is cached, refreshed or asked of other peers"

COMMANDS: Mapping[str, str] = {
    "setup-cni": "there is no CNI plugin here: `weave attach CONTAINER` takes any container of the engine",
    "create-bridge": _BRIDGE,
    "attach-bridge": "a bridge cannot be attached, only containers: `weave attach CONTAINER`",
    "attach-router": "the router has the network of its host in both forms: nothing has to be attached but containers",
    "restart": "`docker restart CONTAINER` does it: a container comes back with its addresses",
    "stop-dns": f"{_IN_ROUTER}, and ends with it: `weave stop`; `weave launch --no-dns` serves none",
    "stop-plugin": "the plugin is part of the router, and ends with it: `weave stop`; `weave launch` alone serves none",
    "launch-test-config": "it belonged to the original's tests: `weave launch` takes every setting",
    "rewrite-etc-hosts": "`weave attach --rewrite-hosts CONTAINER` does it",
    "docker-tls-args": "DOCKER_TLS_VERIFY and DOCKER_CERT_PATH tell `docker` what it was there to tell",
}
"""Refused commands, with the reason."""

FLAGS: Mapping[str, str] = {
    "expect-npc": "there is no Kubernetes here: docs/policy.md says what the overlay's own policies are",
    "no-masq-local": "`weave expose --without-masquerade` switches masquerading off",
    "awsvpc": "no routes of an AWS VPC are written here: packets are encapsulated, there too",
    "token": _CLOUD,
    "peer-discovery-url": _CLOUD,
    "advertise-address": _CLOUD,
    "min-protocol-version": "peers agree on a version by themselves (docs/wire.md)",
    "pkt-debug": "`tcpdump -i weave` shows packets, --log-level debug what the router does",
    "pktdebug": "`tcpdump -i weave` shows packets, --log-level debug what the router does",
    "profile": "there is no profiler in the router: `perf` and `py-spy` look at it from outside",
    "bufsz": "nothing is captured, so there is no buffer to size: the kernel forwards",
    "no-bridged-fastdp": "there is one fast path here, and it is always bridged: --no-fastdp switches it off",
    "iface": _BRIDGE,
    "datapath": _BRIDGE,
    "bridge": _BRIDGE,
    "weave-bridge": _BRIDGE,
    "docker-bridge": "the variable DOCKER_BRIDGE names the engine's bridge",
    "dns-effective-listen-address": "nothing maps the port: DNS is served where --dns-listen-address says",
    "db-prefix": "the variable WEAVE_DB names the directory of the state",
    "host-root": _PROCESS,
    "procfs": _PROCESS,
    "plugin-v2": _PLUGIN,
    "plugin-v2-multicast": f"{_PLUGIN}; a network has multicast with `-o works.weave.multicast=true`",
    "plugin-socket": "the variable WEAVE_PLUGIN_SOCK names the plugin's socket",
    "plugin-mesh-socket": "the variable WEAVE_PLUGIN_SOCK names the plugin's socket",
    "wait": "`weave launch` returns once the router answers",
}
"""Refused flags of `launch`, with the reason."""

DNS_FLAGS: Mapping[str, str] = {
    "domain": "`weave launch --dns-domain NAME`",
    "ttl": "`weave launch --dns-ttl 1`",
    "dnsport": "DNS is served on port 53, the only one that containers ask",
    "timeout": "`weave launch --dns-fallback-timeout 5s`",
    "fallback": "`weave launch --resolv-conf FILE`: the name servers in it are asked for all other names",
    "udpbuf": "an answer that is too large for UDP is asked for again over TCP",
    "max-answers": "every answer has all addresses, in random order",
    "watch": "the engine's events are always followed",
    **dict.fromkeys(("neg-ttl", "cache", "no-cache", "refresh", "relevant"), _ANSWERS),
}
"""Flags of `launch-dns` of version 1.0, and their equivalents today."""


def refuse_command(name: str) -> None:
    """Raise `Usage` for a command that only the original has."""
    if name in COMMANDS:
        raise Usage(f"there is no `{name}` here: {COMMANDS[name]}")


def refuse_flag(word: str, key: str) -> None:
    """Raise `Usage` for a flag of `launch` that only the original has."""
    if key in FLAGS:
        raise Usage(f"{word} has no meaning here: {FLAGS[key]}")


def refuse_dns_flag(word: str) -> NoReturn:
    """Raise `Usage` for a word of `launch-dns` that is not an address."""
    key = word.lstrip("-").partition("=")[0]
    if word.startswith("-") and key in DNS_FLAGS:
        raise Usage(f"{word} has no meaning here, because {_IN_ROUTER}: {DNS_FLAGS[key]}")
    raise Usage(f"launch-dns takes at most an address, not `{word}`")


def dns_arguments(words: Sequence[str], resolver: str, domain: str) -> list[str]:
    """The additional flags that `docker run WORDS` needs for the overlay's names: name servers, and the host name from
    `--name` if it fits. Other words are not checked."""
    from overlay.dns.search import full_host_name

    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--without-dns":
            return []
        key, equals, value = word.partition("=")
        key = {"-h": "--hostname"}.get(key, key)
        if key in ("--name", "--hostname", "--dns-search"):
            given[key] = value if equals else (rest.pop(0) if rest else "")
    found = [f"--dns={resolver}"]
    if "--hostname" not in given and (whole := full_host_name(given.get("--name", ""), domain)):
        found.append(f"--hostname={whole}")
    if "--dns-search" not in given:
        found.append(f"--dns-search={domain}")
    return found

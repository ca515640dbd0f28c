"""The words of `weave launch`: its flags, including the original's spellings of 2015, and their valid values. Pure."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from overlay.addresses import parse_peer_name
from overlay.cli.original import refuse_flag
from overlay.cli.variables import from_environment
from overlay.cli.words import Usage, engine_socket, host_names, nearest, number
from overlay.env import MILLISECOND, SECOND
from overlay.errors import ConfigError, UsageError
from overlay.options import TUNING, WIREGUARD_MODES, LaunchOptions
from overlay.tuning import Constant, constants

__all__ = ["HELP", "is_given", "known_flags", "on_by_default", "parse_launch"]

HELP = """\
Usage: weave launch [FLAGS] [PEER ...]

  --ipalloc-range a.b.c.0/n         addresses that this network gives out (10.32.0.0/12; refused where the host has
                                    a route into it, unless it is named here)
  --ipalloc-default-subnet a.b.c.0/n   where an address comes from when none is asked for (the whole range)
  --ipalloc-init HOW                consensus[=number of peers] | seed=name,name | observer
  --name NAME                       this peer's name, six bytes in hex, or short as ::1 (drawn once, kept)
  --nickname NAME                   what people call it (the host's name)
  --port N                          control port, TCP and UDP (6783)
  --host IP                         listen, and answer, on this address only (all)
  --password WORD                   what all peers share: sessions are encrypted (WEAVE_PASSWORD; none)
  --trusted-subnets a.b.c.0/n,...   where traffic stays in clear with a password, if both sides say so
  --resume                          without PEER: dial the peers of the last launch and `connect`, and those it met
                                    (so does a launch that was not stopped, as after a crash; --resume=false: not)
  --no-discovery                    dial only the peers that are named
  --conn-limit N                    connections at most (200)
  --mtu N                           of the overlay (what the costliest path leaves of the underlay's)
  --no-fastdp                       all traffic takes the userspace tunnel, none the kernel's VXLAN
  --wireguard HOW                   with a password: auto (the kernel's, if it has it) | off | wireguard-go (auto)
  --no-dns                          serve no DNS
  --dns-domain NAME                 (weave.local.)
  --dns-ttl SECONDS                 (1)
  --dns-listen-address IP[:53]      where DNS is served (the address of docker0)
  --dns-fallback-timeout TIME       how long all other name servers together have for an answer (5s)
  --resolv-conf FILE                the host's own name servers (/etc/resolv.conf)
  --default-deny                    containers of this host speak to nobody and nobody to them but by `weave allow`
                                    (say so on all hosts)
  --plugin                          be the engine's network and IPAM driver named weave (docker network create -d weave)
  --in-container                    run as a container named weave of the image overlay-lab/weave (docs/install.md)
  --docker-api SOCKET               the container engine (DOCKER_HOST, or /var/run/docker.sock)
  --http-addr IP:PORT               the control API over TCP (127.0.0.1:6784; empty: none); what changes something needs
                                    a token: curl -H @/var/run/weave/router.token
  --status-addr IP:PORT             status, report and metrics over TCP, nothing else (127.0.0.1:6782; empty: none)
  --allow-host NAME,...             names of this host by which the two, and the proxy, are asked (localhost and IP
                                    addresses always are)
  --log-level LEVEL                 debug, info, warning, error (info)

For experiments (docs/design.md says how they belong together); a TIME is written 500ms, 15s or 2m:
  --gossip-interval TIME            between two rounds of anti-entropy with a random neighbour (15s)
  --flush-delay TIME                how long news for one neighbour is held back to be sent together (2ms)
  --beat-interval TIME              between two heartbeats on one connection (1s)
  --beat-losses N                   heartbeats missed before a connection is closed (4)
  --beat-budget N                   heartbeats a second that one peer sends at most, on all connections (32)
  --beacon-interval TIME            between two beacons to a peer that was lost (400ms)
  --hold TIME                       how long what is known of a peer that went silently is kept (5m)
All other timers of the protocol are flags too, with limits: docs/constants.md.

The proxy's flags are taken too: `weave help launch-proxy`.
Variables, where no flag says otherwise: WEAVE_PASSWORD, WEAVE_MTU, WEAVE_PORT, WEAVE_NO_FASTDP, WEAVE_HTTP_ADDR and
WEAVE_STATUS_ADDR.
Also in the spelling of 2015: -iprange, -ipsubnet, -nickname, -name, -port, -nodiscovery, -initpeercount, -connlimit."""

_TEXT = {
    "ipalloc-range": "ipalloc_range",
    "ipalloc-default-subnet": "ipalloc_default_subnet",
    "ipalloc-init": "ipalloc_init",
    "name": "name",
    "nickname": "nickname",
    "dns-domain": "dns_domain",
    "dns-listen-address": "dns_listen_address",
    "resolv-conf": "resolv_conf",
    "docker-api": "docker_api",
    "http-addr": "http_addr",
    "status-addr": "status_addr",
    "allow-host": "allow_host",
    "host": "host",
    "password": "password",
    "trusted-subnets": "trusted_subnets",
    "log-level": "log_level",
    "wireguard": "wireguard",
}
_NUMBERS = {
    "port": ("port", 1, 65535),
    "conn-limit": ("conn_limit", 1, 10_000),
    "mtu": ("mtu", 1280, 65535),
    "dns-ttl": ("dns_ttl", 0, 86_400),
    "init-peer-count": ("ipalloc_init", 1, 10_000),
    "beat-losses": ("beat_losses", 2, 100),
    "beat-budget": ("beat_budget", 1, 100_000),
}
_TIMES = {
    "gossip-interval": ("gossip_interval", 10 * MILLISECOND),
    "flush-delay": ("flush_delay", MILLISECOND),
    "beat-interval": ("beat_interval", 10 * MILLISECOND),
    "beacon-interval": ("beacon_interval", 10 * MILLISECOND),
    "hold": ("hold", SECOND),
    "dns-fallback-timeout": ("dns_fallback_timeout", 100 * MILLISECOND),
}
"""Flag -> field, and the shortest valid time."""
_OTHERS = {constant.flag: constant for constant in constants().values()}
"""Timers and counts without a field of their own."""
_UNITS = {"us": MILLISECOND // 1000, "ms": MILLISECOND, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_LONGEST = 24 * 3600 * SECOND
BOUNDS: dict[str, tuple[Literal["time", "count"], int, int]] = {
    field: ("time", low, _LONGEST) for field, low in _TIMES.values() if field in TUNING
} | {field: ("count", low, high) for field, low, high in _NUMBERS.values() if field in TUNING}
"""The timers with a field of their own: the unit, and the limits."""
_SWITCHES = {
    "default-deny": "default_deny",
    "no-discovery": "no_discovery",
    "no-dns": "no_dns",
    "no-fastdp": "no_fastdp",
    "plugin": "plugin",
    "resume": "resume",
    "in-container": "in_container",
}
_OLD = {
    "iprange": "ipalloc-range",
    "ipsubnet": "ipalloc-default-subnet",
    "initpeercount": "init-peer-count",
    "nodiscovery": "no-discovery",
    "connlimit": "conn-limit",
    "httpaddr": "http-addr",
    "api": "docker-api",
    "metrics-addr": "status-addr",
}
"""Spellings of 2015, in addition to flags with a single dash."""
_LEVELS = ("debug", "info", "warning", "error")


def known_flags() -> tuple[str, ...]:
    """All flags of a scenario's options, in today's spelling, without dashes; switches without their `no-`."""
    switches = (switch.removeprefix("no-") for switch in _SWITCHES if switch != "in-container")
    return (*_TEXT, *_NUMBERS, *_TIMES, *_OTHERS, *switches)


def on_by_default() -> tuple[str, ...]:
    """What is on unless `--no-…` switches it off, without dashes. There is no flag to switch it on."""
    return ("restart", *(switch.removeprefix("no-") for switch in _SWITCHES if switch.startswith("no-")))


def is_given(flag: str, words: Sequence[str]) -> bool:
    """Whether the words contain this flag, in either spelling."""
    keys = (word.lstrip("-").partition("=")[0] for word in words if word.startswith("-"))
    return flag in (_OLD.get(key, key) for key in keys)


def parse_launch(words: Sequence[str], environment: Mapping[str, str]) -> LaunchOptions:
    """The options of `weave launch`. Raises `Usage`."""
    found = from_environment(environment)
    peers: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            peers.append(word)
            continue
        key, equals, value = word.lstrip("-").partition("=")
        key = _OLD.get(key, key)
        if key == "no-restart":
            _not_restarted(word, value)
            continue
        if key in _SWITCHES:
            if equals and value not in ("true", "false"):
                raise Usage(f"{word}: expected no value")
            found[_SWITCHES[key]] = value != "false"
            continue
        if key not in _TEXT and key not in _NUMBERS and key not in _TIMES and key not in _OTHERS:
            refuse_flag(word, key)
            known = (*_TEXT, *_NUMBERS, *_TIMES, *_OTHERS, *_SWITCHES, *_OLD)
            raise Usage(
                f"launch has no flag `{word}`{nearest(key, known, dashes=True)} (`weave help launch` lists all)"
            )
        if not equals:
            if not rest:
                raise Usage(f"{word} lacks its value")
            value = rest.pop(0)
        if key == "init-peer-count":
            found["ipalloc_init"] = f"consensus={number(word, value, 1, 10_000)}"
        elif key in _NUMBERS:
            field, low, high = _NUMBERS[key]
            found[field] = number(word, value, low, high)
        elif key in _TIMES:
            field, low = _TIMES[key]
            found[field] = _time(word, value, low)
        elif key in _OTHERS:
            found["tuning"] = {**found.get("tuning", {}), _OTHERS[key].name: _other(word, value, _OTHERS[key])}
        elif key == "trusted-subnets":
            found["trusted_subnets"] = tuple(_whole(part.strip()) for part in value.split(",") if part.strip())
        elif key == "dns-listen-address":
            found["dns_listen_address"] = _dns_address(value)
        elif key == "docker-api":
            found["docker_api"] = engine_socket(word.partition("=")[0], value)
        elif key == "ipalloc-range" and not value:
            raise Usage(
                f"{word} without a range has no meaning here, because addresses can always be given out: name one for"
                " each container where that is not wanted, and launch the proxy with --no-default-ipalloc"
            )
        elif key == "name":
            found["name"] = _peer_name(value) if value else ""
        elif key == "allow-host":
            found["allow_host"] = (*found.get("allow_host", ()), *host_names(value))
        else:
            found[_TEXT[key]] = value
    options = LaunchOptions(peers=tuple(peers), **found)
    if options.resume and peers:
        raise Usage(
            f"--resume dials the peers of the last launch, found {peers[0]} as well: name peers without --resume, or"
            " afterwards with `weave connect PEER`"
        )
    _check(options)
    return options


def _check(options: LaunchOptions) -> None:
    """Checks that do not need a host."""
    try:
        options.config("00:00:00:00:00:00", "host")
    except ConfigError as error:
        raise Usage(str(error)) from None
    if options.log_level not in _LEVELS:
        close = nearest(options.log_level, _LEVELS)
        raise Usage(f"--log-level {options.log_level}{close}; expected one of {', '.join(_LEVELS)}")
    if options.wireguard not in WIREGUARD_MODES:
        close = nearest(options.wireguard, WIREGUARD_MODES)
        raise Usage(f"--wireguard {options.wireguard}{close}; expected one of {', '.join(WIREGUARD_MODES)}")
    for flag, address in (("--http-addr", options.http_addr), ("--status-addr", options.status_addr)):
        if address and not address.rpartition(":")[2].isdigit():
            raise Usage(f"{flag} {address}: expected IP:PORT")
    if options.host and not _literal(options.host):
        raise Usage(f"--host {options.host}: expected an address of this host, as 192.168.0.2")


def _literal(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _peer_name(text: str) -> str:
    try:
        return parse_peer_name(text)
    except UsageError as error:
        raise Usage(f"--name: {error}") from None


def _whole(text: str) -> str:
    """A subnet without host bits, so that equal subnets compare equal; `_check` rejects invalid ones."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return text


def _not_restarted(word: str, value: str) -> None:
    """Check `--no-restart`. It has no effect on a process, because a router does not restart itself; for a container,
    `overlay.cli.container` reads it. Raises `Usage` for other values."""
    if value not in ("", "true"):
        raise Usage(f"{word}: a router starts nothing again by itself; whatever watches over services here can do it")


def _dns_address(text: str) -> str:
    """The address in `IP`, `IP:53`, `[v6]:53` or `:53` (all). Raises `Usage`."""
    host, port = text, "53"
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "0.0.0.0"
    if port != "53":
        raise Usage(f"--dns-listen-address {text}: DNS is served on port 53, the only one that containers ask")
    if text and not _literal(host):
        raise Usage(f"--dns-listen-address {text}: expected an address, as 172.17.0.1")
    return host


def _other(flag: str, text: str, constant: Constant) -> int:
    if constant.unit == "count":
        return number(flag, text, constant.low, constant.high)
    return _time(flag, text, constant.low, constant.high)


def _time(flag: str, text: str, low: int, high: int = _LONGEST) -> int:
    """The nanoseconds of `500ms`, `1.5s`, `2m`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)(us|ms|s|m|h)", text)
    value = round(float(match[1]) * _UNITS[match[2]]) if match else -1
    if not low <= value <= high:
        least, most = (
            f"{low / MILLISECOND:g}ms",
            f"{high // _UNITS['h']}h" if high >= _UNITS["h"] else f"{high // SECOND}s",
        )
        raise Usage(f"{flag} {text}: expected a time from {least} to {most}, as 500ms, 15s or 2m")
    return value

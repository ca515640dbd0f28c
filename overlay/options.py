"""The options of `weave launch` as data, and what is derived: a `Config`, and the differences between two launches.

Owns defaults of the daemon's own options (addresses, files) and the checks that need no machine.
`overlay.cli.launch_flags` has the command-line words.
"""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict

from overlay.addresses import parse_peer_name, parse_target
from overlay.config import Config
from overlay.env import SECOND
from overlay.errors import ConfigError, UsageError
from overlay.ranges import reserved
from overlay.tuning import Tuning, constants, senseless, shown

__all__ = [
    "TUNING",
    "WIREGUARD_MODES",
    "WIREGUARD_PROGRAM",
    "DaemonPaths",
    "LaunchOptions",
    "differences",
    "socket_path",
]

WIREGUARD_PROGRAM = "wireguard-go"
WIREGUARD_MODES = ("auto", "off", WIREGUARD_PROGRAM)
"""Values of `--wireguard`: the kernel's WireGuard if it has one; none; the userspace program."""

TUNING = ("gossip_interval", "flush_delay", "beat_interval", "beat_losses", "beat_budget", "beacon_interval", "hold")
"""Options for experiments, named as in `Config`."""


DEFAULT_CONTROL = "/var/run/weave/router.sock"
DEFAULT_PROXY = "/var/run/weave/weave.sock"
"""The same path as the proxy of the original Weave Net."""
DEFAULT_ENGINE = "/var/run/docker.sock"
DEFAULT_PLUGIN = "/run/docker/plugins/weave.sock"


class LaunchOptions(Struct, frozen=True, kw_only=True):
    """The options of one launch, as entered and checked. Field names are the flags' names with underscores."""

    name: str = ""
    nickname: str = ""
    port: int = 6783
    peers: tuple[str, ...] = ()
    host: str = ""
    password: str = ""
    trusted_subnets: tuple[str, ...] = ()
    resume: bool | None = None
    """Keep the targets and peers of earlier runs; None: only if the last launch was not stopped."""
    no_discovery: bool = False
    conn_limit: int = 200
    ipalloc_range: str = "10.32.0.0/12"
    ipalloc_default_subnet: str = ""
    ipalloc_init: str = "consensus"
    no_fastdp: bool = False
    wireguard: str = "auto"
    no_dns: bool = False
    dns_domain: str = "weave.local."
    dns_ttl: int = 1
    dns_listen_address: str = ""
    dns_fallback_timeout: int = 0
    """Nanoseconds for all other name servers together; 0: the usual 5 s."""
    resolv_conf: str = "/etc/resolv.conf"
    mtu: int = 0
    default_deny: bool = False
    """Deny flows that no policy decides."""
    in_container: bool = False
    """The router runs in a container of the engine, not as a process of the host."""
    plugin: bool = False
    """Serve as the engine's plugin for networks and addresses."""
    docker_api: str = ""
    http_addr: str = "127.0.0.1:6784"
    status_addr: str = "127.0.0.1:6782"
    allow_host: tuple[str, ...] = ()
    """Host names accepted by the two HTTP addresses; `localhost` and IP addresses always are."""
    log_level: str = "info"
    gossip_interval: int = 0
    """This and the next six: 0 for the default of `Config`; times in nanoseconds."""
    flush_delay: int = 0
    beat_interval: int = 0
    beat_losses: int = 0
    beat_budget: int = 0
    beacon_interval: int = 0
    hold: int = 0
    tuning: dict[str, int] = {}
    """Fields of `overlay.tuning.Tuning` that were set; times in nanoseconds."""

    def config(self, name: str, nickname: str) -> Config:
        """The node's configuration; `name` and `nickname` are the defaults. Raises `ConfigError`."""
        kind, seed, count = _init(self.ipalloc_init)
        try:
            universe = ipaddress.ip_network(self.ipalloc_range)
            subnet = ipaddress.ip_network(self.ipalloc_default_subnet or self.ipalloc_range)
        except ValueError as error:
            raise ConfigError(
                f"--ipalloc-range or --ipalloc-default-subnet: {error}; expected a network as 10.32.0.0/12"
            ) from None
        if not 4 <= universe.num_addresses <= 2**64:
            raise ConfigError(f"--ipalloc-range {universe}: expected a range of at least 4 and at most 2^64 addresses")
        if why := reserved(universe):
            raise ConfigError(f"--ipalloc-range {universe}: no container can have an address of it: {why}")
        if subnet.version != universe.version or not subnet.subnet_of(universe):  # type: ignore[arg-type]
            raise ConfigError(f"--ipalloc-default-subnet {subnet} is not within the range {universe}")
        tuning = _tuning(self.tuning)
        try:
            peers = tuple(parse_target(peer, self.port) for peer in self.peers)
        except UsageError as error:
            raise ConfigError(str(error)) from None
        return Config(
            name=self.name or name,
            nickname=self.nickname or nickname,
            port=self.port,
            peers=peers,
            password=self.password,
            trusted_subnets=_subnets(self.trusted_subnets),
            discovery=not self.no_discovery,
            conn_limit=self.conn_limit,
            iprange=str(universe),
            default_subnet=self.ipalloc_default_subnet and str(subnet),
            ipam_init=kind,
            seed=seed,
            initial_peer_count=count,
            fastdp=not self.no_fastdp,
            dns=not self.no_dns,
            dns_domain=self.dns_domain.rstrip(".") + ".",
            dns_ttl=self.dns_ttl,
            default_deny=self.default_deny,
            mtu=self.mtu,
            tuning=tuning,
            **{field: value for field in TUNING if (value := getattr(self, field))},
        )


def _tuning(given: Mapping[str, int]) -> Tuning:
    """The protocol's other timers. Raises `ConfigError`."""
    for name in given:
        if name not in constants():
            raise ConfigError(f"found the timer {name!r}, expected one that docs/constants.md lists")
    tuning = Tuning(**given)
    if why := senseless(tuning):
        raise ConfigError(why)
    return tuning


def _subnets(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        # Host bits are allowed, because `ip addr` prints the host's own subnet as a.b.c.d/n.
        return tuple(dict.fromkeys(str(ipaddress.ip_network(text, strict=False)) for text in texts))
    except ValueError as error:
        raise ConfigError(f"--trusted-subnets takes a.b.c.0/n,a.b.c.0/n: {error}") from None


def _init(text: str) -> tuple[Literal["consensus", "seed", "observer"], tuple[str, ...], int]:
    kind, _, value = text.partition("=")
    if kind == "consensus" and (not value or (value.isdigit() and int(value) > 0)):
        return "consensus", (), int(value or 0)
    if kind == "observer" and not value:
        return "observer", (), 0
    if kind == "seed" and value:
        try:
            return "seed", tuple(sorted({parse_peer_name(part.strip()) for part in value.split(",")})), 0
        except UsageError as error:
            raise ConfigError(
                f"--ipalloc-init {text}: {error}; the seed is the names of all first peers (`weave status` shows a "
                "peer's, `weave launch --name NAME` gives one)"
            ) from None
    raise ConfigError(
        f"--ipalloc-init {text}: expected consensus, consensus=<number of peers>, seed=<name,name> or observer"
    )


def differences(running: Struct, asked: Struct) -> list[str]:
    """The differences between the running and the requested options, one phrase each; a password is not shown."""
    ours, theirs = _flat(running), _flat(asked)
    return [
        f"--{key.replace('_', '-')} is {_show(key, ours[key])}, asked for {_show(key, theirs[key], other=True)}"
        for key in dict.fromkeys((*ours, *theirs))
        if ours[key] != theirs[key] and key != "resume"
    ]


def _flat(options: Struct) -> dict[str, object]:
    """Option -> value; the other timers include their defaults."""
    found = asdict(options)
    given = found.pop("tuning", {})
    if isinstance(options, LaunchOptions):
        found |= {name: given.get(name, constant.default) for name, constant in constants().items()}
    return found


def _show(key: str, value: object, other: bool = False) -> str:
    if key == "password":
        return ("another one" if other else "set") if value else "(none)"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "(none)"
    if (constant := constants().get(key)) is not None and isinstance(value, int):
        return shown(constant, value)
    if key in (*TUNING, "dns_fallback_timeout") and isinstance(value, int):
        return (
            "(default)"
            if not value
            else str(value)
            if key in ("beat_losses", "beat_budget")
            else f"{value / SECOND:g}s"
        )
    return str(value) if value != "" else "(default)"


def socket_path(environment: Mapping[str, str]) -> str:
    """The engine's socket: DOCKER_HOST if that names a unix socket, else Docker's default.

    In a shell after `weave env` DOCKER_HOST is the proxy, and ORIG_DOCKER_HOST has the previous value.
    """
    host = environment.get("ORIG_DOCKER_HOST", environment.get("DOCKER_HOST", ""))
    if not host:
        return DEFAULT_ENGINE
    if host.startswith("unix://"):
        return host.removeprefix("unix://")
    return DEFAULT_ENGINE if Path(DEFAULT_ENGINE).exists() else ""


class DaemonPaths(Struct, frozen=True):
    """The paths of a daemon's files on this host."""

    db: Path
    socket: Path
    token: Path
    """Next to the socket: the token that its owner sends to the control API over TCP."""
    log: Path
    pid: Path
    proxy: Path
    """The proxy's own unix socket; next to it, with other suffixes, its pid file and its options."""
    waiter: Path
    """The directory with the waiter program, which is mounted into containers."""

    @staticmethod
    def of(environment: Mapping[str, str]) -> "DaemonPaths":
        """From WEAVE_DB, WEAVE_SOCK, WEAVE_PROXY_SOCK and WEAVE_LOG, or the default paths."""
        socket = Path(environment.get("WEAVE_SOCK") or DEFAULT_CONTROL)
        named = bool(environment.get("WEAVE_SOCK"))
        db = Path(environment.get("WEAVE_DB") or "/var/lib/weave")
        return DaemonPaths(
            db=db,
            socket=socket,
            token=socket.with_suffix(".token"),
            log=Path(environment.get("WEAVE_LOG") or "/var/log/weave.log"),
            pid=socket.with_suffix(".pid"),
            proxy=Path(environment.get("WEAVE_PROXY_SOCK") or (f"{socket}.proxy" if named else DEFAULT_PROXY)),
            waiter=db / "waiter",
        )

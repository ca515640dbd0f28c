"""Our overlay on the lab's hosts, driven by its own `weave` command exactly as a user would type it.

Owns the steps after a daemon or a host came back, and how options become flags of `weave launch`, whose own parser
validates them. Knows nothing of how the overlay works inside.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from lab.contracts.lab import Lab
from lab.contracts.overlay import CommandFailed, OnSubnets, Overlay, last_lines, must, together
from lab.host_engine import HostEngine
from lab.kinds.options import OptionFault, Options
from lab.kinds.overlays import OverlayKind, range_among
from lab.scenario.base import listed, show
from lab.scenario.resolve import Replica, Resolved
from overlay.cli.launch_flags import known_flags, on_by_default, parse_launch
from overlay.cli.proxy_flags import parse_proxy, split_proxy_words
from overlay.cli.words import Usage

DEFAULT_RANGE = ipaddress.ip_network("10.32.0.0/12")
"""The default range of addresses."""
FLAGS = {"iprange": "ipalloc-range", "subnet": "ipalloc-default-subnet", "init": "ipalloc-init"}
"""Short names of options; all others have the flag's own name."""
_RANGES = ("ipalloc-range", "ipalloc-default-subnet")
"""Options that are only meaningful together."""
_CONNECTIONS = 200
"""A peer's default maximum of connections; a graph with a higher degree raises it."""
_CIDR = re.compile(r"(?<![\w.:])([0-9A-Fa-f.:]+)/(\d{1,3})(?![\w.])")


class WeaveOverlay(OnSubnets):
    """`overlay.kind: weave`."""

    kind = "weave"
    has_daemons = True
    has_views = True

    def __init__(self, lab: Lab, scenario: Resolved) -> None:
        self._lab = lab
        self._scenario = scenario
        self.has_dns = scenario.options.get("dns", True) is not False
        self._launched: dict[str, list[str]] = {}
        self._stopped: set[str] = set()
        super().__init__()
        self._resolvers: dict[str, str] = {}

    async def launch(self, hosts: Sequence[str], options: Options) -> None:
        """`weave launch` on all of them; the initial consensus is among as many peers as the lab has hosts."""
        merged = {**self._scenario.options, **options}
        if not merged.keys() & {"init", "ipalloc-init", "ipalloc_init"}:
            merged["init"] = f"consensus={len(self._scenario.hosts)}"
        arguments = flags(merged)
        await together(must(self._lab.hosts[name], ["weave", "launch", *arguments]) for name in hosts)
        self._launched.update(dict.fromkeys(hosts, arguments))

    async def connect(self, source: str, targets: Sequence[str]) -> None:
        """`weave connect` with the targets' underlay addresses."""
        addresses = [self._lab.hosts[target].address for target in targets]
        await must(self._lab.hosts[source], ["weave", "connect", *addresses])

    async def forget(self, source: str, targets: Sequence[str]) -> None:
        """`weave forget`."""
        addresses = [self._lab.hosts[target].address for target in targets]
        await must(self._lab.hosts[source], ["weave", "forget", *addresses])

    async def rmpeer(self, host: str, peers: Sequence[str]) -> None:
        """`weave rmpeer` on a host, with the peers' nicknames, which are the names of their hosts."""
        await must(self._lab.hosts[host], ["weave", "rmpeer", *peers])

    async def reset(self, hosts: Sequence[str]) -> None:
        """`weave reset`, on one host after the other, because each transfers its addresses to the remaining ones."""
        for name in hosts:
            await must(self._lab.hosts[name], ["weave", "reset"])
            self._launched.pop(name, None)

    async def run(self, replica: Replica) -> None:
        """`weave run`, with the requested address or one from IPAM."""
        argv = ["weave", "run", *_flags(replica), *([replica.address] if replica.address else [])]
        argv += ["--name", replica.name]
        argv += ["-h", replica.hostname] if self.has_dns else []
        for key, value in replica.env.items():
            argv += ["-e", f"{key}={value}"]
        for key, value in replica.labels.items():
            argv += ["--label", f"{key}={value}"]
        for entry in replica.publish:
            argv += ["-p", entry]
        # A shell without arguments ends at once unless it has a terminal.
        argv += ["-ti"] if not replica.args else []
        await must(self._lab.hosts[replica.host], [*argv, replica.image, *replica.args])
        await self._learn(replica)

    async def policy(self, host: str, text: str, *, remove: bool, force: bool) -> None:
        """`weave allow` or `deny` on a host."""
        verb, *words = text.split(" ")
        flags = ["--remove"] if remove else ["--force"] if force else []
        await must(self._lab.hosts[host], ["weave", verb, *flags, *words])

    async def remove(self, replica: Replica) -> None:
        """`docker rm -f`; the daemon learns of it from the engine."""
        self._addresses.pop(replica.name, None)
        await HostEngine(self._lab.hosts[replica.host]).remove(replica.name)

    async def kill(self, replica: Replica) -> None:
        """`docker kill`."""
        await HostEngine(self._lab.hosts[replica.host]).kill(replica.name)

    async def restart(self, replica: Replica) -> None:
        """`docker start`, then `weave attach` with its previous address."""
        before = self._addresses.get(replica.name)
        await HostEngine(self._lab.hosts[replica.host]).start(replica.name)
        asked = [replica.address] if replica.address else [str(before)] if before else []
        await must(self._lab.hosts[replica.host], ["weave", "attach", *_flags(replica), *asked, replica.name])
        await self._learn(replica)

    async def attach(self, replica: Replica, address: str | None) -> None:
        """`weave attach [address] container`."""
        asked = [address] if address else []
        await must(self._lab.hosts[replica.host], ["weave", "attach", *_flags(replica), *asked, replica.name])
        await self._learn(replica)

    async def detach(self, replica: Replica, address: str | None) -> None:
        """`weave detach address container`; without an address, all of its addresses."""
        await must(self._lab.hosts[replica.host], ["weave", "detach", address or "--all", replica.name])
        await self._learn(replica)

    async def relaunch(self, host: str) -> bool:
        """`weave launch` as before; state comes from its disk, after a `weave stop` by `--resume`."""
        if host not in self._launched:
            return False
        words = [*self._launched[host], *(["--resume"] if host in self._stopped else [])]
        self._stopped.discard(host)
        try:
            await must(self._lab.hosts[host], ["weave", "launch", *words])
        except CommandFailed:
            # A user may have launched it by hand meanwhile.
            if (await self._lab.hosts[host].exec(["weave", "status"])).code:
                raise
        return True

    async def stop(self, host: str) -> None:
        """`weave stop`."""
        self._stopped.add(host)
        await must(self._lab.hosts[host], ["weave", "stop"])

    async def kill_daemon(self, host: str) -> None:
        """`kill -9`, by the backend, which identifies the daemon by its control socket."""
        await self._lab.hosts[host].kill_daemon()

    async def resolver(self, host: str) -> str:
        """The address of the engine's bridge, where the daemon's name server listens."""
        if host not in self._resolvers:
            out = await must(self._lab.hosts[host], ["ip", "-o", "-4", "addr", "show", "dev", "docker0"])
            match = _CIDR.search(out)
            self._resolvers[host] = match[1] if match else ""
        return self._resolvers[host]

    async def log_tail(self, host: str) -> str:
        """The end of the daemon's log."""
        result = await self._lab.hosts[host].exec(["sh", "-c", "tail -n 15 /var/log/weave*.log"], timeout=5.0)
        return last_lines(result.out, 15)

    async def _learn(self, replica: Replica) -> None:
        """Read a container's current addresses, by `weave ps`."""
        out = await must(self._lab.hosts[replica.host], ["weave", "ps", replica.name])
        found = _CIDR.search(out)
        if found:
            self._addresses[replica.name] = ipaddress.ip_interface(found[0])
        else:
            self._addresses.pop(replica.name, None)


def _flags(replica: Replica) -> list[str]:
    return ["--allow-spoofing"] if replica.allow_spoofing else []


def flags(options: Options) -> list[str]:
    """Options of a scenario as arguments of `weave launch`: true `--x`, false `--no-x`, anything else `--x value`."""
    arguments: list[str] = []
    for key, value in options.items():
        name = _flag(key)
        if name == "wireguard" and isinstance(value, bool):  # YAML reads `off` as false
            value = "auto" if value else "off"
        if value is True:
            arguments += [] if name in on_by_default() else [f"--{name}"]
        elif value is False:
            arguments += [f"--no-{name}"] if name in on_by_default() else []
        else:
            arguments += [f"--{name}", str(value)]
    return arguments


def _names() -> list[str]:
    """The options, spelled like the flags."""
    return list(dict.fromkeys([*FLAGS, *known_flags()]))


def _faults(options: Options) -> Iterator[OptionFault]:
    whole = _refused(options)
    if not whole:
        return
    told = False
    for key, value in options.items():
        if _flag(key) in _RANGES:
            alone = {other: text for other, text in options.items() if _flag(other) == _RANGES[0]} | {key: value}
        else:
            alone = {key: value}
        if why := _refused(alone):
            told = True
            if "has no flag" in why:
                known = listed(_names(), 12)
                yield OptionFault(key, f"the option {key!r}", f"one of `weave launch`: {known}", unknown=True)
            else:
                yield OptionFault(key, show(value), f"a value that `weave launch` takes ({why})")
    if not told:
        yield OptionFault("", "options", f"what `weave launch` takes together ({whole})")


def _refused(options: Options) -> str:
    """Why `weave launch` would refuse these options; empty if it accepts them."""
    try:
        words: Any = flags(options)
        words, proxy = split_proxy_words(words)
        if proxy is not None:
            parse_proxy(proxy)
        if parse_launch(words, {}).in_container:
            return "a lab starts the router as a process of its host, not in a container"
    except Usage as error:
        return str(error)
    return ""


def _flag(key: str) -> str:
    return FLAGS.get(key, key).replace("_", "-")


def _on_graph(options: Options, degree: int) -> Options:
    """A graph keeps its shape only when peers do not dial peers that they discover."""
    shaped = dict(options)
    said = {key.replace("_", "-") for key in options}
    if not said & {"discovery", "no-discovery", "nodiscovery"}:
        shaped["discovery"] = False
    if not said & {"conn-limit", "connlimit"} and degree > _CONNECTIONS:
        shaped["conn-limit"] = degree
    return shaped


def _needs(options: Options) -> Mapping[str, str]:
    proxy = split_proxy_words(flags(options))[1] is not None
    return {"docker-proxy": "overlay.options: they start the Docker API proxy"} if proxy else {}


def weave_of(overlay: Overlay) -> WeaveOverlay:
    """The overlay as a `WeaveOverlay`; the verbs that it lists are allowed only on these."""
    return cast(WeaveOverlay, overlay)


KIND = OverlayKind(
    name="weave",
    about="the overlay of this project, driven by its own `weave` command",
    make=WeaveOverlay,
    has_daemons=True,
    has_views=True,
    has_names=True,
    verbs=frozenset({"attach", "detach", "forget", "policy", "reset", "rmpeer"}),
    default_range=DEFAULT_RANGE,
    options=_names,
    faults=_faults,
    range_of=lambda options: range_among(options, "iprange", "ipalloc-range"),
    on_graph=_on_graph,
    needs=_needs,
    variants={"sleeve": {"fastdp": False}, "encrypted": {"password": "league-of-overlays"}},
)

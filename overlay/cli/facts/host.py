"""All facts about this host for `weave check`, in one `HostFacts`. Each part that fails gives its reason."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from overlay.check.facts import BridgeEntry, HostFacts, ProgramFacts, StateDirectoryFacts
from overlay.cli.facts import containers, firewall, kernel
from overlay.crypto.secure_peer import WIREGUARD_PORT
from overlay.datapath.vxlan import BRIDGE, VXLAN_PORT
from overlay.errors import OverlayError
from overlay.kernel import bridge, rtnl
from overlay.kernel.kernel_tables import entries, links, manner
from overlay.kernel.netlink import Netlink, NetlinkError
from overlay.kernel.port_filter import PortFilter
from overlay.kernel.routes import host_routes
from overlay.options import DEFAULT_PLUGIN, DaemonPaths, socket_path
from overlay.proxy.process import running
from overlay.runtime.disk import damaged

__all__ = ["look"]

_DNS_TIMEOUT = 5.0
_SETTINGS = (
    "net.ipv4.ip_forward",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.default.disable_ipv6",
)


def look(
    environment: Mapping[str, str],
    report: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    attached: Sequence[Mapping[str, Any]],
) -> HostFacts:
    """Collect all facts. `report`, `options` and `attached`: the router's answers, if it runs."""
    places = DaemonPaths.of(environment)
    root = os.geteuid() == 0
    port = int(options.get("port") or 6783)
    trial = kernel.Trial()
    forward, forward_problem = firewall.forwards() if root else ((), "the packet filter can be read by root only")
    engine_path = str(options.get("docker_api") or "").removeprefix("unix://") or socket_path(environment)
    engine, engine_problem = containers.ask_engine(engine_path)
    seen, containers_problem = containers.containers(engine_path, attached) if engine else ((), "")
    with Netlink() as netlink:
        underlay, mtu = bridge.underlay(netlink)
    driver = (report or {}).get("driver", {})
    ports = (("tcp", port), ("udp", port), ("udp", VXLAN_PORT), ("udp", WIREGUARD_PORT))
    ported, there, bridge_problem = _entries() if root else ((), False, "the bridge's ports can be read by root only")
    features, kernel_problem = trial.collect()
    plugin = environment.get("WEAVE_PLUGIN_SOCK") or DEFAULT_PLUGIN
    return HostFacts(
        kernel=features,
        kernel_problem=kernel_problem,
        settings=_settings((*_SETTINGS, f"net.ipv4.conf.{underlay}.rp_filter")),
        underlay=underlay,
        underlay_mtu=mtu,
        routes=tuple((str(network), device) for network, device in host_routes()),
        forward=forward,
        forward_problem=forward_problem,
        blocks=firewall.blocks(ports) if root else (),
        entries=ported,
        bridge=there,
        bridge_problem=bridge_problem,
        engine=engine,
        engine_problem=engine_problem,
        containers=seen,
        containers_problem=containers_problem,
        dns=_dns(str(driver.get("dns_address") or ""), str((report or {}).get("dns", {}).get("domain") or "local.")),
        router=_program(places.pid),
        proxy=_proxy(places),
        plugin=((plugin, _answers(plugin)),) if options.get("plugin") else (),
        state=_state(places.db) if root else None,
        wall=time.time_ns(),
    )


def _settings(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(OSError):
            found[name] = Path("/proc/sys", *_words(name)).read_text(encoding="utf-8").strip()
    return found


def _words(name: str) -> list[str]:
    """The parts of a setting's path; an interface's name may contain a dot."""
    head, marker, rest = name.partition(".conf.")
    if not marker:
        return name.split(".")
    device, _, leaf = rest.rpartition(".")
    return [*head.split("."), "conf", device, leaf]


def _entries() -> tuple[tuple[BridgeEntry, ...], bool, str]:
    """For each guarded port of the bridge: where the bridge sends the frames for its MAC."""
    ports = PortFilter()
    try:
        rules = ports.adopt()
        with Netlink() as netlink:
            there = links(netlink)
            if BRIDGE not in there:
                return (), False, ""
            names = {link.index: link.name for link in there.values()}
            found = {
                entry.mac: (names.get(entry.device, "?"), manner(entry))
                for entry in entries(netlink, rtnl.AF_BRIDGE)
                if entry.master == there[BRIDGE].index
            }
    except (OSError, NetlinkError) as error:
        return (), False, f"the bridge cannot be read: {error.strerror or error}"
    finally:
        ports.close()
    told = [
        BridgeEntry(
            port=port, mac=rule.mac, at=found.get(rule.mac, ("", ""))[0], manner=found.get(rule.mac, ("", ""))[1]
        )
        for port, rule in sorted(rules.items())
        if port in there and there[port].master == there[BRIDGE].index
    ]
    return tuple(told), True, ""


def _dns(address: str, domain: str) -> tuple[tuple[str, str], ...]:
    if not address:
        return ()
    # A name that nobody has: an answer with any response code is enough.
    query = _question(f"weave-check.{domain}")
    return ("UDP", _asked(_over_udp, address, query)), ("TCP", _asked(_over_tcp, address, query))


def _question(name: str) -> bytes:
    """A query for the IPv4 address of a name, built by hand because the DNS library takes a second to import."""
    labels = b"".join(bytes((len(label),)) + label for label in name.rstrip(".").encode().split(b".") if label)
    return os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


def _asked(way: Any, address: str, query: bytes) -> str:
    try:
        answer: bytes = way(address, query)
    except OSError as error:
        return "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return "" if answer[:2] == query[:2] else "an answer to another question"


def _over_udp(address: str, query: bytes) -> bytes:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_DNS_TIMEOUT)
        sock.connect((address, 53))
        sock.send(query)
        return sock.recv(4096)


def _over_tcp(address: str, query: bytes) -> bytes:
    with socket.create_connection((address, 53), timeout=_DNS_TIMEOUT) as sock:
        sock.sendall(len(query).to_bytes(2, "big") + query)
        return sock.recv(4096)[2:] or b"\0\0"


def _program(pid_file: Path) -> ProgramFacts:
    try:
        pid = int(pid_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ProgramFacts(state="none")
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ProgramFacts(state="died", pid=pid)
    return ProgramFacts(state="stopped" if state in "Tt" else "died" if state == "Z" else "running", pid=pid)


def _proxy(places: DaemonPaths) -> ProgramFacts:
    try:
        found = running(places)
    except OverlayError:
        return ProgramFacts(state="none")
    process = _program(Path(f"{places.proxy}.pid"))
    if found is None:
        return ProgramFacts(state="died" if process.state == "died" else "none", pid=process.pid)
    return ProgramFacts(
        state="stopped" if process.state == "stopped" else "running", pid=found.pid, version=found.version
    )


def _answers(path: str) -> str:
    """Why nobody answers at a unix socket; empty if somebody does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(_DNS_TIMEOUT)
            sock.connect(path)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _state(directory: Path) -> StateDirectoryFacts:
    try:
        if not directory.exists():
            return StateDirectoryFacts(directory=str(directory))
        space = os.statvfs(directory)
        if space.f_flag & os.ST_RDONLY or not os.access(directory, os.W_OK):
            return StateDirectoryFacts(directory=str(directory), problem="cannot be written")
        free = space.f_bavail * space.f_frsize
        return StateDirectoryFacts(directory=str(directory), free=free, damaged=damaged(directory))
    except OSError as error:
        return StateDirectoryFacts(directory=str(directory), problem=error.strerror or str(error))

"""The three files of /etc that each container has its own copy of, as Docker writes them at each start."""

import ipaddress
from pathlib import Path

from lab.engine.network import Lease
from lab.engine.spec import CreateRequest

__all__ = ["NAMES", "write"]

NAMES = ("hosts", "hostname", "resolv.conf")

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def write(folder: Path, hostname: str, request: CreateRequest, lease: Lease | None, resolv_conf: str) -> None:
    """Write `hosts`, `hostname` and `resolv.conf` into a container's folder."""
    hosts = _HOSTS
    for line in request.host.extra_hosts or ():
        name, _, address = line.partition(":")
        address = lease.gateway if address == "host-gateway" and lease is not None else address
        hosts += f"{address}\t{name}\n"
    if lease is not None:
        full = f"{hostname}.{request.domainname} " if request.domainname else ""
        hosts += f"{lease.address}\t{full}{hostname}\n"
    if request.host.network_mode == "host":
        hosts = _text("/etc/hosts") or hosts
    (folder / "hosts").write_text(hosts, encoding="utf-8")
    (folder / "hostname").write_text(hostname + "\n", encoding="utf-8")
    (folder / "resolv.conf").write_text(resolver(_text(resolv_conf), request), encoding="utf-8")


def resolver(of_host: str, request: CreateRequest) -> str:
    """resolv.conf from the request, completed from the host's without its loopback servers, which are unreachable."""
    host = request.host
    servers, search, options = list(host.dns or ()), list(host.dns_search or ()), list(host.dns_options or ())
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in of_host.splitlines():
        key, *values = line.split() or [""]
        if key == "search":
            found["search"] = values  # the last such line counts
        elif key in found:
            found[key] += values
    own_network = host.network_mode != "host"
    servers = servers or [server for server in found["nameserver"] if not (own_network and _loopback(server))]
    search = search or found["search"]
    options = options or found["options"]
    lines = [f"nameserver {server}" for server in servers]
    if search and search != ["."]:
        lines.append("search " + " ".join(search))
    if options:
        lines.append("options " + " ".join(options))
    return "".join(line + "\n" for line in lines)


def _loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return True


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""

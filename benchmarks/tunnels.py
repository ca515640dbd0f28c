"""The peers that a user would pick in the place of our tunnel: how each is started between two hosts.

Only for benchmarks; nothing of it is kept. Each `start` returns the second host's address in its overlay. A figure
beside a program says little without that program's age, so `release` tells it.
"""

import re
import subprocess
from collections.abc import Awaitable, Callable

from lab.contracts.lab import Host
from lab.contracts.overlay import must
from lab.fabric.features import tool_path

PATH = tool_path()
Hosts = tuple[Host, Host]
Addresses = tuple[str, str]
Start = Callable[[Hosts, Addresses, int], Awaitable[str]]


async def _sh(host: Host, script: str) -> str:
    return await must(host, ["sh", "-ec", script], timeout=60)


async def _wireguard(hosts: Hosts, addresses: Addresses, mtu: int) -> str:
    keys = []
    for host in hosts:
        private = (await _sh(host, "wg genkey")).strip()
        keys.append((private, (await _sh(host, f"echo {private} | wg pubkey")).strip()))
    for number, host in enumerate(hosts):
        other = 1 - number
        await _sh(
            host,
            "mkdir -p /dev/net; [ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200\n"
            "wireguard-go wg0 >/dev/null 2>&1 </dev/null\n"
            f"echo {keys[number][0]} > /tmp/wg.key\n"
            f"wg set wg0 listen-port 51820 private-key /tmp/wg.key peer {keys[other][1]} "
            f"allowed-ips 10.97.0.{other + 1}/32 endpoint {addresses[other]}:51820\n"
            f"ip addr add 10.97.0.{number + 1}/24 dev wg0; ip link set wg0 mtu {mtu} up",
        )
    return "10.97.0.2"


async def _nebula(hosts: Hosts, addresses: Addresses, mtu: int) -> str:
    signed = await _sh(
        hosts[0],
        "cd $(mktemp -d); nebula-cert ca -name bench >/dev/null\n"
        "for n in 1 2; do nebula-cert sign -name h$n -ip 10.98.0.$n/24; done\n"
        'for f in ca.crt h1.crt h1.key h2.crt h2.key; do echo "@ $f"; cat $f; done',
    )
    files = {part.partition("\n")[0]: part.partition("\n")[2] for part in signed.split("@ ")[1:]}
    for number, host in enumerate(hosts, 1):
        other = 3 - number
        config = (
            f"pki: {{ca: /tmp/neb/ca.crt, cert: /tmp/neb/h{number}.crt, key: /tmp/neb/h{number}.key}}\n"
            f'static_host_map: {{"10.98.0.{other}": ["{addresses[other - 1]}:4242"]}}\n'
            "lighthouse: {am_lighthouse: false}\nlisten: {host: 0.0.0.0, port: 4242}\n"
            f"tun: {{dev: nebula1, mtu: {mtu}}}\n"
            "firewall:\n  outbound: [{port: any, proto: any, host: any}]\n"
            "  inbound: [{port: any, proto: any, host: any}]\n"
        )
        script = "mkdir -p /tmp/neb /dev/net; [ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200\n"
        for name, text in (*files.items(), ("config.yml", config)):
            script += f"cat > /tmp/neb/{name} <<'END'\n{text}END\n"
        await _sh(host, script + "nebula -config /tmp/neb/config.yml >/tmp/neb/log 2>&1 </dev/null &")
    return "10.98.0.2"


async def _tinc(hosts: Hosts, addresses: Addresses, mtu: int) -> str:
    described = []
    for number, host in enumerate(hosts, 1):
        await _sh(
            host,
            "mkdir -p /tmp/tinc/hosts /dev/net; [ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200\n"
            f"printf 'Name = h{number}\\nConnectTo = h{3 - number}\\nDeviceType = tun\\n' > /tmp/tinc/tinc.conf\n"
            f"printf 'Address = {addresses[number - 1]}\\nSubnet = 10.96.0.{number}/32\\nPMTU = {mtu}\\n' "
            f"> /tmp/tinc/hosts/h{number}\n"
            f"printf '#!/bin/sh\\nip addr add 10.96.0.{number}/24 dev $INTERFACE\\n' > /tmp/tinc/tinc-up\n"
            f"echo 'ip link set $INTERFACE mtu {mtu} up' >> /tmp/tinc/tinc-up; chmod +x /tmp/tinc/tinc-up\n"
            "tincd -c /tmp/tinc -K2048 </dev/null >/dev/null 2>&1",
        )
        described.append(await _sh(host, f"cat /tmp/tinc/hosts/h{number}"))
    for number, host in enumerate(hosts, 1):
        other = 3 - number
        await _sh(
            host,
            f"cat > /tmp/tinc/hosts/h{other} <<'END'\n{described[other - 1]}END\n"
            "tincd -c /tmp/tinc --pidfile /tmp/tinc/pid </dev/null >/tmp/tinc/log 2>&1",
        )
    return "10.96.0.2"


VERSION_FLAGS = {"wireguard-go": "--version", "nebula": "-version", "tinc": "--version"}
_YEARS = {("nebula", "1.6.1"): 2022}
"""When a version came out whose program does not say it: what Debian 12 packages."""


def release(name: str) -> str:
    """Version and year of an installed peer: "0.0.20220316 (2022)"."""
    command = [PEERS[name][0][0], VERSION_FLAGS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": PATH}, timeout=10)
    return release_of(name, done.stdout + done.stderr)


def release_of(name: str, said: str) -> str:
    """The same from what a peer says of itself: wireguard-go's version is a date, tinc names its last year."""
    version = re.search(r"\bv?(\d{1,9}(?:\.\d{1,9}){1,4})", said)
    if version is None:
        return "version unknown"
    number = version[1]
    dated = re.search(r"\.(20\d\d)\d{4}$", number)
    copyrights = re.findall(r"\b(20\d\d)\b", " ".join(line for line in said.splitlines() if "Copyright" in line))
    year = int(dated[1]) if dated else _YEARS.get((name, number)) or max(map(int, copyrights), default=0)
    return f"{number} ({year or 'year unknown'})"


PEERS: dict[str, tuple[tuple[str, ...], Start]] = {
    "wireguard-go": (("wireguard-go", "wg"), _wireguard),
    "nebula": (("nebula", "nebula-cert"), _nebula),
    "tinc": (("tincd",), _tinc),
}
"""By name, which is its package's: the commands that it takes, and how it is started."""
PACKAGES = {"wireguard-go": "wireguard-go wireguard-tools"}
NAMES = tuple(PEERS)

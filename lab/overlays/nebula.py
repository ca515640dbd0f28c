"""`overlay.kind: nebula`: Slack's nebula (Debian's 1.6.1), with a part of the containers' range behind each host.

As its guide sets up a network without NAT: each host knows the address of every other one (`static_host_map`) and
needs no lighthouse; defaults of the release for ciphers, timers, buffers and the MTU of 1300; a firewall that lets all
through. Containers are behind `unsafe_routes`, which their hosts' certificates allow. nebula refuses such a route
inside of its own network, so hosts have addresses of 100.64.0.0/16. Each host has a CA of its own that signs its
certificate, and trusts the CAs of its peers: one CA for all would be one more host that the lab has to keep alive.

1.6.1 reads its routes only when it starts: when the set of peers changes the driver starts it again, as a user must.
Tuned: `mtu: 1440` (fills packets of 1500 bytes), `alive: 1` and `deletion: 2` (seconds until a silent tunnel is
tested, and until one that does not answer is given up; 5 and 10 are the defaults).
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lab.contracts.driver import DriverHello, DriverPeer, DriverPlace
from lab.contracts.lab import Host
from lab.driven.kind import driven
from lab.driven.kit import HOSTS, RouteDriver, around, own_address

DEVICE = "nebula1"
PORT = 4242
_ALL = [{"port": "any", "proto": "any", "host": "any"}]


def config(folder: str, peers: Sequence[DriverPeer], addresses: Mapping[str, str], options: Mapping[str, int]) -> str:
    """nebula's file, in JSON, which is YAML; `addresses`: of hosts in nebula's own network."""
    said: dict[str, Any] = {
        "pki": {"ca": f"{folder}/bundle.crt", "cert": f"{folder}/host.crt", "key": f"{folder}/host.key"},
        "static_host_map": {addresses[peer.name]: [f"{around(peer.address)}:{PORT}"] for peer in peers},
        "lighthouse": {"am_lighthouse": False},
        "listen": {"host": "[::]" if any(":" in peer.address for peer in peers) else "0.0.0.0", "port": PORT},
        "tun": {
            "dev": DEVICE,
            "mtu": options["mtu"],
            "unsafe_routes": [{"route": peer.prefix, "via": addresses[peer.name]} for peer in peers],
        },
        "firewall": {"outbound": _ALL, "inbound": _ALL},
    }
    names = {"alive": "connection_alive_interval", "deletion": "pending_deletion_interval"}
    if timers := {names[key]: options[key] for key in names if key in options}:
        said["timers"] = timers
    return json.dumps(said, indent=1) + "\n"


class NebulaDriver(RouteDriver):
    """nebula on one host."""

    processes: ClassVar[Sequence[str]] = ("nebula",)
    mtu: ClassVar[int] = 1300

    def __init__(self, host: Host, place: DriverPlace) -> None:
        super().__init__(host, place)
        self._written = ""
        """The settings with which it runs, certificates included."""

    async def hello(self) -> DriverHello:
        """Makes a CA and a certificate at the first time."""
        version = await self.sh("nebula -version")
        address = own_address(self.place, self.place.host, HOSTS)
        card = await self.sh(
            f"mkdir -p {shlex.quote(self.place.directory)}; cd {shlex.quote(self.place.directory)}\n"
            f"umask 077; [ -s host.crt ] || {{ nebula-cert ca -name {self.place.host}\n"
            f"nebula-cert sign -name {self.place.host} -ip {address}/{HOSTS.prefixlen} -subnets {self.place.prefix} "
            "-out-crt host.crt -out-key host.key; }\ncat ca.crt"
        )
        return DriverHello(name="nebula", version=version.partition(":")[2].strip(), addresses="prefix", card=card)

    async def launch(self) -> None:
        """With the peers that it had before."""
        await self.make_tun()
        await self.open_forwarding()
        await self._write()
        await self._run()

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Starts it again if these are not the peers that it knows."""
        self.peers = peers
        before = self._written
        if await self._write() != before and (await self.status()).running:
            await self.stop()
            await self._run()

    async def _run(self) -> None:
        await self.start(f"nebula -config {shlex.quote(self._config)}", device=DEVICE)

    async def _write(self) -> str:
        """The configuration and the CAs that it trusts; returns both."""
        options = {"mtu": self.payload, **{key: self.number(key, 0) for key in _TIMES if key in self.place.options}}
        addresses = {peer.name: own_address(self.place, peer.name, HOSTS) for peer in self.peers}
        text = config(self.place.directory, self.peers, addresses, options)
        others = "".join(peer.card for peer in self.peers)
        await self.put(self._config, text)
        await self.put(f"{self.place.directory}/others.crt", others)
        await self.sh(f"cd {shlex.quote(self.place.directory)}; cat ca.crt others.crt > bundle.crt")
        self._written = text + others
        return self._written

    @property
    def _config(self) -> str:
        return f"{self.place.directory}/config.yml"


_TIMES = {"alive": (1, 3600), "deletion": (1, 3600)}
KIND = driven(
    name="nebula",
    about="nebula: a static full mesh, encrypted, a prefix for each host behind its certificate",
    make=NebulaDriver,
    programs={"nebula": "nebula", "nebula-cert": "nebula"},
    numbers={"mtu": (576, 9000), **_TIMES},
    variants={"tuned": {"mtu": 1440, "alive": 1, "deletion": 2}},
    only_ipv4=True,
)

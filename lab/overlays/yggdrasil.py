"""`overlay.kind: yggdrasil`: Yggdrasil 0.4, a mesh that routes IPv6 by keys, encrypted from end to end.

Containers have addresses of their host's /64, which follows from its key (`own`), and a route to 200::/7. Settings of
`yggdrasil -genconf` with TLS between peers, but no search for peers by multicast: `connect` says who they are. Tuned:
`options: {transport: tcp, mtu: 65535}`, because packets are encrypted already, and the overlay's device takes larger
ones than containers usually send.

Yggdrasil 0.4 dials a peer that it has lost once a minute, and no setting changes that. So after a partition or a power
cut containers can be apart for a minute more.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Interface, IPv6Network
from typing import Any, ClassVar

from msgspec.structs import replace

from lab.contracts.driver import DriverHello, DriverPeer, DriverPlace, DriverPlug, DriverStatus
from lab.contracts.lab import Host
from lab.contracts.overlay import must
from lab.driven.kind import driven
from lab.driven.kit import RouteDriver, around
from lab.errors import LabError

__all__ = ["KIND", "address_in", "config_text", "peers_among"]

DEVICE = "ygg0"
PORT = 9001
RANGE = "200::/7"
"""Of all of Yggdrasil: 200::/8 for hosts, 300::/8 for the prefixes behind them."""
_MTU = 65535
"""Of Yggdrasil's device, as `-genconf` has it."""
_SOCKET = "/run/yggdrasil.sock"


def config_text(keys: Mapping[str, str], peers: Sequence[str]) -> str:
    """The daemon's configuration; `peers`: what to dial, all in the same way as this host listens."""
    scheme = keys["Scheme"]
    config = {
        "Peers": list(peers),
        "Listen": [f"{scheme}://[::]:{PORT}"],
        "AdminListen": f"unix://{_SOCKET}",
        "MulticastInterfaces": [],
        "PublicKey": keys["PublicKey"],
        "PrivateKey": keys["PrivateKey"],
        "IfName": DEVICE,
        "IfMTU": _MTU,
    }
    return json.dumps(config, indent=2) + "\n"


def address_in(prefix: IPv6Network, taken: int, before: str) -> str:
    """A container's address: the one that it had, if it is of this prefix, else the next; the first is the host's."""
    if before and IPv6Interface(before).ip in prefix:
        return before
    return f"{prefix[taken + 2]}/{prefix.prefixlen}"


def peers_among(answer: Any, names: Mapping[str, str]) -> tuple[str, ...]:
    """Names of hosts to which `getPeers` has a connection; `names`: public key -> host."""
    rows = answer.get("peers", []) if isinstance(answer, dict) else []
    keys = [row.get("key", "") for row in rows if isinstance(row, dict)]
    return tuple(dict.fromkeys(names[key] for key in keys if key in names))


class YggdrasilDriver(RouteDriver):
    """yggdrasil on one host."""

    processes: ClassVar[Sequence[str]] = ("yggdrasil",)

    def __init__(self, host: Host, place: DriverPlace) -> None:
        super().__init__(host, place)
        self._scheme = str(place.options.get("transport", "tls"))
        self._keys: dict[str, str] = {}
        self._prefix = IPv6Network("300::/64")
        self._given = 0

    async def hello(self) -> DriverHello:
        """Makes the host's key at the first time."""
        keys = f"{self.place.directory}/keys.json"
        text = await self.sh(
            f"mkdir -p {self.place.directory}\n"
            f"[ -s {keys} ] || (umask 077; yggdrasil -genconf -json > {keys})\ncat {keys}\n"
        )
        made = json.loads(text)
        self._keys = {"Scheme": self._scheme, **{key: made[key] for key in ("PublicKey", "PrivateKey")}}
        # Debian's build does not know its own version.
        version = await self.host.exec(["dpkg-query", "-W", "-f", "${source:Upstream-Version}", "yggdrasil"])
        return DriverHello(
            name="yggdrasil",
            version=f"yggdrasil {version.out.strip() or 'of an unknown version'}",
            addresses="own",
            carries="packets",
            discovers=True,
            card=self._keys["PublicKey"],
        )

    async def launch(self) -> None:
        """The daemon, and the prefix that is behind this host."""
        await self._write()
        prefix = await self.sh(f"yggdrasil -useconffile {self._config} -subnet")
        self._prefix = IPv6Network(prefix.strip())
        await self.make_tun()
        await self.open_forwarding(DEVICE)
        await self.start(f"yggdrasil -useconffile {self._config}", device=DEVICE)
        await self.sh(
            f"for i in $(seq 200); do ip -6 route show dev {DEVICE} | grep -q {RANGE} && [ -S {_SOCKET} ] && break\n"
            "  sleep 0.05\ndone\n"
            # Packets for containers that are not there must not go back to where they came from.
            f"ip -6 route replace unreachable {self._prefix}"
        )

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Write whom to dial, and tell the running daemon what is new."""
        before, self.peers = self._dialled, peers
        after = self._dialled
        await self._write()
        if not (await super().status()).running:
            return
        for word, uris in (
            ("removePeer", [uri for uri in before if uri not in after]),
            ("addPeer", [uri for uri in after if uri not in before]),
        ):
            for uri in uris:
                await self._ask(word, f"uri={uri}")

    async def attach(self, what: DriverPlug) -> str:
        """As for all overlays of packets, with an address of the host's /64."""
        address = address_in(self._prefix, self._given, what.address)
        self._given += address != what.address
        return await super().attach(replace(what, address=address))

    async def status(self) -> DriverStatus:
        """Whether it runs, and the hosts to which it has a connection."""
        found = await super().status()
        if not found.running:
            return found
        names = {peer.card: peer.name for peer in self.peers}
        with contextlib.suppress(LabError, ValueError):
            return DriverStatus(running=True, peers=peers_among(json.loads(await self._ask("getPeers")), names))
        return found

    def via(self) -> str:
        """All of Yggdrasil."""
        return RANGE

    async def _write(self) -> None:
        await self.put(self._config, config_text(self._keys, self._dialled))

    async def _ask(self, *words: str) -> str:
        return await must(self.host, ["yggdrasilctl", "-json", f"-endpoint=unix://{_SOCKET}", *words], timeout=20.0)

    @property
    def _dialled(self) -> list[str]:
        return [f"{self._scheme}://{around(peer.address)}:{PORT}" for peer in self.peers]

    @property
    def _config(self) -> str:
        return f"{self.place.directory}/yggdrasil.conf"


KIND = driven(
    name="yggdrasil",
    about="Yggdrasil 0.4: a mesh of IPv6 whose addresses follow from keys, encrypted from end to end",
    make=YggdrasilDriver,
    programs={"yggdrasil": "yggdrasil"},
    choices={"transport": ("tls", "tcp")},
    numbers={"mtu": (1280, _MTU)},
    default_range=None,
    variants={"tuned": {"transport": "tcp", "mtu": _MTU}},
)

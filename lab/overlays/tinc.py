"""`overlay.kind: tinc`: tinc 1.0 in switch mode, a mesh in userspace that carries Ethernet frames.

The manual's defaults, except for the mode: keys of 2048 bits, direct connections where possible, ciphers of the
release. A peer dials those that it is told about and discovers the rest. Tuned: `options: {ping: 5, retry: 5}`, so that
a silent connection is tested after 5 s instead of 60 s, and a lost one is dialled again at least each 5 s (the default
backs off up to 900 s).
"""

from collections.abc import Sequence
from typing import ClassVar

from lab.contracts.driver import DriverHello, DriverPeer
from lab.driven.kind import driven
from lab.driven.kit import BridgeDriver

_NET = "lab"
_TIMES = {"ping": "PingInterval", "retry": "MaxTimeout"}
"""Options, in seconds, and their names in tinc's configuration."""


class TincDriver(BridgeDriver):
    """tincd on one host, with a TAP device on the bridge."""

    processes: ClassVar[Sequence[str]] = ("tincd",)
    mtu: ClassVar[int] = 1400
    """tinc discovers the path MTU; this leaves room for its header and Ethernet's."""

    async def hello(self) -> DriverHello:
        """Creates the host's keys on the first call."""
        config = self._config
        version = await self.sh("tincd --version | head -n 1 | cut -d' ' -f1-3")
        await self.sh(
            f"mkdir -p {config}/hosts\n"
            f"[ -s {config}/rsa_key.priv ] && exit 0\n"
            f"printf 'Address = %s\\n' {self.place.address} > {config}/hosts/{self._name(self.place.host)}\n"
            f"cat > {config}/tinc.conf <<END\n{self._conf()}END\n"
            f"tincd -c {config} -K2048 </dev/null >/dev/null 2>&1"
        )
        card = await self.sh(f"cat {config}/hosts/{self._name(self.place.host)}")
        return DriverHello(
            name="tinc",
            version=version.strip(),
            addresses="chosen",
            carries="frames",
            moves=True,
            discovers=True,
            card=card,
        )

    async def launch(self) -> None:
        """Start tincd, whose `tinc-up` attaches its device to the bridge."""
        await self.make_bridge()
        up = f"#!/bin/sh\nip link set $INTERFACE mtu {self.payload} master {self.bridge} up\n"
        await self.put(f"{self._config}/tinc-up", up, mode=0o700)
        await self.sh(
            f"tincd -c {self._config} --pidfile={self.place.directory}/pid --logfile={self.place.directory}/log\n"
            "for i in $(seq 100); do ip link show tinc0 >/dev/null 2>&1 && exit 0; sleep 0.05; done; exit 1"
        )

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """Write the peers' keys and addresses, and which to dial; a running tincd reloads them."""
        names = [self._name(peer.name) for peer in peers]
        for name, peer in zip(names, peers, strict=True):
            await self.put(f"{self._config}/hosts/{name}", peer.card)
        await self.put(f"{self._config}/tinc.conf", self._conf() + "".join(f"ConnectTo = {name}\n" for name in names))
        await self.sh(f"tincd -c {self._config} --pidfile={self.place.directory}/pid -kHUP")

    def _conf(self) -> str:
        given = [f"{word} = {self.number(key, 0)}\n" for key, word in _TIMES.items() if key in self.place.options]
        return "".join([f"Name = {self._name(self.place.host)}\nMode = switch\nInterface = tinc0\n", *given])

    @property
    def _config(self) -> str:
        return f"{self.place.directory}/{_NET}"

    @staticmethod
    def _name(host: str) -> str:
        """tinc's names may contain only letters, digits and _."""
        return "".join(char if char.isalnum() else "_" for char in host)


KIND = driven(
    name="tinc",
    about="tinc 1.0 in switch mode: a userspace mesh of Ethernet frames, encrypted",
    make=TincDriver,
    programs={"tincd": "tinc"},
    numbers={"mtu": (576, 9000), "ping": (1, 3600), "retry": (1, 900)},
    variants={"tuned": {"ping": 5, "retry": 5}},
)

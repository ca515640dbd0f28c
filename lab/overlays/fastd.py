"""`overlay.kind: fastd`: fastd (Debian's 22) in mode TAP, a userspace mesh of Ethernet frames.

As its manual sets up a mesh of known peers: a key and an address for each, all with all. The method is the one that its
manual recommends, `salsa2012+umac`. The MTU of 1434 (1414 over IPv6) is what the manual's table leaves of 1500 bytes.
A peer that had a handshake less than 15 s ago ignores another one ("received repeated handshakes", in its log at level
debug). So peers whose first handshakes cross, and a peer that is started again soon, wait for the next attempt, which
takes some 16 to 20 s: trials pass, slowly. That is fastd's own; nothing that can be configured changes it.
Tuned: `options: {encryption: false}` takes the method `null`, which neither encrypts nor authenticates packets after
the handshake.
"""

import shlex
from collections.abc import Sequence
from typing import ClassVar

from lab.contracts.driver import DriverHello, DriverPeer
from lab.driven.kind import driven
from lab.driven.kit import BridgeDriver, around

DEVICE = "fastd0"
PORT = 10000


def config(folder: str, secret: str, method: str, mtu: int, bridge: str) -> str:
    """fastd's file, without peers."""
    return (
        f'mode tap;\ninterface "{DEVICE}";\nmethod "{method}";\nmtu {mtu};\nbind any:{PORT};\nsecret "{secret}";\n'
        f'include peers from "{folder}/peers";\non up "ip link set $INTERFACE master {bridge} up";\n'
    )


def peer_file(peer: DriverPeer) -> str:
    """One peer; the file's name is its name."""
    return f'key "{peer.card}";\nremote {around(peer.address)}:{PORT};\n'


class FastdDriver(BridgeDriver):
    """fastd on one host, with a TAP device on the bridge."""

    processes: ClassVar[Sequence[str]] = ("fastd",)

    async def hello(self) -> DriverHello:
        """Makes the host's key at the first time."""
        version = await self.sh("fastd --version")
        card = await self.sh(
            f"mkdir -p {self._folder}/peers; cd {self._folder}; umask 077\n"
            "[ -s secret ] || fastd --generate-key --machine-readable > secret 2>/dev/null\n"
            """printf 'secret "%s";' "$(cat secret)" > key.conf\n"""
            "fastd -c key.conf --show-key --machine-readable 2>/dev/null"
        )
        return DriverHello(
            name="fastd",
            version=version.removeprefix("fastd").strip().removeprefix("v"),
            addresses="chosen",
            carries="frames",
            moves=True,
            card=card.strip(),
        )

    async def launch(self) -> None:
        """With the peers that it had before."""
        await self.make_tun()
        await self.make_bridge()
        method = "salsa2012+umac" if self.place.options.get("encryption", True) else "null"
        secret = (await self.sh(f"cat {self._folder}/secret")).strip()
        path = f"{self.place.directory}/fastd.conf"
        await self.put(path, config(self.place.directory, secret, method, self.payload, self.bridge))
        await self.start(f"fastd -c {shlex.quote(path)}", device=DEVICE)

    async def connect(self, peers: Sequence[DriverPeer]) -> None:
        """A file for each; if they changed fastd reads the folder again and keeps sessions with those that stay."""
        lines = [f"cd {self._folder}; rm -rf told; mkdir told"]
        lines += [f"printf %s {shlex.quote(peer_file(peer))} > told/{shlex.quote(peer.name)}" for peer in peers]
        changed = (
            "diff -r told peers >/dev/null || { rm -f peers/*; cp told/* peers/ 2>/dev/null || true; echo changed; }"
        )
        if await self.sh("\n".join([*lines, changed])):
            await self.signal("fastd", "HUP")

    @property
    def payload(self) -> int:
        """Less where the underlay is IPv6."""
        return self.number("mtu", 1414 if ":" in self.place.address else 1434)

    @property
    def _folder(self) -> str:
        return shlex.quote(self.place.directory)


KIND = driven(
    name="fastd",
    about="fastd in mode TAP: a static full mesh of Ethernet frames in userspace, encrypted",
    make=FastdDriver,
    programs={"fastd": "fastd"},
    numbers={"mtu": (576, 9000)},
    choices={"encryption": (True, False)},
    variants={"plain": {"encryption": False}},
)

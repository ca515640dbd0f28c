"""Interfaces that commands create on a simulated host: the bridge, VXLAN device and veth pairs of a static overlay.

Owns the effect of `ip link`, `ip addr` and `bridge fdb` on the host's simulated kernel, for exactly the forms that
`lab.overlays.vxlan` uses; anything else is refused. A VXLAN device floods to its static list, the bridge has ports.
"""

from collections.abc import Sequence

from lab.backends.simulated.engine import SimContainer
from lab.contracts.lab import CommandResult
from lab.sim.kernel import BridgePort, Kernel
from overlay.effects import SetFlood

__all__ = ["SimDevices"]

_DONE = CommandResult(0, "", "")


class SimDevices:
    """Devices of one host."""

    def __init__(self, address: str, kernel: Kernel) -> None:
        self.mtu = 1500
        self.names: dict[str, str] = {}
        """Name -> kind."""
        self._address = address
        self._kernel = kernel
        self._inner: dict[int, str] = {}
        """Pid of a container -> the host's end of its veth pair."""

    def clear(self) -> None:
        """The host was switched off."""
        self.names.clear()
        self._inner.clear()

    def configure(self, argv: Sequence[str]) -> CommandResult:
        """`ip` or `bridge` on the host."""
        match list(argv):
            case ["ip", "link", "add", name, "mtu", mtu, "type", "bridge"]:
                return self._add(name, "bridge", mtu)
            case ["ip", "link", "add", name, "mtu", mtu, "type", "vxlan", *words]:
                if "dstport" in words[:-1]:
                    self._kernel.vxlan_port = int(words[words.index("dstport") + 1])
                return self._add(name, "vxlan", mtu)
            case ["ip", "link", "add", name, "mtu", mtu, "type", "veth", "peer", "name", _, "mtu", _, "netns", pid]:
                self._inner[int(pid)] = name
                return self._add(name, "veth", mtu)
            case ["ip", "link", "set", name, ("master" | "up"), *_]:
                return _DONE if name in self.names else _missing(name)
            case ["ip", "link", "show", name]:
                return CommandResult(0, f"{name}: <UP> mtu {self.mtu}\n", "") if name in self.names else _missing(name)
            case ["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", name, "dst", remote]:
                if self.names.get(name) != "vxlan":
                    return _missing(name)
                self._kernel.set_flood(SetFlood((*self._kernel.flood, remote)))
                return _DONE
        return CommandResult(2, "", f"the simulated {argv[0]} has no `{' '.join(argv[1:])}`\n")

    def configure_inside(self, container: SimContainer, argv: Sequence[str]) -> CommandResult:
        """`ip` in a container."""
        match list(argv):
            case ["ip", "addr", "add", address, "dev", "ethwe"]:
                if container.pid not in self._inner:
                    return _missing("ethwe")
                literal = address.partition("/")[0]
                mac = "02:" + bytes.fromhex(container.id[:10]).hex(":")
                self._kernel.plug(BridgePort(container.id, mac, (literal,), (address,)))
                return _DONE
            case ["ip", "link", "set", ("ethwe" | "lo"), "up"]:
                return _DONE
        return CommandResult(2, "", f"the simulated {argv[0]} has no `{' '.join(argv[1:])}`\n")

    def _add(self, name: str, kind: str, mtu: str) -> CommandResult:
        if name in self.names:
            return CommandResult(2, "", "RTNETLINK answers: File exists\n")
        self.names[name] = kind
        self.mtu = self._kernel.mtu = int(mtu)
        return _DONE


def _missing(name: str) -> CommandResult:
    return CommandResult(1, "", f'Cannot find device "{name}"\n')

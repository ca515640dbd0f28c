"""Checks the kernel features that the router needs, by the router's own steps in a scratch network namespace.

The namespace belongs to a child process and ends with it, so nothing is left. The kernel may load modules, as it would
for `weave launch`.
"""

import ctypes
import os
import traceback
from collections.abc import Callable, Iterator

import msgspec

from overlay.check.facts import KernelFeature
from overlay.config import Config
from overlay.datapath.vxlan import vxlan_plan
from overlay.errors import EnvironmentProblem
from overlay.kernel import bridge
from overlay.kernel.netlink import Netlink
from overlay.kernel.port_filter import PortFilter
from overlay.kernel.vxlan_filter import VxlanFilter

__all__ = ["Trial"]

_CLONE_NEWNET = 0x40000000
_UNDERLAY = 1500
_NAME = "02:00:00:00:00:01"


class Trial:
    """Starts at once; `collect` waits for its end."""

    def __init__(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._child = os.fork()
        if self._child == 0:
            os.close(reading)
            try:
                os.write(writing, msgspec.json.encode(_child()))
            except BaseException:
                os.write(writing, msgspec.json.encode(((), traceback.format_exc().strip().splitlines()[-1])))
            finally:
                os._exit(0)
        os.close(writing)
        self._pipe = reading

    def collect(self) -> tuple[tuple[KernelFeature, ...], str]:
        """The features, and why they were not tried (there are none then)."""
        with os.fdopen(self._pipe, "rb") as pipe:
            said = pipe.read()
        os.waitpid(self._child, 0)
        try:
            return msgspec.json.decode(said, type=tuple[tuple[KernelFeature, ...], str])
        except msgspec.MsgspecError:
            return (), "the kernel was not tried: the process that tries it died"


def _child() -> tuple[tuple[KernelFeature, ...], str]:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)  # keep the drivers' log off the terminal
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(ctypes.c_int(_CLONE_NEWNET)) < 0:
        return (), f"the kernel cannot be tried without root ({os.strerror(ctypes.get_errno())})"
    return tuple(_tried()), ""


def _tried() -> Iterator[KernelFeature]:
    from overlay.kernel.wireguard import open_wireguard  # only in the child, because the import is slow

    config = Config(name=_NAME, nickname="check")
    plan = vxlan_plan(config, _UNDERLAY)
    with Netlink() as netlink:
        made: list[bridge.BridgeDevices] = []
        yield KernelFeature(
            "bridge, VXLAN and veth devices", _problem(lambda: made.append(bridge.ensure(netlink, plan)))
        )
        guard = VxlanFilter(plan.port)
        yield KernelFeature("nftables", _problem(lambda: guard.install(())), needed=False)
        ports = PortFilter()
        ports.install({})
        yield KernelFeature("nftables for bridges", ports.problem, needed=False)
        if made:
            secure = made[0]
            problem = _problem(lambda: open_wireguard("auto", netlink, secure, config.name))
            yield KernelFeature("WireGuard", problem, needed=False)


def _problem(step: Callable[[], object]) -> str:
    try:
        step()
    except (OSError, EnvironmentProblem) as error:
        return str(error)
    return ""

"""The host of the real `weave` command: its standard streams, its kernel, its daemon.

Owns the choice of the driver for each operation of a command. Imports each driver when it is needed, so that
`weave status` answers at once. Operations block, because a command has nothing else to do (`main.finish`).
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from overlay.cli.environment import CommandEnvironment
from overlay.cli.socket_client import SocketClient, socket_path

if TYPE_CHECKING:
    from overlay.check.facts import HostFacts
    from overlay.options import LaunchOptions
    from overlay.ranges import Network

__all__ = ["ThisHost"]


class ThisHost(CommandEnvironment):
    """See `CommandEnvironment`."""

    def __init__(self) -> None:
        super().__init__(os.environ, SocketClient(socket_path(os.environ)))

    def write(self, text: str, *, complaint: bool = False) -> None:
        stream = sys.stderr if complaint else sys.stdout
        stream.write(text)
        stream.flush()

    async def start_router(self, words: Sequence[str], options: "LaunchOptions") -> None:
        from overlay.cli.container import refuse_beside, start_router
        from overlay.options import DaemonPaths

        if options.in_container:
            start_router(words, options, self.environment)
            return
        from overlay.daemon.daemon import spawn_daemon

        refuse_beside("router", self.environment)
        spawn_daemon(options, DaemonPaths.of(self.environment), self.environment)

    async def clean_up(self) -> None:
        from overlay.cli.launch import clean_up

        clean_up(self.environment)

    def routes(self) -> "Sequence[tuple[Network, str]]":
        from overlay.kernel.routes import host_routes

        return host_routes()

    def look(
        self,
        report: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        attached: Sequence[Mapping[str, Any]],
    ) -> "HostFacts | None":
        from overlay.cli.facts import look

        return look(self.environment, report, options, attached)

    def bridge_address(self, name: str) -> str:
        from overlay.kernel.bridge import interface_address
        from overlay.kernel.netlink import Netlink

        with Netlink() as netlink:
            return interface_address(netlink, name)

    def has_units(self) -> bool:
        from overlay.cli.systemd import installed

        return installed()

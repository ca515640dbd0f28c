"""Follows changes of this host's links and addresses in the kernel, and lists the host's addresses.

Owns netlink sockets that receive changes, and the delay that combines changes into one. Decides nothing.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from overlay.kernel.netlink import Netlink

__all__ = ["ADDRESSES", "LINKS", "HostAddresses", "NetlinkNews"]

log = logging.getLogger(__name__)

LINKS = 0x1
"""RTMGRP_LINK."""
ADDRESSES = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""
_PAUSE = 0.05
"""Seconds that a change is delayed, because starting a container causes a dozen, and a new address comes with the
removal of the old one."""

_AGAIN = 1.0
"""Seconds until a failed read is retried."""


class NetlinkNews:
    """Calls `changed` shortly after something in these groups has changed, from `open` to `close`."""

    def __init__(self, groups: int, changed: Callable[[], None]) -> None:
        self._groups = groups
        self._changed = changed
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def opened(self) -> bool:
        """Whether it is open."""
        return self._socket is not None

    def open(self) -> None:
        """Follow the kernel from now on; the first call of `changed` comes soon. Raises `OSError`."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, self._groups))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._heard)
        self._soon()

    def close(self) -> None:
        """Stop following."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()

    def _heard(self) -> None:
        assert self._socket is not None
        # A queue overflow (ENOBUFS) means changes too.
        with suppress(OSError):
            while self._socket.recv(1 << 16):
                pass
        self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._look)

    def _look(self) -> None:
        self._timer = None
        try:
            self._changed()
        except OSError as error:  # from netlink, for example if the tables change too fast to be read
            log.debug("netlink: %s", error)
            self._timer = asyncio.get_running_loop().call_later(_AGAIN, self._look)


class HostAddresses:
    """Passes the host's addresses, sorted, to `sink` whenever they have changed."""

    def __init__(self, netlink: Netlink, sink: Callable[[tuple[str, ...]], None]) -> None:
        self._netlink = netlink
        self._sink = sink
        self._told: tuple[str, ...] = ()
        self._news = NetlinkNews(ADDRESSES, self._look)

    def start(self) -> None:
        """Start following; without netlink, a peer notices changes only by timeouts."""
        try:
            self._news.open()
        except OSError as error:
            log.warning("changes of this host's addresses are not followed: %s", error.strerror or error)

    def close(self) -> None:
        """Stop following."""
        self._news.close()

    def _look(self) -> None:
        found = tuple(sorted(self._netlink.addresses()))
        if found != self._told:
            self._told = found
            self._sink(found)

"""The interfaces from which DNS clients are accepted: loopback, the bridges of overlay and engine, and the interface of
an explicit listen address. Follows changes of the kernel's links and the engine's networks.

Knows no DNS.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from ipaddress import ip_address

from overlay.docker.engine import EngineClient
from overlay.errors import OverlayError
from overlay.kernel.host_addresses import ADDRESSES, LINKS, NetlinkNews
from overlay.kernel.netlink import LinkFacts, Netlink

__all__ = ["DnsInterfaces", "chosen"]

log = logging.getLogger(__name__)

_LOOPBACK = "lo"


def chosen(links: Iterable[LinkFacts], named: Collection[str], holder: int) -> tuple[int, ...]:
    """The indexes of loopback, of `named` interfaces, of bridges with names that the engine generates, and `holder` (0:
    none)."""
    found = {
        link.index
        for link in links
        if link.name == _LOOPBACK or link.name in named or (link.kind == "bridge" and _engine_made(link.name))
    }
    return tuple(sorted(found | ({holder} if holder else set())))


def _engine_made(name: str) -> bool:
    """By default the engine names the bridge of a network `br-` and twelve digits of the network's id."""
    digits = name.removeprefix("br-")
    return len(name) == 15 and len(digits) == 12 and all(digit in "0123456789abcdef" for digit in digits)


class DnsInterfaces:
    """`named`: bridges that are known by name. `given`: the listen address, if the user gave one."""

    def __init__(self, netlink: Netlink, named: Collection[str], given: str, engine: EngineClient) -> None:
        self._netlink = netlink
        self._named = frozenset(named)
        self._given = given
        self._everywhere = bool(given) and ip_address(given.partition("%")[0]).is_unspecified
        self._engine = engine
        self._engines: frozenset[str] = frozenset()
        self._changed: Callable[[], None] = lambda: None
        self._news = NetlinkNews(LINKS | ADDRESSES, self._look)
        self._asking: asyncio.Task[None] | None = None

    def indexes(self) -> tuple[int, ...] | None:
        """The current interfaces; None: all (the user gave an unspecified address)."""
        if self._everywhere:
            return None
        holder = self._netlink.holder(self._given) if self._given else 0
        return chosen(self._netlink.links(), self._named | self._engines, holder)

    def follow(self, changed: Callable[[], None]) -> None:
        """Call `changed` after each change, until `close`."""
        self._changed = changed
        self._news.open()

    def close(self) -> None:
        """Stop following changes."""
        self._news.close()
        if self._asking is not None:
            self._asking.cancel()

    def ask_engine(self) -> None:
        """Ask the engine for the bridges of its networks, because users may choose their names."""
        if self._news.opened and (self._asking is None or self._asking.done()):
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    def _look(self) -> None:
        self.ask_engine()
        self._changed()

    async def _ask(self) -> None:
        try:
            found = frozenset(await self._engine.bridges())
        except OverlayError as error:
            log.debug("the engine's networks: %s", error)
            return
        if found != self._engines:
            self._engines = found
            with suppress(OSError):
                self._changed()

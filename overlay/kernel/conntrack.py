"""The kernel's connections that crossed the overlay's bridge: lists them, and deletes those that the policy denies.

Owns the messages of connection tracking (`ctnetlink`). A connection is the overlay's if it has the mark that the rules
of `policy_rules.state_rules` set, or an address of the overlay on this host. Decides nothing.
"""

import logging
import socket
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from overlay.compiled_policy import Address
from overlay.kernel.netlink import attributes as parsed
from overlay.kernel.nfnetlink import Netfilter, attribute, nest
from overlay.kernel.policy_keys import FlowKey
from overlay.kernel.policy_rules import MARK

__all__ = ["ConnectionTracking", "sees_bridges"]

log = logging.getLogger(__name__)

_SUBSYSTEM = 1
"""NFNL_SUBSYS_CTNETLINK."""
_GET, _DELETE = 1, 2
_ORIGINAL, _REPLY, _MARK, _ID, _ZONE = 1, 2, 8, 12, 18
_SWITCHES = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def sees_bridges() -> bool:
    """Whether connection tracking in this network namespace sees bridged packets (br_netfilter is loaded and switched
    on)."""
    try:
        return all(Path("/proc/sys/net/bridge", name).read_text(encoding="ascii").strip() == "1" for name in _SWITCHES)
    except OSError:
        return False


class ConnectionTracking:
    """Access to connection tracking. `close` closes the socket. Raises `OSError` if connection tracking is not
    available."""

    def __init__(self) -> None:
        self._netfilter = Netfilter(_SUBSYSTEM)
        try:
            self._dump()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._netfilter.close()

    def flows(self, own: Container[Address]) -> list[FlowKey]:
        """The open flows of the overlay: those with an end in `own`, and those with a packet that crossed the
        bridge."""
        return [flows[0] for _, _, flows in self._open(own)]

    def cut(self, denied: Callable[[FlowKey], bool], own: Container[Address]) -> int:
        """Delete the overlay's denied connections from the kernel. Returns their number. Raises `OSError`."""
        cut = 0
        for family, fields, flows in self._open(own):
            if all(map(denied, flows)):
                wanted = nest(_ORIGINAL, fields[_ORIGINAL])
                for kind in (_ID, _ZONE):
                    wanted += attribute(kind, fields[kind]) if kind in fields else b""
                with suppress(FileNotFoundError):  # it has ended by itself
                    self._netfilter.ask_one(family, _DELETE, wanted)
                cut += 1
        return cut

    def _open(self, own: Container[Address]) -> Iterator[tuple[int, dict[int, bytes], tuple[FlowKey, ...]]]:
        """Family, attributes and flows of each connection. Connections older than the first policy have no mark."""
        for attributes in self._dump():
            fields = dict(parsed(attributes))
            flows = tuple(_flows(fields))
            marked = int.from_bytes(fields.get(_MARK, b"")) & MARK
            if marked or any(each.source in own or each.destination in own for each in flows):
                yield _FAMILIES[flows[0].source.version], fields, flows

    def _dump(self) -> list[bytes]:
        return self._netfilter.ask(socket.AF_UNSPEC, _GET)


def _flows(fields: dict[int, bytes]) -> Iterator[FlowKey]:
    """The flows of a connection on the bridge, with its source address before and after address translation."""
    source, _, protocol, number, _ = _tuple(fields[_ORIGINAL])
    back, translated, _, port, _ = _tuple(fields[_REPLY])
    for each in dict.fromkeys((source, translated)):
        yield FlowKey(ip_address(each), ip_address(back), protocol, number, port)


def _tuple(data: bytes) -> tuple[bytes, bytes, int, int, int]:
    """Source, destination, protocol, and the two ports."""
    parts = dict(parsed(data))
    addresses, protocol = dict(parsed(parts[1])), dict(parsed(parts[2]))
    source = addresses.get(1) or addresses[3]
    destination = addresses.get(2) or addresses[4]
    first, second = (int.from_bytes(protocol.get(kind, b"")) for kind in (2, 3))
    return source, destination, protocol[1][0], first, second

"""Whose VXLAN packets the kernel takes: nftables sets of underlay hosts, and rules that drop all others'.

The device itself asks nobody for a name: whoever can send a UDP packet to its port would be on the overlay. Owns the
table `weave-vxlan` of this network namespace and the few netlink messages for it; speaks to the kernel itself, for
`nft` takes some milliseconds for what changes with each neighbour. Decides nothing: the hosts come as an effect.
The table stands as long as the device does, so that it guards while no daemon runs.
"""

import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from overlay.errors import EnvironmentProblem

__all__ = ["VxlanFilter"]

TABLE = "weave-vxlan"
_SETS = {4: "peers", 6: "peers6"}
_CHAIN = "input"

_NETLINK_NETFILTER = 12
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_ERROR = 2
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_SUBSYSTEM = 10
"""NFNL_SUBSYS_NFTABLES."""
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET, _NEWSETELEM, _DELSETELEM = 0, 2, 3, 6, 9, 12, 14
_NESTED = 0x8000
_LOCAL_IN = 1
_PRIORITY = -300
"""Before connection tracking: what is dropped costs no entry there."""
_INET = 1
"""NFPROTO_INET: both families in one table."""
_FAMILIES = {4: 2, 6: 10}
"""NFPROTO_IPV4, NFPROTO_IPV6."""
_KEYS = {4: (7, 4), 6: (8, 16)}
"""Of a set: `nft`'s number of the type, and octets."""
_SOURCES = {4: 12, 6: 8}
"""Where the source stands in the IP header."""
_REGISTER = 1
_VERDICT_REGISTER = 0
_EQUAL = 0
_NFPROTO, _L4PROTO = 15, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_INVERTED = 1
_DROP = 0
_MOST = 1000
"""Elements in one message: attributes are at most 64 KiB."""


class VxlanFilter:
    """The filter for UDP packets to `port`. `install` first; then `allow` as often as the hosts change."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._hosts: dict[str, None] = {}
        self._socket: socket.socket | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """Whose packets are taken."""
        return tuple(self._hosts)

    def install(self, hosts: Iterable[str]) -> None:
        """Make the table, or replace one of an earlier life at one stroke. Raises `EnvironmentProblem`."""
        table = _text(1, TABLE)
        self._hosts = dict.fromkeys(hosts)
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
            self._socket.bind((0, 0))
            self._socket.settimeout(5.0)
            self._run(
                (_NEWTABLE, _CREATE, table),
                (_DELTABLE, 0, table),
                (_NEWTABLE, _CREATE, table),
                *((_NEWSET, _CREATE, table + self._set(version)) for version in _SETS),
                *self._elements(_NEWSETELEM, _CREATE, list(self._hosts)),
                (_NEWCHAIN, _CREATE, table + self._chain()),
                *(
                    (_NEWRULE, _CREATE | 0x800, table + _text(2, _CHAIN) + _nest(4, self._rule(version)))
                    for version in _SETS
                ),
            )
        except OSError as error:
            self.close()
            raise EnvironmentProblem(
                f"no nftables for the VXLAN port ({error.strerror or error}): `modprobe nf_tables`, or a kernel with "
                "CONFIG_NF_TABLES"
            ) from None

    def allow(self, hosts: Iterable[str]) -> None:
        """Take packets from exactly these hosts. Raises `OSError`. Without a table: does nothing."""
        if self._socket is None:
            return
        wanted = dict.fromkeys(hosts)
        more = [host for host in wanted if host not in self._hosts]
        less = [host for host in self._hosts if host not in wanted]
        if more or less:
            self._run(*self._elements(_NEWSETELEM, _CREATE, more), *self._elements(_DELSETELEM, 0, less))
        self._hosts = wanted

    def remove(self) -> None:
        """Take the table away; none is fine."""
        table = _text(1, TABLE)
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as sock:
                self._socket = sock
                sock.settimeout(5.0)
                self._run((_NEWTABLE, _CREATE, table), (_DELTABLE, 0, table))
        except OSError:
            return  # where there are no tables, there is none of ours
        finally:
            self._socket = None

    def close(self) -> None:
        """Give the socket back; the table stays."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- messages -----------------------------------------------------------------------------------------------------

    def _elements(self, kind: int, flags: int, hosts: list[str]) -> Iterable[tuple[int, int, bytes]]:
        for version, name in _SETS.items():
            addresses = [address for host in hosts if (address := _bare(host)).version == version]
            for start in range(0, len(addresses), _MOST):
                keys = (address.packed for address in addresses[start : start + _MOST])
                elements = b"".join(_nest(1, _nest(1, _attribute(1, key))) for key in keys)
                yield kind, flags, _text(1, TABLE) + _text(2, name) + _nest(3, elements)

    def _set(self, version: int) -> bytes:
        kind, size = _KEYS[version]
        return _text(2, _SETS[version]) + _number(4, kind) + _number(5, size) + _number(10, version)

    def _chain(self) -> bytes:
        hook = _number(1, _LOCAL_IN) + _number(2, _PRIORITY)
        return _text(3, _CHAIN) + _nest(4, hook) + _text(7, "filter")

    def _rule(self, version: int) -> bytes:
        """`udp dport PORT ip saddr != @peers counter drop`, or the like for IPv6.

        Fragments are put together before this hook.
        """
        sources = _load(_NETWORK_HEADER, _SOURCES[version], _KEYS[version][1])
        listed = _text(1, _SETS[version]) + _number(2, _REGISTER) + _number(4, version) + _number(5, _INVERTED)
        drop = _nest(2, _nest(2, _number(1, _DROP)))
        return b"".join(
            (
                *_compared("meta", _number(2, _NFPROTO), bytes((_FAMILIES[version],))),
                *_compared("meta", _number(2, _L4PROTO), bytes((socket.IPPROTO_UDP,))),
                *_compared("payload", _load(_TRANSPORT_HEADER, 2, 2), self._port.to_bytes(2, "big")),
                _expression("payload", _number(1, _REGISTER) + sources),
                _expression("lookup", listed),
                _expression("counter", b""),
                _expression("immediate", _number(1, _VERDICT_REGISTER) + drop),
            )
        )

    def _run(self, *messages: tuple[int, int, bytes]) -> None:
        """All or nothing. Raises the first `OSError` of the kernel's."""
        assert self._socket is not None
        batch = _message(_BATCH_BEGIN, _REQUEST, 0, b"", _SUBSYSTEM)
        for number, (kind, flags, attributes) in enumerate(messages, 1):
            flags |= _REQUEST | _ACK
            batch += _message(_SUBSYSTEM << 8 | kind, flags, number, attributes)
        batch += _message(_BATCH_END, _REQUEST, len(messages) + 1, b"", _SUBSYSTEM)
        self._socket.send(batch)
        missing, first = len(messages), 0
        while missing:
            data = self._socket.recv(1 << 16)
            while len(data) >= 20:
                length, kind, _, sequence, _, code = struct.unpack_from("=IHHIIi", data)
                data = data[(length + 3) & ~3 :]
                if kind != _ERROR:
                    continue
                first = first or -code
                missing -= 1
                if sequence == 0:  # the batch as a whole: nobody answers for its parts
                    missing = 0
        if first:
            raise OSError(first, os.strerror(first))


def _message(kind: int, flags: int, sequence: int, attributes: bytes, subsystem: int = 0) -> bytes:
    body = struct.pack("!BBH", _INET if not subsystem else 0, 0, subsystem) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def _load(base: int, offset: int, length: int) -> bytes:
    return _number(2, base) + _number(3, offset) + _number(4, length)


def _expression(name: str, data: bytes) -> bytes:
    return _nest(1, _text(1, name) + _nest(2, data))


def _compared(load: str, what: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Load something of a packet into the register, and go on only if it is this."""
    wanted = _nest(3, _attribute(1, value))
    register = _number(1, _REGISTER)
    return _expression(load, register + what), _expression("cmp", register + _number(2, _EQUAL) + wanted)


def _bare(host: str) -> IPv4Address | IPv6Address:
    """A link-local address names its interface (`fe80::1%eth0`), which a set does not."""
    return ip_address(host.partition("%")[0])

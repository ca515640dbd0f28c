"""Reads one chain of the kernel's iptables tables, of iptables-nft and iptables-legacy, without starting a process.

Owns the parsing of nftables rules over netlink and of the binary tables of iptables-legacy. Reading changes nothing:
because reading a table of iptables-legacy would create it, only tables listed in /proc are read. Does not know the
expected state.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path

from msgspec import Struct

from overlay.kernel.nftables import NftReader

__all__ = ["HookState", "Tables"]

_NAMES = {4: "ip_tables_names", 6: "ip6_tables_names"}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_LEVELS = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32s I 5I 5I II")
_ENTRIES_HEADER = 40
"""Name, length, and padding that aligns the entries to eight bytes."""
_TARGET_OFFSET = {4: 88, 6: 140}
"""Offset of the distances to an entry's target and to the next entry; `comefrom` and the counters follow."""
_ENTRY = {4: 112, 6: 168}
_MATCHED = {4: 84, 6: 136}
"""Length of the match part of an entry."""
_TARGET = 32
_HOOKS = {"INPUT": 1, "FORWARD": 2, "POSTROUTING": 4}
_LEGACY_DROP = -1
"""The verdict NF_DROP in a target."""


class HookState(Struct, frozen=True):
    """The state of a table at a hook."""

    filters: bool
    """Packets may be dropped at the hook, by its policy or by rules of others."""
    jumps: bool
    """All packets of the hook reach our chain, unless an earlier rule accepts or drops them."""
    rules: tuple[bytes, ...]
    """The rules of our chain, without counters; for comparison only."""


class Tables:
    """Reads the tables. `close` closes the socket."""

    def __init__(self, chain: str) -> None:
        """`chain`: the name of our chain."""
        self._chain = chain
        self._nft: NftReader | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)

    def close(self) -> None:
        """Close the socket."""
        if self._nft is not None:
            self._nft.close()
            self._nft = None

    @staticmethod
    def has_legacy(version: int, table: str) -> bool:
        """Whether iptables-legacy has created this table."""
        try:
            names = Path("/proc/thread-self/net", _NAMES[version]).read_text(encoding="utf-8")
        except OSError:
            return False
        return table in names.split()

    def see(self, version: int, table: str, hook: str) -> HookState:
        """Read a table ("filter", "nat") of IPv4 or IPv6. A table that cannot be read counts as missing.

        Raises `InterruptedError` if it changes too often to be read now.
        """
        found = []
        for look in (self._see_nft, self._see_legacy):
            try:
                found.append(look(version, table, hook))
            except InterruptedError:
                raise
            except OSError:
                continue
        return HookState(
            filters=any(each.filters for each in found),
            jumps=any(each.jumps for each in found),
            rules=tuple(rule for each in found for rule in each.rules),
        )

    def _see_nft(self, version: int, table: str, hook: str) -> HookState:
        if self._nft is None:
            self._nft = NftReader()
        family = 2 if version == 4 else 10
        hooked = self._nft.rules(family, table, hook)
        ours = [rule for rule in hooked if self._nft.jumps_to(rule, self._chain)]
        filters = len(ours) < len(hooked) or self._nft.drops(family, table, hook)
        return HookState(filters, bool(ours), self._nft.rules(family, table, self._chain))

    def _see_legacy(self, version: int, table: str, hook: str) -> HookState:
        if not self.has_legacy(version, table):
            return HookState(filters=False, jumps=False, rules=())
        with socket.socket(_FAMILIES[version], socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as sock:
            info = _INFO.unpack(self._ask(sock, version, _GET_INFO, table.encode(), _INFO.size))
            size = info[-1]
            request = table.encode().ljust(32, b"\0") + struct.pack("=I", size)
            blob = self._ask(sock, version, _GET_ENTRIES, request, _ENTRIES_HEADER + size)[_ENTRIES_HEADER:]
        start, policy = info[2 + _HOOKS[hook]], info[7 + _HOOKS[hook]]
        chain = _chain_start(blob, self._chain, version)
        foreign = jumps = False
        while start < policy:
            plain, following = _entry(blob, start, version)
            if chain and plain[: _MATCHED[version]].count(0) == _MATCHED[version] and _verdict(plain, version) == chain:
                jumps = True
            else:
                foreign = True
            start = following
        drops = _verdict(_entry(blob, policy, version)[0], version) == _LEGACY_DROP
        rules = []
        while chain and not _is_head(blob, chain, version):
            plain, chain = _entry(blob, chain, version)
            rules.append(plain)
        return HookState(foreign or drops, jumps, tuple(rules))

    def _ask(self, sock: socket.socket, version: int, option: int, request: bytes, length: int) -> bytes:
        """`getsockopt` with a request in the buffer, which Python's version lacks."""
        buffer = ctypes.create_string_buffer(request, length)
        size = ctypes.c_uint(length)
        if self._libc.getsockopt(sock.fileno(), _LEVELS[version], option, buffer, ctypes.byref(size)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return buffer.raw


def _entry(blob: bytes, start: int, version: int) -> tuple[bytes, int]:
    """An entry without its packet counters, and the start of the next one."""
    length = struct.unpack_from("=H", blob, start + _TARGET_OFFSET[version] + 2)[0]
    if length < _ENTRY[version]:
        raise OSError("a table of iptables-legacy that cannot be understood")
    counted = start + _TARGET_OFFSET[version] + 4
    head = blob[start:counted]
    return head + bytes(start + _ENTRY[version] - counted) + blob[start + _ENTRY[version] : start + length], (
        start + length
    )


def _verdict(entry: bytes, version: int) -> int | None:
    """The verdict of a standard target; None: another target."""
    offset = struct.unpack_from("=H", entry, _TARGET_OFFSET[version])[0]
    if entry[offset + 2 : offset + 3] != b"\0":
        return None
    found: int = struct.unpack_from("=i", entry, offset + _TARGET)[0]
    return found


def _is_head(blob: bytes, start: int, version: int) -> bool:
    """Whether this entry is the head of a chain, or the end of the table."""
    target = start + int(struct.unpack_from("=H", blob, start + _TARGET_OFFSET[version])[0])
    return blob[target + 2 : target + 8] == b"ERROR\0"


def _chain_start(blob: bytes, chain: str, version: int) -> int:
    """The position of a chain's first rule; 0: there is no such chain."""
    name = chain.encode() + b"\0"
    place = blob.find(name)
    while place >= 0:
        start = place - _TARGET - _ENTRY[version]
        if start >= 0 and _is_head(blob, start, version) and blob[place - _TARGET + 2 : place].startswith(b"ERROR\0"):
            return _entry(blob, start, version)[1]
        place = blob.find(name, place + 1)
    return 0

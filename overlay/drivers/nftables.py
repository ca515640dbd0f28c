"""One nftables table that a daemon keeps in this network namespace: made, filled, read back, taken away.

Owns the netlink messages and the expressions of rules as octets; speaks to the kernel itself, because `nft` takes some
milliseconds for each change. Which sets, chains and rules there are is decided in `vxlan_filter` and `port_filter`.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

__all__ = [
    "ACCEPT",
    "DROP",
    "ETHER",
    "IFNAME",
    "IPV4",
    "IPV6",
    "LINK",
    "NETWORK",
    "REGISTER",
    "TRANSPORT",
    "Chain",
    "Onlooker",
    "Rule",
    "Set",
    "Table",
    "counter",
    "differs",
    "equals",
    "goto",
    "load",
    "load6",
    "lookup",
    "meta",
    "routed_back",
    "verdict",
]

_NETLINK_NETFILTER = 12
_REQUEST, _ACK, _DUMP, _CREATE, _APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10
"""NLM_F_DUMP_INTR: the table changed under the dump."""
_TRIES = 20
"""Dumps that may be interrupted in a row. Any program of the host interrupts them by changing any table."""
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_SUBSYSTEM = 10
"""NFNL_SUBSYS_NFTABLES."""
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _GETRULE = 0, 1, 2, 3, 4, 6, 7
_NEWSET, _NEWSETELEM, _GETSETELEM, _DELSETELEM = 9, 12, 13, 14
_NESTED = 0x8000
_MOST = 1000
"""Elements in one message: attributes are at most 64 KiB."""
IFNAME, ETHER, IPV4, IPV6 = 41, 9, 7, 8
"""`nft`'s numbers of types."""
_TYPE_BITS = 6
"""Of one field in the number of a concatenated type (`nft` shows elements by it)."""

REGISTER = 8
"""NFT_REG32_00: the first of sixteen registers of four octets; fields of a key stand in registers in a row."""
_VERDICT_REGISTER = 0
_EQUAL, _DIFFERS = 0, 1
_FIB_INTERFACE = 1
_FIB_SOURCE, _FIB_ARRIVAL, _FIB_PRESENT = 0x1, 0x8, 0x20
"""What a look-up among the host's routes asks for: NFT_FIB_RESULT_OIF and NFTA_FIB_F_SADDR, _IIF, _PRESENT."""
_INVERTED = 1
_JUMP, _GOTO = -3, -4
DROP, ACCEPT = 0, 1
LINK, NETWORK, TRANSPORT = 0, 1, 2
"""Headers that a payload is loaded from."""


class Set(Struct, frozen=True):
    """A set. `kinds`: `nft`'s numbers of the types of its fields; `length`: octets of a key, each field padded to 4."""

    name: str
    kinds: tuple[int, ...]
    length: int


class Chain(Struct, frozen=True):
    """A chain; one with a `hook` (its number, -1: none) gets packets from the kernel, the others from `goto`."""

    name: str
    hook: int = -1
    priority: int = 0


class Rule(Struct, frozen=True):
    """One rule of a chain: expressions in their order."""

    chain: str
    expressions: tuple[bytes, ...]


# --- expressions ------------------------------------------------------------------------------------------------------


def meta(key: int, register: int = REGISTER) -> bytes:
    """Load what the kernel knows of a packet."""
    return _expression("meta", _number(1, register) + _number(2, key))


def load(header: int, offset: int, length: int, register: int = REGISTER) -> bytes:
    """Load octets of a packet; a packet that lacks them does not match the rule."""
    return _expression("payload", _number(1, register) + _number(2, header) + _number(3, offset) + _number(4, length))


def load6(kind: int, offset: int, length: int, register: int = REGISTER) -> bytes:
    """Load octets of an IPv6 extension header; a packet without such a header does not match the rule."""
    where = _number(1, register) + _attribute(2, bytes((kind,))) + _number(3, offset) + _number(4, length)
    return _expression("exthdr", where)


def routed_back(register: int = REGISTER) -> bytes:
    """Load four bytes: not zero if the host has a route to the packet's source by the interface of arrival."""
    flags = _FIB_SOURCE | _FIB_ARRIVAL | _FIB_PRESENT
    return _expression("fib", _number(1, register) + _number(2, _FIB_INTERFACE) + _number(3, flags))


def equals(value: bytes) -> bytes:
    """Go on only if this was loaded."""
    return _compare(_EQUAL, value)


def differs(value: bytes) -> bytes:
    """Go on only if something else was loaded."""
    return _compare(_DIFFERS, value)


def lookup(name: str, *, absent: bool = False) -> bytes:
    """Go on only if the loaded key is an element of the set (`absent`: is none)."""
    flags = _number(5, _INVERTED) if absent else b""
    return _expression("lookup", _text(1, name) + _number(2, REGISTER) + flags)


def verdict(code: int) -> bytes:
    """`ACCEPT` or `DROP`."""
    return _expression("immediate", _number(1, _VERDICT_REGISTER) + _nest(2, _nest(2, _number(1, code))))


def goto(chain: str) -> bytes:
    """Go on in another chain, and do not come back."""
    data = _nest(2, _nest(2, _number(1, _GOTO) + _text(2, chain)))
    return _expression("immediate", _number(1, _VERDICT_REGISTER) + data)


def counter() -> bytes:
    """Count packets."""
    return _expression("counter", b"")


def _compare(operation: int, value: bytes) -> bytes:
    wanted = _nest(3, _attribute(1, value))
    return _expression("cmp", _number(1, REGISTER) + _number(2, operation) + wanted)


def _expression(name: str, data: bytes) -> bytes:
    return _nest(1, _text(1, name) + _nest(2, data))


# --- tables of others -------------------------------------------------------------------------------------------------


class Onlooker:
    """Reads tables of others. `close` gives the socket back.

    Raises `OSError` where there is no nftables, and `InterruptedError` if others change tables all the time.
    """

    def __init__(self) -> None:
        self._socket = _open()

    def close(self) -> None:
        """Read no more."""
        self._socket.close()

    def rules(self, family: int, table: str, chain: str) -> tuple[bytes, ...]:
        """The expressions of each rule of a chain, only good to be compared; no chain: no rules."""
        try:
            found = _dump(self._socket, family, _GETRULE, _text(1, table) + _text(2, chain))
        except FileNotFoundError:
            return ()
        return tuple(expressions for _, expressions in map(_plain, found))

    @staticmethod
    def jumps_to(rule: bytes, chain: str) -> bool:
        """A rule of `rules` does nothing but have all packets go through another chain."""
        # The kernel tells nested attributes without their flag.
        data = _attribute(2, _attribute(2, _number(1, _JUMP) + _text(2, chain)))
        jump = b"immediate\0" + _number(1, _VERDICT_REGISTER) + data
        return rule.removeprefix(b"counter\0") == jump

    def drops(self, family: int, table: str, chain: str) -> bool:
        """The policy of a chain is to drop."""
        try:
            (found,) = _dump(self._socket, family, _GETCHAIN, _text(1, table) + _text(3, chain), _ACK)
        except FileNotFoundError:
            return False
        return dict(_parsed(found)).get(5, b"") == DROP.to_bytes(4, "big")


# --- the table --------------------------------------------------------------------------------------------------------


class Table:
    """A table of this shape. `install` first; then `fill` as often as its elements change."""

    def __init__(
        self, family: int, name: str, sets: Sequence[Set], chains: Sequence[Chain], rules: Sequence[Rule]
    ) -> None:
        self._family = family
        self._name = name
        self._sets = {each.name: each for each in sets}
        self._chains = tuple(chains)
        self._rules = tuple(rules)
        self._socket: socket.socket | None = None
        self._elements: dict[str, dict[bytes, None]] = {name: {} for name in self._sets}
        self._written: tuple[tuple[bytes, bytes], ...] = ()
        """The rules as the kernel tells them."""
        self._shape: tuple[tuple[bytes | None, ...], ...] = ()
        """The table and its chains likewise."""

    @property
    def installed(self) -> bool:
        """There is one of ours."""
        return self._socket is not None

    def install(self, elements: Mapping[str, Iterable[bytes]]) -> None:
        """Make the table, or replace the one that is there at one stroke. Raises `OSError`; then nothing changed."""
        table = _text(1, self._name)
        wanted = {name: dict.fromkeys(elements.get(name, ())) for name in self._sets}
        fresh = self._socket is None
        try:
            if self._socket is None:
                self._socket = _open()
            self._run(
                (_NEWTABLE, _CREATE, table),
                (_DELTABLE, 0, table),
                (_NEWTABLE, _CREATE, table),
                *((_NEWSET, _CREATE, table + _set(each, number)) for number, each in enumerate(self._sets.values(), 1)),
                *((_NEWCHAIN, _CREATE, table + _chain(each)) for each in self._chains),
                *(
                    (_NEWRULE, _CREATE | _APPEND, table + _text(2, rule.chain) + _nest(4, b"".join(rule.expressions)))
                    for rule in self._rules
                ),
                *(message for name, keys in wanted.items() for message in self._change(_NEWSETELEM, name, list(keys))),
            )
            self._elements = wanted
            # If they cannot be read now they are made again when they can: what others changed by then is not known.
            self._written, self._shape = (), ()
            with suppress(InterruptedError):
                self._shape = self._read_shape()
                self._written = self._read_rules()
        except OSError:
            if fresh:
                self.close()
            raise

    def fill(self, elements: Mapping[str, Iterable[bytes]]) -> None:
        """Bring these sets to exactly these elements, all at one stroke. Raises `OSError`. Without a table: nothing."""
        if self._socket is None:
            return
        wanted = {name: dict.fromkeys(keys) for name, keys in elements.items()}
        messages: list[tuple[int, int, bytes]] = []
        for name, keys in wanted.items():
            held = self._elements[name]
            messages += self._change(_NEWSETELEM, name, [key for key in keys if key not in held])
            messages += self._change(_DELSETELEM, name, [key for key in held if key not in keys])
        if messages:
            self._run(*messages)
        self._elements.update(wanted)

    def read(self) -> dict[str, tuple[bytes, ...]]:
        """The elements of a table of this name that stands in the kernel, by whomever; empty without. Never raises."""
        found: dict[str, tuple[bytes, ...]] = {}
        borrowed = self._socket
        try:
            self._socket = borrowed or _open()
            for name, each in self._sets.items():
                found[name] = tuple(key for key in self._read_elements(name) if len(key) == each.length)
        except OSError:
            return {}
        finally:
            if borrowed is None and self._socket is not None:
                self._socket.close()
                self._socket = None
        return found

    def differences(self) -> tuple[str, ...]:
        """What the kernel has otherwise than was put there, as phrases.

        Empty if nothing, without a table, or if it cannot be read now because others change tables all the time.
        """
        if self._socket is None:
            return ()
        try:
            if self._read_shape() != self._shape:
                return (f"chains or flags of nftables table {self._name}",)
            if self._read_rules() != self._written:
                return (f"rules of nftables table {self._name}",)
            return tuple(
                f"nftables set {name} of table {self._name}"
                for name, held in self._elements.items()
                if set(self._read_elements(name)) != set(held)
            )
        except InterruptedError:
            return ()
        except OSError:
            return (f"nftables table {self._name}",)

    def remove(self) -> None:
        """Take the table away; none is fine."""
        table = _text(1, self._name)
        try:
            if self._socket is None:
                self._socket = _open()
            self._run((_NEWTABLE, _CREATE, table), (_DELTABLE, 0, table))
        except OSError:
            return  # where there are no tables, there is none of ours
        finally:
            self.close()

    def close(self) -> None:
        """Give the socket back; the table stays."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- messages -----------------------------------------------------------------------------------------------------

    def _change(self, kind: int, name: str, keys: list[bytes]) -> Iterator[tuple[int, int, bytes]]:
        for start in range(0, len(keys), _MOST):
            elements = b"".join(_nest(1, _nest(1, _attribute(1, key))) for key in keys[start : start + _MOST])
            flags = _CREATE if kind == _NEWSETELEM else 0
            yield kind, flags, _text(1, self._name) + _text(2, name) + _nest(3, elements)

    def _read_elements(self, name: str) -> Iterator[bytes]:
        for attributes in self._dump(_GETSETELEM, _text(1, self._name) + _text(2, name)):
            for _, element in _parsed(dict(_parsed(attributes)).get(3, b"")):
                key = dict(_parsed(dict(_parsed(element)).get(1, b""))).get(1)
                if key is not None:
                    yield key

    def _read_rules(self) -> tuple[tuple[bytes, bytes], ...]:
        """(chain, expressions) of each rule; what a counter has counted is left out."""
        return tuple(_plain(attributes) for attributes in self._dump(_GETRULE, _text(1, self._name)))

    def _read_shape(self) -> tuple[tuple[bytes | None, ...], ...]:
        """The table's flags (one makes it do nothing), then (name, hook, policy, type) of each chain."""
        name = self._name.encode() + b"\0"
        tables = [dict(_parsed(attributes)) for attributes in self._dump(_GETTABLE, _text(1, self._name))]
        chains = [dict(_parsed(attributes)) for attributes in self._dump(_GETCHAIN, _text(1, self._name))]
        return (
            *((fields.get(2),) for fields in tables if fields.get(1) == name),
            *(tuple(fields.get(kind) for kind in (3, 4, 5, 7)) for fields in chains if fields.get(1) == name),
        )

    def _dump(self, kind: int, attributes: bytes) -> list[bytes]:
        assert self._socket is not None
        return _dump(self._socket, self._family, kind, attributes)

    def _run(self, *messages: tuple[int, int, bytes]) -> None:
        """All or nothing. Raises the first `OSError` of the kernel's."""
        assert self._socket is not None
        batch = _message(_BATCH_BEGIN, _REQUEST, 0, b"", 0, _SUBSYSTEM)
        for number, (kind, flags, attributes) in enumerate(messages, 1):
            batch += _message(_SUBSYSTEM << 8 | kind, flags | _REQUEST | _ACK, number, attributes, self._family)
        batch += _message(_BATCH_END, _REQUEST, len(messages) + 1, b"", 0, _SUBSYSTEM)
        self._socket.send(batch)
        missing, first = len(messages), 0
        while missing:
            data = self._socket.recv(1 << 17)
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


def _dump(sock: socket.socket, family: int, kind: int, attributes: bytes, flags: int = _DUMP) -> list[bytes]:
    """Raises `OSError`; `InterruptedError` if the tables change so often that they cannot be read now."""
    for _ in range(_TRIES):
        sock.send(_message(_SUBSYSTEM << 8 | kind, _REQUEST | flags, 0, attributes, family))
        found, done, interrupted = [], False, False
        while not done:
            data = sock.recv(1 << 17)
            while len(data) >= 20:
                length, answer, told, _, _ = struct.unpack_from("=IHHII", data)
                interrupted |= bool(told & _INTERRUPTED)
                if answer in (_DONE, _ERROR):
                    code = -struct.unpack_from("=i", data, 16)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    done = True
                else:
                    found.append(data[20:length])
                data = data[(length + 3) & ~3 :]
        if not interrupted:
            return found
    raise InterruptedError(errno.EINTR, "the tables of nftables change too often to be read")


def _plain(attributes: bytes) -> tuple[bytes, bytes]:
    """(chain, expressions) of a rule; what a counter has counted is left out."""
    fields = dict(_parsed(attributes))
    plain = b""
    for _, expression in _parsed(fields.get(4, b"")):
        parts = dict(_parsed(expression))
        plain += parts.get(1, b"") + (b"" if parts.get(1) == b"counter\0" else parts.get(2, b""))
    return fields.get(2, b""), plain


def _open() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    sock.bind((0, 0))
    sock.settimeout(5.0)
    return sock


def _set(each: Set, number: int) -> bytes:
    kind = 0
    for field in each.kinds:
        kind = kind << _TYPE_BITS | field
    # The last says to `nft` alone that the octets of a single text stand in their order (NFTNL_UDATA_SET_KEYBYTEORDER).
    order = _attribute(13, struct.pack("=BBI", 0, 4, 1)) if each.kinds == (IFNAME,) else b""
    return _text(2, each.name) + _number(4, kind) + _number(5, each.length) + _number(10, number) + order


def _chain(chain: Chain) -> bytes:
    if chain.hook < 0:
        return _text(3, chain.name)
    hook = _number(1, chain.hook) + _number(2, chain.priority)
    return _text(3, chain.name) + _nest(4, hook) + _text(7, "filter")


def _message(kind: int, flags: int, sequence: int, attributes: bytes, family: int, subsystem: int = 0) -> bytes:
    body = struct.pack("!BBH", family, 0, subsystem) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def _parsed(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of attributes in a row."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[max(4, (length + 3) & ~3) :]

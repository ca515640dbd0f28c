"""The expressions of nftables rules, as bytes for netlink.

Pure. The modules that make tables (`nftables.Table`) decide the rules.
"""

from functools import lru_cache

from overlay.kernel.nfnetlink import attribute, nest, number, text

__all__ = [
    "ACCEPT",
    "DROP",
    "LINK",
    "NETWORK",
    "REGISTER",
    "TRANSPORT",
    "between",
    "connection_mark",
    "connection_state",
    "constant",
    "counter",
    "differs",
    "equals",
    "goto",
    "is_jump",
    "load",
    "load6",
    "lookup",
    "masked",
    "meta",
    "remember",
    "routed_back",
    "set_connection_mark",
    "set_meta",
    "verdict",
]

_CACHED = 4096
"""Size of each expression cache; thousands of rules consist of few different expressions."""
REGISTER = 8
"""NFT_REG32_00, the first of sixteen four-byte registers; the fields of a key are in consecutive registers."""
_VERDICT_REGISTER = 0
_EQUAL, _DIFFERS = 0, 1
_FIB_INTERFACE = 1
_FIB_SOURCE, _FIB_ARRIVAL, _FIB_PRESENT = 0x1, 0x8, 0x20
"""The query of a route lookup: NFT_FIB_RESULT_OIF and NFTA_FIB_F_SADDR, _IIF, _PRESENT."""
_INVERTED = 1
_JUMP, _GOTO = -3, -4
DROP, ACCEPT = 0, 1
_AT_LEAST, _AT_MOST = 5, 3
"""NFT_CMP_GTE, NFT_CMP_LTE."""
_UPDATE = 1
"""NFT_DYNSET_OP_UPDATE."""
_CONNECTION_MARK = 3
LINK, NETWORK, TRANSPORT = 0, 1, 2
"""The headers from which a payload is loaded."""


@lru_cache(_CACHED)
def meta(key: int, register: int = REGISTER) -> bytes:
    """Load metadata of a packet."""
    return _expression("meta", number(1, register) + number(2, key))


@lru_cache(_CACHED)
def load(header: int, offset: int, length: int, register: int = REGISTER) -> bytes:
    """Load bytes of a packet; a packet without these bytes does not match the rule."""
    return _expression("payload", number(1, register) + number(2, header) + number(3, offset) + number(4, length))


def load6(kind: int, offset: int, length: int, register: int = REGISTER) -> bytes:
    """Load bytes of an IPv6 extension header; a packet without such a header does not match the rule."""
    where = number(1, register) + attribute(2, bytes((kind,))) + number(3, offset) + number(4, length)
    return _expression("exthdr", where)


def routed_back(register: int = REGISTER) -> bytes:
    """Load four bytes: non-zero if the host has a route to the packet's source through the input interface."""
    flags = _FIB_SOURCE | _FIB_ARRIVAL | _FIB_PRESENT
    return _expression("fib", number(1, register) + number(2, _FIB_INTERFACE) + number(3, flags))


@lru_cache(_CACHED)
def equals(value: bytes) -> bytes:
    """Match only if this value was loaded."""
    return _compare(_EQUAL, value)


@lru_cache(_CACHED)
def differs(value: bytes) -> bytes:
    """Match only if another value was loaded."""
    return _compare(_DIFFERS, value)


@lru_cache(_CACHED)
def masked(mask: bytes, value: bytes | None = None, register: int = REGISTER) -> bytes:
    """Keep these bits of the loaded value, and flip those of `value`."""
    flipped = nest(5, attribute(1, value or bytes(len(mask))))
    registers = number(1, register) + number(2, register) + number(3, len(mask))
    return _expression("bitwise", registers + nest(4, attribute(1, mask)) + flipped)


@lru_cache(_CACHED)
def between(low: bytes, high: bytes) -> tuple[bytes, ...]:
    """Match only if the loaded value is in this range, bounds included."""
    return (equals(low),) if low == high else (_compare(_AT_LEAST, low), _compare(_AT_MOST, high))


def constant(value: bytes, register: int = REGISTER) -> bytes:
    """Load this constant."""
    return _expression("immediate", number(1, register) + nest(2, attribute(1, value)))


def connection_state(register: int = REGISTER) -> bytes:
    """Load the bit of the packet's connection tracking state (host byte order)."""
    return _expression("ct", number(1, register) + number(2, 0))


def set_meta(key: int) -> bytes:
    """Set metadata of the packet to the loaded value."""
    return _expression("meta", number(2, key) + number(3, REGISTER))


def connection_mark() -> bytes:
    """Load the mark of the packet's connection."""
    return _expression("ct", number(1, REGISTER) + number(2, _CONNECTION_MARK))


def set_connection_mark() -> bytes:
    """Set the mark of the packet's connection to the loaded value."""
    return _expression("ct", number(2, _CONNECTION_MARK) + number(4, REGISTER))


def remember(name: str, seconds: int) -> bytes:
    """Add the loaded key to a set for this time, or renew its time; a full set does not match."""
    life = number(6, seconds * 1000, 8)
    return _expression("dynset", text(1, name) + number(3, _UPDATE) + number(4, REGISTER) + life)


@lru_cache(_CACHED)
def lookup(name: str, *, absent: bool = False) -> bytes:
    """Match only if the loaded key is an element of the set (`absent`: is not an element)."""
    flags = number(5, _INVERTED) if absent else b""
    return _expression("lookup", text(1, name) + number(2, REGISTER) + flags)


@lru_cache(_CACHED)
def verdict(code: int) -> bytes:
    """`ACCEPT` or `DROP`."""
    return _expression("immediate", number(1, _VERDICT_REGISTER) + nest(2, nest(2, number(1, code))))


@lru_cache(_CACHED)
def goto(chain: str) -> bytes:
    """Continue in another chain, without return."""
    data = nest(2, nest(2, number(1, _GOTO) + text(2, chain)))
    return _expression("immediate", number(1, _VERDICT_REGISTER) + data)


def counter() -> bytes:
    """Count packets."""
    return _expression("counter", b"")


def _compare(operation: int, value: bytes) -> bytes:
    wanted = nest(3, attribute(1, value))
    return _expression("cmp", number(1, REGISTER) + number(2, operation) + wanted)


def _expression(name: str, data: bytes) -> bytes:
    return nest(1, text(1, name) + nest(2, data))


def is_jump(plain: bytes, chain: str) -> bool:
    """Whether a rule, as the kernel reports it, only jumps to another chain for all packets."""
    # The kernel reports nested attributes without the nested flag.
    data = attribute(2, attribute(2, number(1, _JUMP) + text(2, chain)))
    jump = b"immediate\0" + number(1, _VERDICT_REGISTER) + data
    return plain.removeprefix(b"counter\0") == jump

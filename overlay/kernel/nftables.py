"""One nftables table that a daemon owns in this network namespace: create, fill, read back, remove.

Owns the netlink format of tables, sets, chains and rules. Uses netlink directly, because `nft` takes some milliseconds
for each change. `vxlan_filter`, `port_filter` and `policy_filter` decide what is in the table.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from msgspec import Struct

from overlay.kernel.netlink import attributes as parsed
from overlay.kernel.nfnetlink import CREATE, Netfilter, attribute, nest, number, text
from overlay.kernel.nft_words import DROP, is_jump

__all__ = [
    "END",
    "ETHER",
    "IFNAME",
    "INTERVAL",
    "IPV4",
    "IPV6",
    "KEPT",
    "START",
    "Chain",
    "NftReader",
    "Rule",
    "Set",
    "Table",
]

_APPEND = 0x800
_SUBSYSTEM = 10
"""NFNL_SUBSYS_NFTABLES."""
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _GETRULE, _DELRULE = 0, 1, 2, 3, 4, 6, 7, 8
_NEWSET, _DELSET, _NEWSETELEM, _GETSETELEM, _DELSETELEM = 9, 11, 12, 13, 14
_MOST, _AROUND = 60_000, 40
"""Maximum bytes of elements in one message (attributes are limited to 64 KiB), and the overhead of each key."""
IFNAME, ETHER, IPV4, IPV6 = 41, 9, 7, 8
"""Type numbers of `nft`."""
_TYPE_BITS = 6
"""Bits of one field in the number of a concatenated type (`nft` needs it to show elements)."""

INTERVAL, KEPT = 0x4, 0x30
"""Flags of a set: NFT_SET_INTERVAL, and NFT_SET_TIMEOUT with NFT_SET_EVAL."""
START, END = b"\0", b"\1"
"""Bounds of an interval; the end is exclusive."""


class Set(Struct, frozen=True):
    """A set. `kinds`: `nft`'s type numbers of its fields; `length`: bytes of a key, each field padded to 4."""

    name: str
    kinds: tuple[int, ...]
    length: int
    flags: int = 0
    """`INTERVAL`: the elements are bounds, each followed by one more byte (`START`, `END`).

    `KEPT`: rules add the elements; they stay when the table changes, and are ignored in comparisons.
    """
    size: int = 0
    """Maximum number of elements."""


class Chain(Struct, frozen=True):
    """A chain. One with a `hook` (its number; -1: none) gets packets from the kernel, others from `goto`."""

    name: str
    hook: int = -1
    priority: int = 0


class Rule(Struct, frozen=True):
    """One rule of a chain: expressions in order."""

    chain: str
    expressions: tuple[bytes, ...]


# --- foreign tables ---------------------------------------------------------------------------------------------------


class NftReader:
    """Reads tables of others. `close` closes the socket.

    Raises `OSError` without nftables, and `InterruptedError` if others change tables all the time.
    """

    def __init__(self) -> None:
        self._netfilter = Netfilter(_SUBSYSTEM)

    def close(self) -> None:
        """Close the socket."""
        self._netfilter.close()

    def rules(self, family: int, table: str, chain: str) -> tuple[bytes, ...]:
        """The expressions of each rule of a chain, for comparison only; empty if there is no such chain."""
        try:
            found = self._netfilter.ask(family, _GETRULE, text(1, table) + text(2, chain))
        except FileNotFoundError:
            return ()
        return tuple(expressions for _, expressions in map(_plain, found))

    @staticmethod
    def jumps_to(rule: bytes, chain: str) -> bool:
        """Whether a rule of `rules` only jumps to another chain for all packets."""
        return is_jump(rule, chain)

    def drops(self, family: int, table: str, chain: str) -> bool:
        """Whether the policy of a chain is to drop."""
        try:
            (found,) = self._netfilter.ask_one(family, _GETCHAIN, text(1, table) + text(3, chain))
        except FileNotFoundError:
            return False
        return dict(parsed(found)).get(5, b"") == DROP.to_bytes(4, "big")


# --- the table --------------------------------------------------------------------------------------------------------


class Table:
    """A table with these sets, chains and rules. Call `install` first, then `fill` when elements change."""

    def __init__(
        self, family: int, name: str, sets: Sequence[Set], chains: Sequence[Chain], rules: Sequence[Rule]
    ) -> None:
        self._family = family
        self._name = name
        self._sets = {each.name: each for each in sets}
        self._chains = tuple(chains)
        self._rules = tuple(rules)
        self._netfilter: Netfilter | None = None
        self._elements: dict[str, dict[bytes, None]] = {name: {} for name in self._sets}
        self._written: tuple[tuple[bytes, bytes], ...] = ()
        """The rules as the kernel reports them."""
        self._shape: tuple[tuple[bytes | None, ...], ...] = ()
        """The table and its chains as the kernel reports them."""

    @property
    def installed(self) -> bool:
        """Whether this object has installed its table."""
        return self._netfilter is not None

    def install(
        self, elements: Mapping[str, Iterable[bytes]], kept: Mapping[str, Mapping[bytes, int]] | None = None
    ) -> None:
        """Create the table, or replace an existing one atomically. Raises `OSError`; nothing is changed then.

        `kept`: elements of `KEPT` sets, each with its remaining milliseconds.
        """
        table = text(1, self._name)
        wanted = {name: dict.fromkeys(elements.get(name, ())) for name in self._sets}
        fresh = self._netfilter is None
        try:
            if self._netfilter is None:
                self._netfilter = Netfilter(_SUBSYSTEM)
            self._run(
                (_NEWTABLE, CREATE, table),
                (_DELTABLE, 0, table),
                (_NEWTABLE, CREATE, table),
                *((_NEWSET, CREATE, table + _set(each, place)) for place, each in enumerate(self._sets.values(), 1)),
                *((_NEWCHAIN, CREATE, table + _chain(each)) for each in self._chains),
                *self._rule_messages(self._rules),
                *(message for name, keys in wanted.items() for message in self._change(_NEWSETELEM, name, list(keys))),
                *(
                    message
                    for name, keys in (kept or {}).items()
                    for message in self._change(_NEWSETELEM, name, list(keys), keys)
                ),
            )
            self._elements = wanted
            self._read_back()
        except OSError:
            if fresh:
                self.close()
            raise

    def reshape(self, sets: Sequence[Set], rules: Sequence[Rule], elements: Mapping[str, Iterable[bytes]]) -> None:
        """Change sets and rules to exactly these, atomically; chains, and elements that packets added, stay.

        A set of the same name must have the same shape. Raises `OSError`; nothing is changed then. Before `install`:
        only changes what `install` will create.
        """
        before, after = self._sets, {each.name: each for each in sets}
        wanted = {name: dict.fromkeys(elements.get(name, ())) for name in after}
        if self._netfilter is not None:
            table = text(1, self._name)
            messages = [(_DELRULE, 0, table)]
            for place, each in enumerate(after.values(), 1):
                if each.name not in before:
                    messages.append((_NEWSET, CREATE, table + _set(each, place)))
                held, keys = self._elements.get(each.name, {}), wanted[each.name]
                messages += self._change(_DELSETELEM, each.name, [key for key in held if key not in keys], shape=each)
                messages += self._change(_NEWSETELEM, each.name, [key for key in keys if key not in held], shape=each)
            messages += self._rule_messages(rules)
            messages += [(_DELSET, 0, table + text(2, name)) for name in before if name not in after]
            self._run(*messages)
        self._sets, self._rules, self._elements = after, tuple(rules), wanted
        if self._netfilter is not None:
            self._read_back()

    def kept(self) -> dict[str, dict[bytes, int]]:
        """Elements that packets added to sets, with their remaining milliseconds, of any table of this name.

        Empty without a table. Raises `InterruptedError` if it cannot be read now because others change tables.
        """
        found = {}
        try:
            with self._reading():
                for each in self._sets.values():
                    if each.flags & KEPT:
                        elements = self._read_lives(each.name)
                        found[each.name] = {key: life for key, life in elements if len(key) == each.length}
        except InterruptedError:
            raise
        except OSError:
            return {}
        return found

    def forget(self, name: str, keys: Iterable[bytes]) -> None:
        """Remove these from a `KEPT` set; expired ones are ignored. Raises `OSError`."""
        left = [list(keys)]
        while left and self._netfilter is not None:
            some = left.pop()
            try:
                self._run(*self._change(_DELSETELEM, name, some))
            except FileNotFoundError:
                if some[1:]:
                    left += [some[: len(some) // 2], some[len(some) // 2 :]]

    def fill(self, elements: Mapping[str, Iterable[bytes]]) -> None:
        """Change these sets to exactly these elements, atomically. Raises `OSError`. Does nothing before `install`."""
        if self._netfilter is None:
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
        """The elements of any table of this name in the kernel; empty without one. Never raises."""
        found: dict[str, tuple[bytes, ...]] = {}
        try:
            with self._reading():
                for name, each in self._sets.items():
                    found[name] = tuple(key for key in self._read_elements(name) if len(key) == each.length)
        except OSError:
            return {}
        return found

    def differences(self) -> tuple[str, ...]:
        """Differences between the kernel's table and ours, as phrases.

        Empty if there are none, without a table, or if it cannot be read now because others change tables all the time.
        """
        if self._netfilter is None:
            return ()
        try:
            if self._read_shape() != self._shape:
                return (f"chains or flags of nftables table {self._name}",)
            if self._read_rules() != self._written:
                return (f"rules of nftables table {self._name}",)
            return tuple(
                f"nftables set {name} of table {self._name}"
                for name, held in self._elements.items()
                if not self._sets[name].flags & KEPT and set(self._read_elements(name)) != set(held)
            )
        except InterruptedError:
            return ()
        except OSError:
            return (f"nftables table {self._name}",)

    def remove(self) -> None:
        """Remove the table, if there is one."""
        table = text(1, self._name)
        try:
            if self._netfilter is None:
                self._netfilter = Netfilter(_SUBSYSTEM)
            self._run((_NEWTABLE, CREATE, table), (_DELTABLE, 0, table))
        except OSError:
            return  # without nftables there is no table of ours
        finally:
            self.close()

    def close(self) -> None:
        """Close the socket; the table stays."""
        if self._netfilter is not None:
            self._netfilter.close()
            self._netfilter = None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Open a socket if there is none, for the duration of the block. Raises `OSError`."""
        borrowed = self._netfilter
        self._netfilter = borrowed or Netfilter(_SUBSYSTEM)
        try:
            yield
        finally:
            if borrowed is None:
                self.close()

    # --- messages -----------------------------------------------------------------------------------------------------

    def _rule_messages(self, rules: Iterable[Rule]) -> list[tuple[int, int, bytes]]:
        table = text(1, self._name)
        return [
            (_NEWRULE, CREATE | _APPEND, table + text(2, rule.chain) + nest(4, b"".join(rule.expressions)))
            for rule in rules
        ]

    def _change(
        self,
        kind: int,
        name: str,
        keys: list[bytes],
        lives: Mapping[bytes, int] | None = None,
        shape: Set | None = None,
    ) -> Iterator[tuple[int, int, bytes]]:
        bounds = (shape or self._sets[name]).flags & INTERVAL
        step = _MOST // (len(keys[0]) + _AROUND) if keys else 1
        for start in range(0, len(keys), step):
            elements = b""
            for key in keys[start : start + step]:
                flags = number(3, key[-1]) if bounds else b""
                life = number(4, lives[key], 8) if lives is not None else b""
                elements += nest(1, nest(1, attribute(1, key[:-1] if bounds else key)) + flags + life)
            flags_ = CREATE if kind == _NEWSETELEM else 0
            yield kind, flags_, text(1, self._name) + text(2, name) + nest(3, elements)

    def _read_elements(self, name: str) -> Iterator[bytes]:
        bounds = self._sets[name].flags & INTERVAL
        for fields in self._read_fields(name):
            key = dict(parsed(fields.get(1, b""))).get(1)
            if key is not None:
                yield key + fields.get(3, START)[-1:] if bounds else key

    def _read_lives(self, name: str) -> Iterator[tuple[bytes, int]]:
        for fields in self._read_fields(name):
            key = dict(parsed(fields.get(1, b""))).get(1)
            if key is not None:
                yield key, int.from_bytes(fields.get(5, b"")) or 1

    def _read_fields(self, name: str) -> Iterator[dict[int, bytes]]:
        for attributes in self._dump(_GETSETELEM, text(1, self._name) + text(2, name)):
            for _, element in parsed(dict(parsed(attributes)).get(3, b"")):
                yield dict(parsed(element))

    def _read_back(self) -> None:
        # If they cannot be read now, the table is created again at the next chance, because others may have changed it.
        self._written, self._shape = (), ()
        with suppress(InterruptedError):
            self._shape = self._read_shape()
            self._written = self._read_rules()

    def _read_rules(self) -> tuple[tuple[bytes, bytes], ...]:
        """(chain, expressions) of each rule, without the values of counters."""
        return tuple(_plain(attributes) for attributes in self._dump(_GETRULE, text(1, self._name)))

    def _read_shape(self) -> tuple[tuple[bytes | None, ...], ...]:
        """The table's flags (one makes it dormant), then (name, hook, policy, type) of each chain."""
        name = self._name.encode() + b"\0"
        tables = [dict(parsed(attributes)) for attributes in self._dump(_GETTABLE, text(1, self._name))]
        chains = [dict(parsed(attributes)) for attributes in self._dump(_GETCHAIN, text(1, self._name))]
        return (
            *((fields.get(2),) for fields in tables if fields.get(1) == name),
            *(tuple(fields.get(kind) for kind in (3, 4, 5, 7)) for fields in chains if fields.get(1) == name),
        )

    def _dump(self, kind: int, attributes: bytes) -> list[bytes]:
        assert self._netfilter is not None
        return self._netfilter.ask(self._family, kind, attributes)

    def _run(self, *messages: tuple[int, int, bytes]) -> None:
        """Send the messages as one batch, all or nothing. Raises the kernel's first `OSError`."""
        assert self._netfilter is not None
        self._netfilter.change(self._family, messages)


def _plain(attributes: bytes) -> tuple[bytes, bytes]:
    """(chain, expressions) of a rule, without the values of counters."""
    fields = dict(parsed(attributes))
    plain = b""
    for _, expression in parsed(fields.get(4, b"")):
        parts = dict(parsed(expression))
        plain += parts.get(1, b"") + (b"" if parts.get(1) == b"counter\0" else parts.get(2, b""))
    return fields.get(2, b""), plain


def _set(each: Set, place: int) -> bytes:
    kind = 0
    for field in each.kinds:
        kind = kind << _TYPE_BITS | field
    # `order` tells only `nft` that the bytes of a string are in order (NFTNL_UDATA_SET_KEYBYTEORDER).
    order = attribute(13, struct.pack("=BBI", 0, 4, 1)) if each.kinds == (IFNAME,) else b""
    flags = number(3, each.flags) if each.flags else b""
    description = nest(9, number(1, each.size)) if each.size else b""
    shape = number(4, kind) + number(5, each.length) + description + number(10, place)
    return text(2, each.name) + flags + shape + order


def _chain(chain: Chain) -> bytes:
    if chain.hook < 0:
        return text(3, chain.name)
    hook = number(1, chain.hook) + number(2, chain.priority)
    return text(3, chain.name) + nest(4, hook) + text(7, "filter")

"""Answers to the usual questions for addresses, ready as bytes: made when a name changes, not when it is asked. Pure.

Usual is a question for A or AAAA of a name below the overlay's domain, with the flags that resolvers of hosts set, and
at most an OPT record without options. Everything else gives an empty answer and is left to `resolver`, which stays the
reference: for a usual question both come to the same, byte by byte. Bounded: one table with an entry for each name.

After a batch of changes the table is brought up to date in slices, one for each call; until then it answers nothing.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from overlay.dns.names import MAX_LABEL, MAX_NAME, packed
from overlay.dns.plain_query import encode_name
from overlay.dns.registry import NameRegistry
from overlay.env import Random

__all__ = ["ReadyAnswers"]

_SLICE: Final = 500
"""Names that one call brings up to date, in about 2 ms."""
_A: Final = b"\0\1\0\1"
_AAAA: Final = b"\0\x1c\0\1"
"""Type and class at the end of a question."""
_OPT: Final = b"\0\0\x29"
_OPT_SIZE: Final = 11
_MIN_UDP: Final = 512

_Records = bytes | tuple[tuple[bytes, ...], tuple[bytes, ...]]
"""The only record of a name if that is an A record, as nearly always; else its A records and its AAAA records."""


def _starts(additional: int) -> dict[bytes, tuple[bytes, bytes]]:
    """By flags and counts of a query: those of an answer with one record, and of one with only an authority."""
    found = {}
    for recursion in (0, 1):
        for more in (0x00, 0x10, 0x20, 0x30):  # "checking disabled" and "authentic data", which answers do not repeat
            query = bytes((recursion, more, 0, 1, 0, 0, 0, 0, 0, additional))
            flags = bytes((0x84 | recursion, 0x80, 0, 1))
            one, none = flags + bytes((0, 1, 0, 0, 0, additional)), flags + bytes((0, 0, 0, 1, 0, additional))
            found[query] = (one, none)
    return found


_PLAIN: Final = _starts(0)
_WITH_OPT: Final = _starts(1)


class ReadyAnswers:
    """The table. `opts`: the OPT records of answers, without and with the flag DO."""

    def __init__(self, registry: NameRegistry, rng: Random, ttl: int, authority: bytes, opts: tuple[bytes, bytes]):
        """`authority`: what a negative answer has instead of a record."""
        self._registry = registry
        self._rng = rng
        self._opts = opts
        self._authority = authority
        self._dotted = "." + registry.domain
        self._ending = encode_name(registry.domain) + _A
        longest = 12 + MAX_NAME + 2 + 4 + len(authority) + _OPT_SIZE
        self._denies = longest <= _MIN_UDP
        """With a very long domain a negative answer may not fit into a datagram."""
        self._before = {
            4: b"\xc0\x0c\0\1\0\1" + ttl.to_bytes(4, "big") + b"\0\4",
            16: b"\xc0\x0c\0\x1c\0\1" + ttl.to_bytes(4, "big") + b"\0\x10",
        }
        self._table: dict[bytes, _Records] = {}
        """By the question for A records, in lower case."""

    def __len__(self) -> int:
        return len(self._table)

    def answers(self, queries: Sequence[bytes]) -> list[bytes]:
        """The answer to each of these datagrams; an empty one where `resolver` has to decide."""
        if self._registry.changed is None or self._registry.changed:
            self._follow()
            if self._registry.changed:
                return [b""] * len(queries)
        found = []
        get, plain = self._table.get, _PLAIN.get
        for query in queries:
            start = plain(query[2:12])
            if start is None:
                found.append(self._with_opt(query))
                continue
            question = query[12:]
            records = get(question.lower())  # neither lengths of labels nor the type A change by that
            if records.__class__ is bytes:
                found.append(query[:2] + start[0] + question + records)
            else:
                found.append(self._composed(query[:2], start, question, b"", _MIN_UDP))
        return found

    def _with_opt(self, query: bytes) -> bytes:
        start = _WITH_OPT.get(query[2:12])
        opt = query[-_OPT_SIZE:]
        # Type OPT, version 0, no options.
        if start is None or opt[:3] != _OPT or opt[6] or opt[9:] != b"\0\0":
            return b""
        limit = max(_MIN_UDP, int.from_bytes(opt[3:5], "big"))
        return self._composed(query[:2], start, query[12:-_OPT_SIZE], self._opts[opt[7] >> 7], limit)

    def _composed(self, id: bytes, start: tuple[bytes, bytes], question: bytes, opt: bytes, limit: int) -> bytes:
        """The answer to any question, if it is usual."""
        asked = question[-4:]
        records = self._table.get(question[:-4].lower() + _A)
        if records is None or (asked != _A and asked != _AAAA):
            return b""
        both = ((records,), ()) if isinstance(records, bytes) else records
        wanted = both[asked == _AAAA]
        if len(wanted) == 1:
            return b"".join((id, start[0], question, wanted[0], opt))
        if not wanted:
            return b"".join((id, start[1], question, self._authority, opt)) if self._denies else b""
        if 12 + len(question) + sum(map(len, wanted)) + len(opt) > limit:
            return b""
        order = list(wanted)
        self._rng.shuffle(order)
        return b"".join((id, start[0][:4], len(order).to_bytes(2, "big"), start[0][6:], question, *order, opt))

    # --- changes ------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Bring some of the changed names up to date, or all if they are few."""
        changed = self._registry.changed
        if changed is None:
            self._table = {}
            changed = self._registry.follow()
        done = list(islice(changed, _SLICE))
        for name in done:
            del changed[name]
            key = self._key(name)
            if not key:
                continue
            records = self._records(name)
            if records:
                self._table[key] = records
            else:
                self._table.pop(key, None)

    def _key(self, name: str) -> bytes:
        """The question for its A records; empty if it is left to the resolver, or no question can name it."""
        # The domain itself, and names outside of it, do not end so.
        if not name.endswith(self._dotted) or not name.isascii() or len(name) > MAX_NAME + 1:
            return b""
        labels = name[: -len(self._dotted)].encode().split(b".")
        if not all(0 < len(label) <= MAX_LABEL for label in labels):
            return b""
        return b"".join([b"%c%b" % (len(label), label) for label in labels]) + self._ending

    def _records(self, name: str) -> _Records:
        before = self._before
        found = []
        for address in self._registry.addresses(name):
            data = packed(address)
            assert data is not None
            found.append(before[len(data)] + data)
        if len(found) == 1 and len(found[0]) == 16:
            return found[0]
        ours = tuple([record for record in found if len(record) == 16])
        return (ours, tuple([record for record in found if len(record) != 16])) if found else b""

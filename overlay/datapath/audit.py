"""Compares the kernel's tables with what the daemon believes is in them. Pure.

Owns the tables' format as data and the comparison. `kernel.audit` reads and repairs the tables, and decides when. Any
frame or program may change the kernel's state, so earlier writes prove nothing.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

__all__ = ["DEVICE", "FORWARDING", "NEIGHBOUR", "ORDER", "PORT", "VXLAN", "TableDifference", "Tables", "compare"]

DEVICE, PORT, VXLAN, FORWARDING, NEIGHBOUR, FILTER, ADDRESS = (
    "device", "port", "VXLAN entry", "bridge entry", "neighbour", "filter", "address",
)  # fmt: skip
ORDER = (DEVICE, PORT, ADDRESS, FILTER, VXLAN, FORWARDING, NEIGHBOUR)
"""The order of repairs: a table comes after the tables that it depends on."""

Tables = Mapping[str, Mapping[str, str]]
"""For each table, the value of each key."""


class TableDifference(Struct, frozen=True):
    """A key whose value in the kernel differs; an empty value means that the key is absent."""

    table: str
    key: str
    believed: str
    found: str

    def __str__(self) -> str:
        if not self.found:
            return f"{self.table} {self.key} was missing"
        if not self.believed:
            return f"{self.table} {self.key} was there ({self.found})"
        return f"{self.table} {self.key} was {self.found}, not {self.believed}"


def compare(believed: Tables, found: Tables, foreign: Callable[[str, str], bool]) -> tuple[TableDifference, ...]:
    """All differences, in the order of repair.

    `foreign(table, key)`: whether a key that is found but not believed may stay.
    """
    return tuple(difference for table in ORDER for difference in _of_table(table, believed, found, foreign))


def _of_table(
    table: str, believed: Tables, found: Tables, foreign: Callable[[str, str], bool]
) -> Iterator[TableDifference]:
    ours, theirs = believed.get(table, {}), found.get(table, {})
    if ours == theirs:
        return
    for key in sorted({**ours, **theirs}):
        want, have = ours.get(key, ""), theirs.get(key, "")
        if want != have and (want or not foreign(table, key)):
            yield TableDifference(table, key, want, have)

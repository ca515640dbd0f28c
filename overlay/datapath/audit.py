"""What the daemon believes of the kernel's tables, compared with what they hold. Pure.

Owns the tables' shapes as data and the comparison. Reading, mending and when it is done belong to `kernel.audit`.
Any frame or program may change a kernel's state; what was written once is no fact any more.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

__all__ = ["DEVICE", "FORWARDING", "NEIGHBOUR", "ORDER", "PORT", "VXLAN", "TableDifference", "Tables", "compare"]

DEVICE, PORT, VXLAN, FORWARDING, NEIGHBOUR, FILTER, ADDRESS = (
    "device", "port", "VXLAN entry", "bridge entry", "neighbour", "filter", "address",
)  # fmt: skip
ORDER = (DEVICE, PORT, ADDRESS, FILTER, VXLAN, FORWARDING, NEIGHBOUR)
"""In which what differs is mended: what stands on something else comes after it."""

Tables = Mapping[str, Mapping[str, str]]
"""By table, what is at each key."""


class TableDifference(Struct, frozen=True):
    """One key at which the kernel has something else; an empty value: nothing."""

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
    """All differences, in the order in which they are mended.

    `foreign(table, key)`: what is found there though nothing is believed may stay.
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

"""Inclusive intervals of integers. Pure; knows neither ports nor numbers of writes."""

from collections.abc import Iterable

__all__ = ["merged"]


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same integers in the fewest (first, last), sorted: those that overlap or touch become one."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)

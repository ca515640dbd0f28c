"""Inclusive intervals of integers. Pure; knows neither ports nor numbers of writes."""

from collections.abc import Iterable

__all__ = ["merged"]


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same integers in as few (first, last) as possible, sorted: overlapping or adjacent ranges are joined."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)

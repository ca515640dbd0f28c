"""Sets of numbers per writer, as sorted ranges. Pure."""

from collections.abc import Iterable

from overlay.policy.intervals import merged
from overlay.wire.policy import PolicySpan

__all__ = ["Spans"]

Ranges = tuple[tuple[int, int], ...]


class Spans:
    """A set of (writer, number), as inclusive ranges of numbers per writer. Immutable."""

    __slots__ = ("_ranges",)

    def __init__(self, spans: Iterable[PolicySpan] = ()) -> None:
        by_writer: dict[str, list[tuple[int, int]]] = {}
        for span in spans:
            by_writer.setdefault(span.writer, []).append((span.first, span.last))
        self._ranges: dict[str, Ranges] = {writer: merged(ranges) for writer, ranges in sorted(by_writer.items())}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(tuple(self._ranges.items()))

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __len__(self) -> int:
        """Number of ranges."""
        return sum(map(len, self._ranges.values()))

    def __contains__(self, dot: tuple[str, int]) -> bool:
        writer, number = dot
        return any(first <= number <= last for first, last in self._ranges.get(writer, ()))

    @property
    def writers(self) -> dict[str, Ranges]:
        """The sorted ranges of each writer. The caller must not change them."""
        return self._ranges

    def last(self, writer: str) -> int:
        """The highest number of a writer; 0 if it has none."""
        ranges = self._ranges.get(writer)
        return ranges[-1][1] if ranges else 0

    def listed(self) -> tuple[PolicySpan, ...]:
        """The wire form, sorted."""
        return tuple(
            PolicySpan(writer, first, last) for writer, ranges in self._ranges.items() for first, last in ranges
        )

    def union(self, other: "Spans") -> "Spans":
        """The numbers in either set."""
        return Spans((*self.listed(), *other.listed()))

    def minus(self, other: "Spans") -> "Spans":
        """The numbers in this set but not in the other."""
        left = []
        for writer, ranges in self._ranges.items():
            theirs = other._ranges.get(writer, ())
            for first, last in ranges:
                at = first
                for low, high in theirs:
                    if high < at or low > last:
                        continue
                    if low > at:
                        left.append(PolicySpan(writer, at, low - 1))
                    at = high + 1
                if at <= last:
                    left.append(PolicySpan(writer, at, last))
        return Spans(left)

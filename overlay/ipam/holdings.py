"""The addresses that this host's containers hold, and the free ones of an extent. Knows no peers and no protocols.

Addresses in the range are kept by offset, sorted, so that a query about an extent costs a bisection; those outside of
the range only by their text.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from overlay.ipam.ring import Extent
from overlay.ipam.universe import Subnet, Universe, parse_interface
from overlay.stored import understood

KEY = "ipam.addresses"

_stored = msgspec.msgpack.Decoder(dict[str, list[str]])


class Holdings:
    """container -> its addresses, and the reverse."""

    def __init__(self, universe: Universe, stored: Mapping[str, bytes]) -> None:
        """Raises `EnvironmentProblem` if the stored data cannot be read."""
        self._universe = universe
        self._by_container: dict[str, dict[str, str]] = {}
        """container -> {"a.b.c.d": "a.b.c.d/n"}, in the order of allocation."""
        self._outside: dict[str, str] = {}
        self._used: dict[int, str] = {}
        self._order: list[int] = []
        self._idle: dict[str, None] = {}
        if KEY in stored:
            with understood(KEY):
                for container, addresses in _stored.decode(stored[KEY]).items():
                    for text in addresses:
                        self.hold(container, text)

    def encode(self) -> bytes:
        """The data to write to disk."""
        return msgspec.msgpack.encode(self.by_container())

    def by_container(self) -> dict[str, list[str]]:
        """{container: ["a.b.c.d/n"]}."""
        return {container: list(held.values()) for container, held in self._by_container.items()}

    # --- changes ----------------------------------------------------------------------------------------------

    def hold(self, container: str, text: str) -> None:
        """Give "a.b.c.d/n" to `container`; no other container may hold that address."""
        address, _ = parse_interface(text)
        plain = str(address)
        offset = self._universe.offset(address)
        if offset is None:
            assert self._outside.setdefault(plain, container) == container, f"{plain} has another holder"
        else:
            assert self._used.setdefault(offset, container) == container, f"{plain} has another holder"
            if container not in self._by_container or plain not in self._by_container[container]:
                insort(self._order, offset)
        self._by_container.setdefault(container, {})[plain] = text

    def drop(self, container: str, plain: str = "") -> list[str]:
        """Take the address `plain` (empty: all) from `container`. Returns the removed addresses as "a.b.c.d/n"."""
        held = self._by_container.get(container, {})
        dropped = []
        for address in [plain] if plain else list(held):
            text = held.pop(address, None)
            if text is None:
                continue
            dropped.append(text)
            offset = self._universe.offset(parse_interface(text)[0])
            if offset is None:
                del self._outside[address]
            else:
                del self._used[offset]
                self._order.pop(bisect_left(self._order, offset))
        if not held:
            self._by_container.pop(container, None)
            self._idle.pop(container, None)
        return dropped

    def set_idle(self, container: str, idle: bool) -> None:
        """Set whether `container` keeps its addresses only until another container claims them."""
        if idle and container in self._by_container:
            self._idle[container] = None
        else:
            self._idle.pop(container, None)

    # --- queries ----------------------------------------------------------------------------------------------

    def of(self, container: str) -> tuple[str, ...]:
        """The addresses of `container`, each "a.b.c.d/n", in the order of allocation."""
        return tuple(self._by_container.get(container, {}).values())

    def in_subnet(self, container: str, subnet: Subnet) -> str | None:
        """An address that `container` holds in that subnet, with its prefix length."""
        for text in self._by_container.get(container, {}).values():
            address, prefix = parse_interface(text)
            offset = self._universe.offset(address)
            if prefix == subnet.prefix and offset is not None and subnet.start <= offset < subnet.end:
                return text
        return None

    def holder(self, offset: int) -> str | None:
        """The container that holds the address at `offset`."""
        return self._used.get(offset)

    def idle(self, container: str) -> bool:
        """Whether `container` has stopped."""
        return container in self._idle

    def text(self, offset: int) -> str:
        """The held address at `offset`, as "a.b.c.d/n"; empty if it is free."""
        held = self._by_container.get(self._used.get(offset, ""), {})
        return held.get(self._universe.address(offset), "")

    def outside_holder(self, plain: str) -> str | None:
        """The container that holds an address outside of the range."""
        return self._outside.get(plain)

    def offsets(self) -> list[int]:
        """All held offsets, sorted."""
        return list(self._order)

    def used(self, extent: Extent) -> int:
        """Number of held addresses in the extent."""
        return bisect_left(self._order, extent[1]) - bisect_left(self._order, extent[0])

    def free(self, extent: Extent) -> int:
        """Number of free addresses in the extent."""
        return extent[1] - extent[0] - self.used(extent)

    def lowest_free(self, extents: Iterable[Extent]) -> int | None:
        """The lowest free offset in the (sorted) extents."""
        for start, end in extents:
            below = bisect_left(self._order, start)
            if start >= end or self.free((start, end)) == 0:
                continue
            # order[i] - i never decreases with i, so bisection finds the first hole.
            low, high = below, bisect_left(self._order, end)
            while low < high:
                middle = (low + high) // 2
                if self._order[middle] - start == middle - below:
                    low = middle + 1
                else:
                    high = middle
            return start + low - below
        return None

    def gaps(self, extent: Extent) -> Iterator[Extent]:
        """The free parts of an extent, in order."""
        start, end = extent
        for offset in self._order[bisect_left(self._order, start) : bisect_left(self._order, end)]:
            if start < offset:
                yield start, offset
            start = offset + 1
        if start < end:
            yield start, end

    def check_invariants(self) -> None:
        """Assert that all indexes agree."""
        assert self._order == sorted(self._used), "the order is not that of the offsets"
        count = 0
        for container, held in self._by_container.items():
            assert held, f"{container} is kept without an address"
            for plain, text in held.items():
                offset = self._universe.offset(parse_interface(text)[0])
                holder = self._outside.get(plain) if offset is None else self._used.get(offset)
                assert holder == container, f"{text} is held by {holder}, not {container}"
                count += 1
        assert count == len(self._used) + len(self._outside), "addresses without a container"


def largest_block(gaps: Iterable[Extent], limit: int) -> Extent | None:
    """The largest CIDR block of at most `limit` addresses within one of the gaps; the highest of equals."""
    best: Extent | None = None
    size = 0
    for start, end in gaps:
        bits = min(end - start, limit).bit_length() - 1
        while bits >= 0 and 1 << bits >= size:
            block = 1 << bits
            low = (end - block) // block * block
            if low >= start:
                best, size = (low, low + block), block
                break
            bits -= 1
    return best

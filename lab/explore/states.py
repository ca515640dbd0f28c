"""The global states (of all peers together) that a run reached. Pure.

Owns the definition of a state: the views of all peers with names removed, that is, how many peers agree about what,
together with the faults in force. States are numbers that are equal in every process.
"""

from collections.abc import Iterable
from hashlib import blake2b

from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, Event, PeerGone, View

__all__ = ["states"]


def _number(*parts: object) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def states(records: Iterable[AnyRecord]) -> frozenset[int]:
    """The states of a run."""
    views: dict[str, View] = {}
    broken: dict[int, str] = {}
    found: set[int] = set()
    for record in records:
        if isinstance(record, Event):
            if verb_of(record.what).lasts:
                if record.phase == "start":
                    broken[record.step] = record.what
                else:
                    broken.pop(record.step, None)
            continue
        if isinstance(record, View):
            views[record.host] = record
        elif isinstance(record, PeerGone):
            views.pop(record.host, None)
        else:
            continue
        seen = list(views.values())
        agree = [_groups(getattr(view, what) for view in seen) for what in ("topology", "ring", "dns", "endpoints")]
        reach = sorted(view.reachable for view in seen)
        links = sorted(len(view.neighbours) for view in seen)
        shares = sum(view.ring_share > 0 for view in seen)
        found.add(_number(agree, reach, links, shares, sorted(set(broken.values()))))
    return frozenset(found)


def _groups(digests: Iterable[str]) -> tuple[int, ...]:
    """Sizes of the groups of equal digests, the largest first."""
    sizes: dict[str, int] = {}
    for digest in digests:
        sizes[digest] = sizes.get(digest, 0) + 1
    return tuple(sorted(sizes.values(), reverse=True))

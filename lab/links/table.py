"""All links of an underlay: which link holds from one host to another. Pure; knows nothing of what a link does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.links.values import Link

__all__ = ["Links"]

_PERFECT = Link()


@dataclass(frozen=True, slots=True)
class Links:
    """All links of an underlay: a default, the directions that differ, (sender, receiver) by host name, and between
    them in rank what holds from one region to another."""

    default: Link = _PERFECT
    pairs: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    """Host -> region."""
    regional: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    """(sender's region, receiver's region) -> link."""

    def between(self, sender: str, receiver: str) -> Link:
        """The link from one host to another; a host's link to itself is perfect."""
        if sender == receiver:
            return _PERFECT
        found = self.pairs.get((sender, receiver))
        return found if found is not None else self.below(sender, receiver)

    def below(self, sender: str, receiver: str) -> Link:
        """What holds for two hosts of which nothing is said as a pair: their regions', or the default."""
        if self.regional:
            ends = self.regions.get(sender, ""), self.regions.get(receiver, "")
            return self.regional.get(ends, self.default)
        return self.default

    def impaired(self, hosts: Sequence[str]) -> Iterator[tuple[str, str, Link]]:
        """(sender, receiver, link) of every direction among these hosts that is not perfect, in their order."""
        if self.default.perfect and not self.pairs and not self.regional:
            return
        for sender in hosts:
            for receiver in hosts:
                if not (link := self.between(sender, receiver)).perfect:
                    yield sender, receiver, link

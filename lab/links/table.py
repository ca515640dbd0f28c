"""All links of an underlay: which link applies from one host to another. Pure; knows nothing of what a link does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.links.values import Link

__all__ = ["Links"]

_PERFECT = Link()


@dataclass(frozen=True, slots=True)
class Links:
    """All links of an underlay. A direction between two hosts, (sender, receiver), takes precedence over the link
    between their regions, and that over the default."""

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
        """The link of two hosts that have none as a pair: that of their regions, or the default."""
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

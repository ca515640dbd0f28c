"""Policies as a run's checkers and invariants read them: one by one, sharing no code with what fills packet filters.

Pure. Owns the second reading, and who has heard of which change when hosts are cut apart.
"""

from collections.abc import Iterable, Mapping, Sequence

from overlay.compiled_policy import Protocol
from overlay.policy.directory import Member
from overlay.policy.words import Policy, parse

__all__ = ["Hearsay", "judged"]


def judged(protocol: Protocol, port: int, source: Member, target: Member, policies: Iterable[Policy]) -> bool | None:
    """What policies say of a flow between these two; None: nothing."""
    best: list[Policy] = []
    for policy in policies:
        about = source.fits(policy.source) and target.fits(policy.target)
        if policy.protocol and policy.protocol != protocol:
            about = False
        if policy.ports and not any(low <= port <= high for low, high in policy.ports):
            about = False
        if not about:
            continue
        if not best or policy.rank > best[0].rank:
            best = [policy]
        elif policy.rank == best[0].rank:
            best.append(policy)
    return all(policy.accept for policy in best) if best else None


class Hearsay:
    """Which changes of policies each host has heard of. Of one rule the last change that it has heard of counts."""

    def __init__(self) -> None:
        self._changes: list[tuple[Policy, bool]] = []
        """(policy, removed), as they were typed."""
        self._heard: dict[str, set[int]] = {}
        self._known: dict[str, tuple[Policy, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._changes)

    def typed(self, host: str, text: str, *, removed: bool) -> None:
        """Somebody has changed a policy on a host."""
        verb, _, rule = text.partition(" ")
        self._heard.setdefault(host, set()).add(len(self._changes))
        self._changes.append((parse(verb == "allow", rule), removed))
        self._known.pop(host, None)

    def talked(self, groups: Sequence[Sequence[str]]) -> None:
        """The peers of each group can reach each other."""
        for members in groups:
            heard = set[int]().union(*(self._heard.get(host, ()) for host in members))
            for host in members:
                if heard and heard != self._heard.get(host):
                    self._heard[host] = set(heard)
                    self._known.pop(host, None)

    def forgotten(self, host: str) -> None:
        """Its peer has lost its disk."""
        self._heard.pop(host, None)
        self._known.pop(host, None)

    def policies(self, host: str) -> tuple[Policy, ...]:
        """Those that stand, as far as a host has heard."""
        known = self._known.get(host)
        if known is None:
            standing: Mapping[str, Policy] = {}
            for index in sorted(self._heard.get(host, ())):
                policy, removed = self._changes[index]
                rest = {rule: other for rule, other in standing.items() if rule != policy.rule}
                standing = rest if removed else {**rest, policy.rule: policy}
            known = self._known[host] = tuple(standing.values())
        return known

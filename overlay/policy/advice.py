"""Objections to a policy before it takes effect, and explanations of which policy decides. Pure: words and a directory.

Owns the objections to policies that match nobody, contradict another or concern the overlay's own name server, and the
text of `weave policies --explain`.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import product

from overlay.compiled_policy import DNS_PORT, Address, CompiledPolicy, FlowRule, Protocol
from overlay.policy.directory import Directory, Member
from overlay.policy.words import Policy, Selector

__all__ = ["explain", "objections"]

MAX_FLOWS = 32
"""Limit of the flows that `explain` reports."""


def objections(
    policy: Policy, others: Sequence[Policy], directory: Directory, protected: Sequence[Address]
) -> Iterator[str]:
    """Reasons why a policy is probably a mistake, one sentence each."""
    for selector in dict.fromkeys((policy.source, policy.target)):
        yield from _nobody(selector, directory)
    yield from _contradictions(policy, others, directory)
    yield from _name_server(policy, protected)


def _nobody(selector: Selector, directory: Directory) -> Iterator[str]:
    if selector.kind in ("all", "subnet") or directory.find(selector):
        return
    if selector.kind == "name":
        known = sorted({name for member in directory.members for name in member.names})
        yield f"no container is called `{selector.text}`{_near(selector.text, known)}"
    elif selector.kind == "label":
        known = sorted({f"{key}={value}" for member in directory.members for key, value in member.labels})
        yield f"no container has the label `{selector.text}`{_near(selector.text, known)}"
    else:
        known = sorted({f"peer:{member.nickname}" for member in directory.members})
        yield f"no peer with containers is called `{selector.text.removeprefix('peer:')}`{_near(selector.text, known)}"


def _near(word: str, known: Sequence[str]) -> str:
    found = get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean `{found[0]}`?" if found else ""


def _contradictions(policy: Policy, others: Sequence[Policy], directory: Directory) -> Iterator[str]:
    for other in others:
        if other.accept == policy.accept:
            continue
        if other.rule == policy.rule:
            yield f"`{other.text}` says the opposite, and would be replaced"
        elif other.rank == policy.rank and (flow := _both(policy, other, directory)):
            yield f"`{other.text}` is as specific and says the opposite of {flow}; where both match, deny decides"


def _both(one: Policy, other: Policy, directory: Directory) -> str:
    """A flow that both policies match; empty if there is none now."""
    if one.protocol and other.protocol and one.protocol != other.protocol:
        return ""
    if one.ports and other.ports and not any(a <= d and c <= b for a, b in one.ports for c, d in other.ports):
        return ""
    sources = _common(one.source, other.source, directory)
    targets = _common(one.target, other.target, directory)
    if not sources or not targets:
        return ""
    return f"{sources[0]} to {targets[0]}"


def _common(one: Selector, other: Selector, directory: Directory) -> list[str]:
    if one == other:
        return [one.text]
    return [member.shown for member in directory.members if member.fits(one) and member.fits(other)]


def _name_server(policy: Policy, protected: Sequence[Address]) -> Iterator[str]:
    if policy.accept or policy.protocol == "icmp":
        return
    if policy.target.kind == "all" and any(first <= DNS_PORT <= last for first, last in policy.ports):
        yield (
            "it is about the name server of every container: the overlay's own DNS answers in spite of it, and name "
            "servers in containers do not"
        )
    elif policy.target.kind == "subnet" and not _spares(policy):
        for address in protected:
            if address.version == policy.target.network.version and address in policy.target.network:
                yield f"the overlay's own DNS answers at {address} and no policy cuts it: this one has no effect there"


def _spares(policy: Policy) -> bool:
    return bool(policy.ports) and not any(first <= DNS_PORT <= last for first, last in policy.ports)


# --- explanations -----------------------------------------------------------------------------------------------------


def explain(
    sources: Sequence[Member | Address],
    targets: Sequence[Member | Address],
    filters: dict[str, CompiledPolicy],
    own: str,
    ports: Sequence[tuple[Protocol | None, int]],
) -> list[str]:
    """A line for each pair and each protocol and port: whether it passes, and which policy decides.

    `filters`: the filter of each container's peer; `own` is the peer used for addresses without a container.
    """
    lines: list[str] = []
    for source, target in product(sources, targets):
        if source == target:
            continue
        for one, other in product(_addresses(source), _addresses(target)):
            if one.version != other.version:
                continue
            for protocol, port in ports:
                if len(lines) == MAX_FLOWS:
                    return [*lines, f"... and more: name containers by address to see all of {MAX_FLOWS} and more"]
                peers = dict.fromkeys(each.peer if isinstance(each, Member) else own for each in (source, target))
                who = f"{_named(source, one)} to {_named(target, other)}{_flow(protocol, port)}"
                lines.append(f"{who}: {_verdict(one, other, protocol, port, [filters[peer] for peer in peers])}")
    return lines


def _verdict(
    one: Address, other: Address, protocol: Protocol | None, port: int, filters: Iterable[CompiledPolicy]
) -> str:
    verdicts = [(each, *each.decide(one, other, protocol, port)) for each in filters]
    each, accept, rule = next((found for found in verdicts if not found[1]), verdicts[0])
    if rule is not None:
        text = f"{'allowed' if accept else 'denied'} by `{rule.name}`"
    elif port == DNS_PORT and other in each.protected:
        text = "allowed, as the overlay's own DNS always is"
    else:
        text = "allowed by default" if accept else "denied by default (--default-deny)"
    if protocol is None:
        text += _exceptions(each, one, other, accept)
    return text


def _exceptions(policy: CompiledPolicy, one: Address, other: Address, accept: bool) -> str:
    """For a verdict without a port or protocol: the more specific policies that decide otherwise."""
    found: dict[str, None] = {}
    for rule in policy.rules:
        specific = bool(rule.protocol)
        if specific and rule.accept != accept and _about(rule, one, other):
            found[rule.name] = None
        elif not specific and rule.matches(one, other, None, 0):
            break
    return f"; but `{'`, `'.join(found)}`" if found else ""


def _about(rule: FlowRule, one: Address, other: Address) -> bool:
    return rule.matches(one, other, rule.protocol, rule.ports[0][0] if rule.ports else 0)


def _addresses(who: Member | Address) -> tuple[Address, ...]:
    return who.addresses if isinstance(who, Member) else (who,)


def _named(who: Member | Address, address: Address) -> str:
    return f"{who.shown} ({address})" if isinstance(who, Member) else str(address)


def _flow(protocol: Protocol | None, port: int) -> str:
    return f" {protocol}" + (f" port {port}" if port else "") if protocol else ""

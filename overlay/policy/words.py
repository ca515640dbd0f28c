"""The syntax of a policy: `from web to db:5432`. Text in, data out, and the canonical text that all peers store.

Owns the grammar, what a selector matches, and which policy is more specific. Knows no peers and no packets.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Final, Literal

from overlay.compiled_policy import Network, Protocol
from overlay.errors import UsageError
from overlay.policy.intervals import merged
from overlay.wire.policy import MAX_RULE

__all__ = ["ALL", "MAX_RULE", "Policy", "Selector", "parse", "parse_target", "selector"]

MAX_PORTS = 16
PROTOCOLS: Final[tuple[Protocol, ...]] = ("tcp", "udp", "icmp")

Kind = Literal["all", "peer", "subnet", "label", "name"]
Ports = tuple[tuple[int, int], ...]
Rank = tuple[tuple[int, int], tuple[int, int], int]

_RANKS: Final[dict[str, int]] = {"all": 0, "peer": 1, "subnet": 2, "label": 3, "name": 4}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_LABEL = re.compile(r"[A-Za-z0-9_./-]{1,128}=[!-~]{0,256}")
_PEER = re.compile(r"[!-~]{1,128}")
_PEER_NAME = re.compile(r"peer:[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PORTED = re.compile(r"(.*):([0-9][0-9,-]*)")
_PROTOCOL = re.compile(r"(.*)/(tcp|udp|icmp)")


@dataclass(frozen=True)
class Selector:
    """Selects members. `text` is its canonical form: `all`, a name, `KEY=VALUE`, a subnet, `peer:NAME`."""

    kind: Kind
    text: str

    @cached_property
    def network(self) -> Network:
        """The network of a subnet selector."""
        return ip_network(self.text)

    @cached_property
    def rank(self) -> tuple[int, int]:
        """Higher is more specific. A subnet of one address counts as a name."""
        if self.kind != "subnet":
            return _RANKS[self.kind], 0
        whole = self.network.prefixlen == self.network.max_prefixlen
        return (_RANKS["name"], 0) if whole else (_RANKS["subnet"], self.network.prefixlen)


ALL: Final = Selector("all", "all")


@dataclass(frozen=True)
class Policy:
    """Whether `source` may open flows to `target`.

    `ports` and `protocol` are as in `compiled_policy.FlowRule`, except that ports without a protocol are those of TCP
    and of UDP.
    """

    accept: bool
    source: Selector
    target: Selector
    ports: Ports = ()
    protocol: Protocol | None = None

    @cached_property
    def rule(self) -> str:
        """The canonical text without the verb: two policies that differ only in the verb have the same rule."""
        return f"from {self.source.text} to {_target(self.target, self.ports, self.protocol)}"

    @cached_property
    def text(self) -> str:
        """The text to type after `weave`."""
        return f"{'allow' if self.accept else 'deny'} {self.rule}"

    @cached_property
    def rank(self) -> Rank:
        """How specific it is: destination, source, port, in this order. The higher rank decides first."""
        return self.target.rank, self.source.rank, 2 if self.ports else 1 if self.protocol else 0

    @cached_property
    def order(self) -> tuple[object, ...]:
        """Sort key: the most specific policy first; of equally specific ones, deny first."""
        (to, to_length), (source, source_length), what = self.rank
        return -to, -to_length, -source, -source_length, -what, self.accept, self.rule


def parse(accept: bool, rule: str) -> Policy:
    """The policy of `from X to Y`. Raises `UsageError` that names the fault."""
    if len(rule) > MAX_RULE:
        raise UsageError(f"a policy of {len(rule)} characters: expected {MAX_RULE} at the most")
    words = rule.split(" ")
    if len(words) != 4 or words[0] != "from" or words[2] != "to":
        raise UsageError(f"policy `{rule}`: expected `from X to Y[:PORT][/PROTOCOL]`, X and Y without blanks")
    source = _source(words[1])
    target, ports, protocol = parse_target(words[3])
    if source.kind == target.kind == "subnet" and source.network.version != target.network.version:
        raise UsageError(f"policy `{rule}` contradicts itself: no packet has an IPv4 and an IPv6 address")
    return Policy(accept, source, target, ports, protocol)


def _source(text: str) -> Selector:
    bare = _unbracketed(text)
    if bare is not None:
        return selector(bare)
    found = _PORTED.fullmatch(text)
    if found is not None and "=" not in text and not text.startswith("peer:") and not _is_network(text):
        raise UsageError(f"`from {text}`: ports belong to the destination, as `to {text}`")
    return selector(text)


def parse_target(text: str) -> tuple[Selector, Ports, Protocol | None]:
    """`db`, `db:5432`, `db:53,8000-8100/udp`, `10.2.0.0/16/icmp`, `[fd00::/64]:80`. Raises `UsageError`."""
    protocol: Protocol | None = None
    found = _PROTOCOL.fullmatch(text)
    if found is not None:
        text = found[1]
        protocol = next(each for each in PROTOCOLS if each == found[2])
    ports: Ports = ()
    bare = _unbracketed(text)
    if bare is None and not _is_network(text) and not _PEER_NAME.fullmatch(text.lower()):
        found = _PORTED.fullmatch(text)
        if found is not None:
            text, ports = found[1], _ports(found[2])
            bare = _unbracketed(text)
    if ports and protocol == "icmp":
        raise UsageError(f"`{text}` with ports and `/icmp` contradicts itself: ICMP has no ports")
    return selector(text if bare is None else bare), ports, protocol


def selector(text: str) -> Selector:
    """The selector of a word. Raises `UsageError`."""
    if text.lower() in ("all", "any"):
        return ALL
    if text.startswith("peer:"):
        peer = text.removeprefix("peer:")
        if _PEER.fullmatch(peer) is None:
            raise UsageError(f"`{text}`: expected `peer:` and a peer's name or nickname")
        return Selector("peer", f"peer:{peer}")
    if "=" in text:
        if _LABEL.fullmatch(text) is None:
            raise UsageError(f"label `{text:.80}`: expected KEY=VALUE in ASCII without blanks")
        return Selector("label", text)
    if _is_network(text):
        return Selector("subnet", _spelt(ip_network(text)))
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        pass
    else:
        own = ip_address(text.partition("/")[0])
        raise UsageError(f"`{text}` is an address with a prefix: expected {loose} (all of it) or {own}")
    if _NAME.fullmatch(text) is None or not text.strip("0123456789."):
        raise UsageError(
            f"`{text:.80}`: expected all, the name of a container, KEY=VALUE, an address, a subnet or peer:NAME"
        )
    return Selector("name", text.lower().rstrip("."))


def _is_network(text: str) -> bool:
    if "%" in text:
        return False
    try:
        ip_network(text)
    except ValueError:
        return False
    # `ip_network` also accepts a bare number and a netmask.
    return ("." in text or ":" in text) and not (text.count(".") > 3)


def _spelt(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _unbracketed(text: str) -> str | None:
    return text[1:-1] if text.startswith("[") and text.endswith("]") else None


def _ports(text: str) -> Ports:
    ranges = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not (_is_port(low) and (_is_port(high) if dash else True)):
            raise UsageError(f"ports `{text}`: expected 1 to 65535, as 80 or 80,443 or 8000-8100")
        first, last = int(low), int(high or low)
        if first > last:
            raise UsageError(f"ports `{part}` contradict themselves: expected {last}-{first}")
        ranges.append((first, last))
    found = merged(ranges)
    if len(found) > MAX_PORTS:
        raise UsageError(f"{len(found)} ranges of ports: expected {MAX_PORTS} at the most; use several policies")
    return found


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535


def _target(target: Selector, ports: Ports, protocol: Protocol | None) -> str:
    text = target.text
    if (ports and ":" in text) or not _survives(target):
        text = f"[{text}]"
    if ports:
        text += ":" + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ports)
    return f"{text}/{protocol}" if protocol else text


def _survives(target: Selector) -> bool:
    """Whether the text of a selector parses as that selector where ports may follow it."""
    try:
        return parse_target(target.text) == (target, (), None)
    except UsageError:
        return False

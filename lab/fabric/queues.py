"""What the fabric holds back: rate and delay per link, as text for `tc -batch`.

Pure. A link is a pair of hosts, but a port of exit serves all senders: it gets one HTB class per sender with a link of
its own, chosen by the priority that `rules.py` writes on the packet, and netem below the class where the link asks for
delay and its kin. A class is a token bucket like tbf's, and one that several links can share a port with.
"""

from collections.abc import Mapping, Sequence

from lab.fabric.plan import MTU, Interface, ports_between
from lab.fabric.rules import queued
from lab.links import Distribution, Link, Links

UNLIMITED = 100_000_000_000
"""Bits per second of a class that must not limit."""
_BURST_TIME = 1_000_000
"""Nanoseconds of rate that may pass at once: one timer tick of a kernel with HZ=1000, else tokens are lost."""
_BACKLOG_TIME = 100_000_000
"""Nanoseconds of rate that wait in front of a limited link before packets are dropped."""
_SECOND = 1_000_000_000


def queue_commands(
    everyone: Mapping[str, Sequence[Interface]], links: Links, classes: Mapping[tuple[str, str], int], receiver: str
) -> str:
    """For `tc -batch` in the fabric: the queues at the ports of one host. `classes`: `rules.class_map` of them all."""
    if not classes:
        return ""
    lines: list[str] = []
    rooted: set[str] = set()
    for sender in everyone:
        link = links.between(sender, receiver)
        if not queued(link):
            continue
        for ports in ports_between(everyone, sender, receiver):
            port, minor = ports[1], classes[ports]
            if port not in rooted:
                rooted.add(port)
                lines.append(f"qdisc add dev {port} root handle 1: htb default 1")
                lines.append(htb_class(port, 1, UNLIMITED))
            lines.append(htb_class(port, minor, link.rate or UNLIMITED))
            if link.timed:
                lines.append(f"qdisc add dev {port} parent 1:{minor:x} {netem(link)}")
            elif link.rate:
                lines.append(f"qdisc add dev {port} parent 1:{minor:x} bfifo limit {backlog(link.rate)}")
    return "".join(line + "\n" for line in lines)


def backlog(rate: int) -> int:
    """Bytes that wait in front of a link of this rate."""
    return max(rate * _BACKLOG_TIME // _SECOND // 8, 10 * MTU)


def netem(link: Link) -> str:
    """The netem queue of a link; loss and MTU are the rules', the rate is the class'."""
    words = ["netem limit 100000"]
    if link.delay:
        words.append(f"delay {link.delay / 1000:g}us")
        if link.jitter:
            words.append(f"{link.jitter / 1000:g}us")
            if link.distribution is not Distribution.UNIFORM:
                words.append(f"distribution {link.distribution.value}")
    if link.burst is not None:
        burst = link.burst
        words.append(
            f"loss gemodel {_percent(burst.enter)} {_percent(burst.leave)} {_percent(burst.bad)} {_percent(burst.good)}"
        )
    for name in ("duplicate", "corrupt", "reorder"):
        if value := getattr(link, name):
            words.append(f"{name} {_percent(value)}")
    return " ".join(words)


def htb_class(port: str, minor: int, rate: int) -> str:
    """One class of a port: its share is `rate` bits per second."""
    burst = max(rate * _BURST_TIME // _SECOND // 8, 2 * MTU)
    return f"class add dev {port} parent 1: classid 1:{minor:x} htb rate {rate}bit burst {burst} cburst {burst}"


def _percent(value: float) -> str:
    return f"{value * 100:.6f}%"

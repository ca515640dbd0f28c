"""The fabric's queues: rate and delay per link, as text for `tc -batch`.

Pure. A link is a pair of hosts, but an exit port serves all senders: it gets one HTB class per sender with its own
link, selected by the priority that `rules.py` sets on the packet, and netem below the class if the link has a delay or
similar. A class is a token bucket like tbf's, but several links can share a port.
"""

from lab.fabric.plan import MTU
from lab.links import Distribution, Link

UNLIMITED = 100_000_000_000
"""Bits per second of a class that must not limit."""
_BURST_TIME = 1_000_000
"""Burst in nanoseconds of rate: one timer tick of a kernel with HZ=1000, because tokens are lost otherwise."""
_BACKLOG_TIME = 100_000_000
"""Queue length in nanoseconds of rate before packets are dropped."""
_SECOND = 1_000_000_000


def root_commands(port: str) -> list[str]:
    """For `tc -batch` in the fabric: prepare a port for a queue per sender."""
    return [f"qdisc add dev {port} root handle 1: htb default 1", htb_class(port, 1, UNLIMITED)]


def queue_commands(port: str, minor: int, link: Link) -> list[str]:
    """For `tc -batch` in the fabric: set one sender's queue at a port; packets in it stay."""
    lines = [htb_class(port, minor, link.rate or UNLIMITED)]
    if link.rate and not link.timed:
        return [*lines, f"qdisc replace dev {port} parent 1:{minor:x} bfifo limit {backlog(link.rate)}"]
    return [*lines, f"qdisc replace dev {port} parent 1:{minor:x} {netem(link)}"]


def drain_commands(port: str, minor: int, *, delayed: bool) -> list[str]:
    """For `tc -batch` in the fabric: release the packets of a queue that is no longer used. `delayed`: it is netem."""
    lines = [htb_class(port, minor, UNLIMITED)]
    return [*lines, f"qdisc replace dev {port} parent 1:{minor:x} {netem(Link())}"] if delayed else lines


def backlog(rate: int) -> int:
    """Maximum queue bytes of a link with this rate."""
    return max(rate * _BACKLOG_TIME // _SECOND // 8, 10 * MTU)


def netem(link: Link) -> str:
    """The netem queue of a link; rules implement loss and MTU, the class the rate."""
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
    return f"class replace dev {port} parent 1: classid 1:{minor:x} htb rate {rate}bit burst {burst} cburst {burst}"


def _percent(value: float) -> str:
    return f"{value * 100:.6f}%"

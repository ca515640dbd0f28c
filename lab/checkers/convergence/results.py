"""The results of convergence: what is measured, and the values of one change. Computes nothing."""

from msgspec import Struct

__all__ = ["HOLD", "METRICS", "ConvergenceState", "EventConvergence"]

METRICS = ("topology", "ring", "dns", "reachability")
HOLD = 3_000_000_000
"""Nanoseconds that a metric must stay true to count as settled."""


class EventConvergence(Struct, frozen=True, kw_only=True):
    """The result of one change. Times in nanoseconds."""

    t: int
    """When the change took effect, since the start of the run."""
    step: int
    what: str
    phase: str
    label: str
    until: int
    """When the next change took effect, or the history ended."""
    ended_by: str = ""
    """Label of the next change; empty at the end of the history."""
    metrics: dict[str, int | None]
    """Metric -> nanoseconds from the change until it settled, None if it never did. Only metrics that apply."""
    overall: int | None
    """Nanoseconds until all of them held together."""
    lapses: dict[str, int]
    """Metric -> how often it was lost after it had settled."""
    half: int | None = None
    """Like `metrics`: until half of the disturbed pairs were correct. Also None if no pair was disturbed."""
    after: dict[str, int] = {}
    """Metric (and "overall", "half") -> lower bound of its time in nanoseconds: when it was last known not to hold.
    Equal to the time if that is known exactly."""
    floor: dict[str, int] = {}
    """Metric -> nanoseconds below which its time cannot be measured: the interval of its probes."""
    waited: bool = False
    """The next change waited for this one (`expect: converged`), so the end of the window depends on the measured
    value."""


class ConvergenceState(Struct, frozen=True, kw_only=True):
    """Whether everything holds now, and what is still missing."""

    since: int
    """When the last change took effect."""
    metrics: dict[str, bool]
    converged: bool
    waiting: tuple[str, ...]
    """The missing conditions in words, worst first; at most a few entries."""

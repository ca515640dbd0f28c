"""One comparison of two sweeps: its numbers, and the sentence about it. Pure; knows no samples and makes no tests."""

from msgspec import Struct

from lab.sweep.groups import FIGURE_OF, TRAFFIC

__all__ = ["MetricDifference", "sentence"]

_WORDS = {"half": "until half of the pairs are as they should be",
          "overall": "until all has settled", "bytes_per_peer": "bytes sent per peer",
          "messages_per_peer": "messages per peer", "valid": "share of valid runs"}  # fmt: skip


class MetricDifference(Struct, frozen=True, kw_only=True):
    """The comparison of one metric after one event, for one assignment. Times in seconds."""

    setting: str
    event: str
    """Empty: the whole run; `figure`: a figure of a protocol's run."""
    metric: str
    runs: tuple[int, int]
    a: float | None
    """Median of the first sweep; None: not reached in half of the runs. For `valid`, the share."""
    b: float | None
    ratio: float | None
    """b / a; None where it is undefined."""
    low: float | None
    high: float | None
    """Its 95 % bootstrap interval."""
    superiority: float
    """Probability that a run of B is above a run of A; ties count half."""
    p: float
    """After Holm's correction; for a primary outcome, among the primary ones alone."""
    paired: bool
    """Whether runs of equal seeds were compared."""
    differs: bool
    alike: bool
    """Whether the difference is certainly within the margin; False if no margin is given."""
    words: str
    floor: float = 0.0
    """Seconds between two tries of the probes that measure this; of a smaller median only this upper
    bound is known."""
    waited: bool = False
    """Steps waited for this metric, and some runs did not reach it, so their censoring time depends on the measured
    value."""


def sentence(item: MetricDifference) -> str:
    """One sentence about one comparison."""
    if item.event == FIGURE_OF:
        what, where = item.metric.replace("_", " "), ""
    else:
        what = _WORDS.get(item.metric, f"until {item.metric} has settled")
        where = f" after {item.event}" if item.event else ""
    where += f" with {item.setting}" if item.setting else ""
    head = what + where
    if not item.differs:
        if item.low is not None and item.high is not None:
            if item.low == item.high == 1:
                both = _shown(item, item.a)
                return f"{head}: no difference found; both medians are {both} ({_p(item.p)})"
            return (
                f"{head}: no difference found; B is {item.low:.2f} to {item.high:.2f} times A, if at all ({_p(item.p)})"
            )
        return f"{head}: no difference found ({_p(item.p)})"
    low, high = (_shown(item, value) for value in (item.a, item.b))
    more = item.superiority > 0.5
    if item.metric == "valid":
        direction = "more runs are valid" if more else "fewer runs are valid"
    elif item.event == FIGURE_OF:
        direction = "B is greater" if more else "B is smaller"
    elif item.metric in TRAFFIC:
        direction = "B sends more" if more else "B sends less"
    else:
        direction = "B takes longer" if more else "B is sooner"
    if low == high:
        # The distributions differ although their medians are equal in all shown digits.
        text = f"{head}: {direction} in most pairs of runs, though both medians are {low}"
    else:
        text = f"{head}: {direction}: {high} instead of {low}"
    if item.ratio is not None and low != high:
        text += f", {item.ratio:.2f} times"
        text += f" (95 % interval {item.low:.2f} to {item.high:.2f})" if item.low is not None and item.high else ""
    share = max(item.superiority, 1 - item.superiority)
    if item.metric != "valid":
        pairs = "seeds" if item.paired else "pairs of runs"
        text += f"; so in {100 * share:.0f} of 100 {pairs}"
    if item.waited:
        text += "; a step waits for this, so runs that were cut short may not be like the others"
    return f"{text}; {_p(item.p)}"


def _shown(item: MetricDifference, value: float | None) -> str:
    if value is None:
        return "not reached"
    if item.event == FIGURE_OF:
        return f"{value:,.4g}"
    if value < item.floor:
        return f"at most {_time(item.floor)}"
    if item.metric == "valid":
        return f"{value:.0%}"
    return f"{value:,.0f}" if item.metric in TRAFFIC else _time(value)


def _time(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"

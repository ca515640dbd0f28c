"""The resolution of each settling time, and how such a time is formatted. Pure.

A probe sees a change only at its next try. A view reports a change at once, so `topology` and `ring` have no floor. The
floor of `reachability` is the longest interval of its probes, that of `dns` the longest interval of name probes, the
overall floor the larger of both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lab.kinds.probes import asks_name
from lab.words import span

__all__ = ["bounded", "floors", "limit"]


def floors(plans: Iterable[Mapping[str, Any]], kinds: Iterable[str]) -> dict[str, int]:
    """Metric -> longest interval of its series in nanoseconds; missing where the metric has no series.

    `plans`: the probes of a resolved scenario; `kinds`: the probe kind of each series.
    """
    series = Counter(kinds)
    found: dict[str, int] = {}
    for plan in plans:
        kind = str(plan.get("kind"))
        if not series[kind]:
            continue
        metric = "dns" if asks_name(kind) else "reachability"
        # Pairs of a plan with a rate take turns.
        every = int(plan.get("rate") or 0) * series[kind] or int(plan.get("every") or 0)
        found[metric] = max(every, found.get(metric, 0))
    if found:
        found["overall"] = max(found.values())
    if "reachability" in found:
        found["half"] = found["reachability"]
    return found


def limit(took: int, after: int | None, floor: int) -> int:
    """The upper bound of a time: its measured value, or the floor if the first try after the change was good."""
    return max(took, floor) if after == 0 else took


def bounded(took: int | None, after: int | None, floor: int) -> str:
    """A time with its bounds: `3.47 s` if exact, `≤ 200 ms` below the floor, otherwise `3.47–3.67 s`."""
    if took is None or after is None or after >= took:
        return span(took)
    if after == 0:
        return f"≤ {span(limit(took, after, floor))}"
    low, high = span(after), span(took)
    number, _, unit = low.rpartition(" ")
    # Name a common unit once.
    return high if low == high else f"{number if high.endswith(f' {unit}') else low}–{high}"

"""How finely each time to settle can be measured, and how such a time is said. Pure.

No probe sees a change before its next try. A view says at once when it changes, so `topology` and `ring` have no floor;
`reachability` has the longest interval of the probes that it is judged by, `dns` that of probes of names, all together
the longer of both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lab.kinds.probes import asks_name
from lab.words import span

__all__ = ["bounded", "floors", "limit"]


def floors(plans: Iterable[Mapping[str, Any]], kinds: Iterable[str]) -> dict[str, int]:
    """Metric -> nanoseconds between two tries of the series that is asked least often; missing where none is asked.

    `plans`: the probes of a resolved scenario; `kinds`: of each series that is asked."""
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
    """What a time was within: its upper bound, or the floor, if the first try after the change was good."""
    return max(took, floor) if after == 0 else took


def bounded(took: int | None, after: int | None, floor: int) -> str:
    """A time with its bounds: `3.47 s` where it is known, `≤ 200 ms` below the floor, else `3.47–3.67 s`."""
    if took is None or after is None or after >= took:
        return span(took)
    if after == 0:
        return f"≤ {span(limit(took, after, floor))}"
    low, high = span(after), span(took)
    number, _, unit = low.rpartition(" ")
    # Of one unit it is said once.
    return high if low == high else f"{number if high.endswith(f' {unit}') else low}–{high}"

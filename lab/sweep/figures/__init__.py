"""The figures of a sweep: distributions of convergence times, their growth with a parameter, traffic per peer.

One kind, one file; each draws from the groups of a sweep, in the style of `lab.plots.style`. The same points give the
same bytes.
"""

from collections.abc import Iterator, Sequence

import msgspec
from matplotlib.figure import Figure as Canvas

from lab.figures.told import Told
from lab.plots.style import DrawnFigure, context, renders
from lab.sweep.figures.distribution import distribution
from lab.sweep.figures.scaling import scaling
from lab.sweep.figures.traffic import traffic
from lab.sweep.groups import Group, headline, number, settling, varying

__all__ = ["figures"]

_MOST_EVENTS = 6


def figures(groups: Sequence[Group], formats: Sequence[str] = ("png",), style: str = "screen") -> list[DrawnFigure]:
    """All figures for which these points have data, the most informative first."""
    with context(style):
        return [
            DrawnFigure(**msgspec.structs.asdict(text), pictures=renders(picture, formats))
            for text, picture in _drawn(groups)
        ]


def _drawn(groups: Sequence[Group]) -> Iterator[tuple[Told, Canvas]]:
    events = settling(groups)
    first = headline(events)
    ordered = [first, *(event for event in events if event != first)][:_MOST_EVENTS] if events else []
    yield from (distribution(groups, event) for event in ordered[:1])
    for path, values in varying(groups).items():
        if all(number(value) is not None for value in values):
            found = scaling(groups, path, ordered)
            yield from [] if found is None else [found]
    found = traffic(groups, events)
    yield from [] if found is None else [found]
    yield from (distribution(groups, event) for event in ordered[1:])

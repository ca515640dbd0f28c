"""Figures of a stored history: each a pure function of a `RecordedRun` to a picture, its data as CSV, a title that
states the finding and a caption. The same history gives the same bytes (with the same versions of the libraries).

Importing this package imports matplotlib: nothing that runs before or inside a lab may.
"""

from collections.abc import Callable

from lab.checkers.run import RecordedRun
from lab.plots import advice  # noqa: F401
from lab.plots.convergence import convergence
from lab.plots.dns import dns
from lab.plots.latency import latency
from lab.plots.reachability import matrices, timeline
from lab.plots.style import Figure, context
from lab.plots.topology import topology

__all__ = ["FIGURES", "Figure", "figures"]

FIGURES: tuple[Callable[[RecordedRun], Figure | None], ...] = (timeline, convergence, topology, matrices, latency, dns)
"""In the order of the report; each gives None when the history has nothing for it."""


def figures(run: RecordedRun, doing: Callable[[str], None] = lambda name: None) -> list[Figure]:
    """All figures that this history has something for; `doing` hears the name of the next one."""
    drawn = []
    with context():
        for draw in FIGURES:
            doing(draw.__name__)
            figure = draw(run)
            drawn += [] if figure is None else [figure]
    return drawn

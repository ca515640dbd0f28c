"""The texts of a run's figures: each is a pure function from a `RecordedRun` to a title that states the finding, a
caption, and its numbers as CSV. `lab.plots` draws the same figures for papers; the page of a run draws its own.

Imports no drawing library, because every run needs the texts, but only some need pictures.
"""

from collections.abc import Callable

from lab.checkers.run import RecordedRun
from lab.figures.convergence import convergence
from lab.figures.dns import dns
from lab.figures.latency import latency
from lab.figures.matrices import matrices
from lab.figures.reachability import timeline
from lab.figures.told import FORMATS, STYLES, Told
from lab.figures.topology import topology
from lab.figures.underlay import underlay

__all__ = ["FIGURES", "FORMATS", "STYLES", "Told", "told"]

FIGURES: tuple[Callable[[RecordedRun], Told | None], ...] = (
    timeline,
    convergence,
    topology,
    underlay,
    matrices,
    latency,
    dns,
)
"""In the order of the report; each returns None when the history has no data for it."""


def told(run: RecordedRun, doing: Callable[[str], None] = lambda name: None) -> list[Told]:
    """All figures for which this history has data; `doing` is called with the name of the next one."""
    found = []
    for tell in FIGURES:
        doing(tell.__name__)
        figure = tell(run)
        found += [] if figure is None else [figure]
    return found

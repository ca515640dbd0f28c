"""What the figures of a run say: each a pure function of a `RecordedRun` to a title that states the finding, a caption,
and its numbers as CSV. `lab.plots` draws pictures of the same for paper, the page of a run draws them itself.

Imports no library that draws: every run is told this way, only some are printed.
"""

from collections.abc import Callable

from lab.checkers.run import RecordedRun
from lab.figures.convergence import convergence
from lab.figures.dns import dns
from lab.figures.latency import latency
from lab.figures.matrices import matrices
from lab.figures.reachability import timeline
from lab.figures.told import FORMATS, Told
from lab.figures.topology import topology
from lab.figures.underlay import underlay

__all__ = ["FIGURES", "FORMATS", "Told", "told"]

FIGURES: tuple[Callable[[RecordedRun], Told | None], ...] = (
    timeline,
    convergence,
    topology,
    underlay,
    matrices,
    latency,
    dns,
)
"""In the order of the report; each gives None when the history has nothing for it."""


def told(run: RecordedRun, doing: Callable[[str], None] = lambda name: None) -> list[Told]:
    """All figures that this history has something for; `doing` hears the name of the next one."""
    found = []
    for tell in FIGURES:
        doing(tell.__name__)
        figure = tell(run)
        found += [] if figure is None else [figure]
    return found

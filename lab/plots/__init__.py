"""Pictures of a stored history, for papers, print and the gallery: each a pure function of a `RecordedRun`.

Their texts (title, caption, table) are in `lab.figures`. The same history gives the same bytes (with the same versions
of the libraries). Importing this package imports matplotlib, so nothing that runs before or inside a lab may import it,
nor may the code that makes a page.
"""

from collections.abc import Callable, Iterator, Sequence

from matplotlib.figure import Figure as Canvas

from lab.checkers.run import RecordedRun
from lab.plots import advice  # noqa: F401
from lab.plots.convergence import convergence
from lab.plots.dns import dns
from lab.plots.latency import latency
from lab.plots.matrices import matrices
from lab.plots.reachability import timeline
from lab.plots.style import context, render
from lab.plots.topology import topology
from lab.plots.underlay import underlay

__all__ = ["pictures"]

_DRAW: dict[str, Callable[[RecordedRun], Canvas | None]] = {
    "reachability": timeline,
    "convergence": convergence,
    "topology": topology,
    "underlay": underlay,
    "matrices": matrices,
    "latency": latency,
    "dns": dns,
}


def pictures(
    run: RecordedRun,
    formats: Sequence[str],
    doing: Callable[[str], None] = lambda name: None,
    style: str = "screen",
) -> Iterator[tuple[str, str, bytes]]:
    """(name, format, picture) of all figures for which this history has data; `doing` is called with the
    next name; `style` is one of `lab.plots.style.STYLES`."""
    with context(style):
        for name, draw in _DRAW.items():
            doing(name)
            canvas = draw(run)
            if canvas is not None:
                for form in formats:
                    yield name, form, render(canvas, form)

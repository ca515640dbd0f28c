"""The condition `converged`: all peers that can reach each other agree, and every probe has its expected result."""

from typing import Literal

from lab.contracts.fault import Bench
from lab.contracts.plan import Judgement
from lab.kinds.checkers import Checker
from lab.scenario.generators import pieces
from lab.scenario.resolve import Resolved

All = Literal["all"]


def _in_pieces(scenario: Resolved) -> tuple[str, ...]:
    """The reason why a disconnected graph does not converge, unless other steps connect it."""
    number = len(pieces(scenario.edges, tuple(scenario.hosts))) if scenario.edges is not None else 1
    return (f"the graph is in {number} pieces",) if number > 1 else ()


class _Converged(Checker[All]):
    name = "converged"
    model = All
    form = "`converged: all`"
    about = (
        "in every group of hosts that can reach each other all peers have equal views (mesh, ring, names), and every "
        "probe does what it should"
    )

    async def judge(self, body: All, bench: Bench, since: int) -> Judgement:
        """Judge by the tracker; additionally, a series without a measurement since the last change has
        not converged."""
        tracker = bench.live.tracker
        state = tracker.state()
        if not state.converged:
            waiting = state.waiting or ("nothing yet to agree about",)
            return Judgement(False, (*_in_pieces(bench.scenario), *waiting))
        unknown = [
            f"{probe} {source} → {target}: no answer to a fresh try yet"
            for probe, source, target in bench.probing.series
            if tracker.world.should((probe, source, target)) is not None
            and bench.live.fresh((probe, source, target), state.since) is None
        ]
        return Judgement(not unknown, tuple(unknown))


KIND = _Converged()

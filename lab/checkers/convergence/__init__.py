"""How long after each change the peers agree with each other again, and with the expected state. Pure.

From each change until the next one, four metrics are watched independently:

- `topology`: in every group of hosts that can reach each other all peers have the same view of the mesh, and that
  view contains exactly the peers of the group;
- `ring`: they know exactly their group, and their views of the owners of address ranges are equal;
- `dns`: the same for names, and every DNS probe gets the expected answer;
- `reachability`: every HTTP and ICMP probe that should succeed does, every other one (across a cut) does not.

A metric's time, counted from the change, is when it became true *and stayed so* for `HOLD`, or until the step of the
next change began. A later loss is not part of convergence; it is counted in `lapses`. A probe counts from its first try
that was due after the change; a good try counts from the arrival of its answer. On lossy links a series is bad only
after more failures in a row than the links would cause by themselves (`lab.checkers.losses`).

Views report a change at once; probes report it with their next try. So a time that ends with a probe is only known
within bounds: above the due time of the last bad try, which is `after`, and up to the first good answer. The same
bounds hold for the latest of many series. `half` is the median time of the series that the change disturbed (those
whose expected result changed, and those with a bad try).

A metric that holds at the end of the history, but for less than `HOLD`, is not reached, because it might not have
lasted. Its time is longer than the last bad try; more is not known. If the next step cuts it short, it is reached: many
steps wait for exactly that, and the end of a wait must not count as a censored time (`waited`).

`ConvergenceTracker` works record by record (the runner's `expect: converged` reads its `state()`); `convergence` runs
one over a whole history. A record costs O(1), except for changes, which cost one pass over hosts and series.
"""

from lab.checkers.convergence.results import HOLD, METRICS, ConvergenceState, EventConvergence
from lab.checkers.convergence.tracker import ConvergenceTracker, convergence

__all__ = ["HOLD", "METRICS", "ConvergenceState", "ConvergenceTracker", "EventConvergence", "convergence"]

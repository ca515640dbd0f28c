"""`python -m benchmarks.published [NAME…]`: the experiments in full, and their page in `reports/published`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.published import plumtree, swim
from benchmarks.published.claims import Experiment, write_report

EXPERIMENTS: dict[str, Callable[[], Experiment]] = {"swim": swim.run, "plumtree": plumtree.run}
FOLDER = Path("reports/published")


def main(names: list[str]) -> int:
    """1 when a claim does not hold."""
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        print(f"no experiment named {', '.join(unknown)}; there are: {', '.join(EXPERIMENTS)}", file=sys.stderr)
        return 2
    found = []
    for name in names or EXPERIMENTS:
        begun = time.perf_counter()
        found.append(EXPERIMENTS[name]())
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
        for claim in found[-1].claims:
            told = {True: "holds", False: "DOES NOT HOLD", None: "-"}[claim.holds]
            paper = "-" if claim.paper is None else f"{claim.paper:.3g}"
            print(f"  {claim.what}: {paper} -> {claim.measured:.3g} {told}")
    print(f"-> {write_report(found, FOLDER)}")
    return int(any(claim.holds is False for one in found for claim in one.claims))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

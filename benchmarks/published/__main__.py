"""`python -m benchmarks.published [NAME…]`: the experiments in full, and their page in `reports/published`.

The cores are the compiled ones where these are built and not switched off (`lab.compiled.parts.SWITCH`).
"""

import sys
import time
from collections.abc import Callable

from lab.compiled.loading import use

FOLDER = "reports/published"


def main(names: list[str]) -> int:
    """1 when a claim does not hold."""
    use()  # before anything imports them

    from pathlib import Path

    from benchmarks.published import plumtree, swim
    from benchmarks.published.claims import Experiment, write_report

    experiments: dict[str, Callable[[], Experiment]] = {"swim": swim.run, "plumtree": plumtree.run}
    if unknown := [name for name in names if name not in experiments]:
        print(f"no experiment named {', '.join(unknown)}; there are: {', '.join(experiments)}", file=sys.stderr)
        return 2
    found = []
    for name in names or experiments:
        begun = time.process_time()
        found.append(experiments[name]())
        print(f"{name}: {time.process_time() - begun:.0f} s of processor time", flush=True)
        for claim in found[-1].claims:
            told = {True: "holds", False: "DOES NOT HOLD", None: "-"}[claim.holds]
            paper = "-" if claim.paper is None else f"{claim.paper:.3g}"
            print(f"  {claim.what}: {paper} -> {claim.measured:.3g} {told}")
    print(f"-> {write_report(found, Path(FOLDER))}")
    return int(any(claim.holds is False for one in found for claim in one.claims))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m lab.bench [NAME…]`: run the benchmarks, print their tables, write `reports/bench/<name>.json`."""

import sys
from collections.abc import Callable, Sequence

from lab.bench import bringup, datapath, heal
from lab.bench.rows import Row, publish

BENCHES: dict[str, Callable[[], list[Row]]] = {"bringup": bringup.run, "datapath": datapath.run, "heal": heal.run}


def main(names: Sequence[str]) -> int:
    """Run these benchmarks, all when none is named; 2 for a name that does not exist."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        path = publish(name, BENCHES[name]())
        print(f"-> {path}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m lab.dist [TARGET]`: the command of `make dist`."""

import sys
from pathlib import Path

from lab.dist.pack import pack
from lab.dist.wheels import MACHINES, PYTHONS, wheels
from lab.errors import LabError

TOP = Path(__file__).resolve().parents[2]
_MOST = 25_000_000
"""Maximum size in bytes."""


def main(words: list[str]) -> int:
    """Write the file; returns 0 if done, 2 if not possible."""
    target = Path(words[0]) if words else TOP / "dist" / "weave"
    try:
        pack(target, wheels(TOP, lambda text: print(text, file=sys.stderr, flush=True)))
        size = target.stat().st_size
        if size > _MOST:
            raise LabError(f"{target} has {size / 1e6:.1f} MB, more than {_MOST / 1e6:g}")
    except LabError as error:
        print(f"dist: {error}", file=sys.stderr)
        return 2
    print(f"{target}: {size / 1e6:.1f} MB, for Python {PYTHONS[0]} to {PYTHONS[-1]} on {' and '.join(MACHINES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

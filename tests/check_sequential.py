"""Does an experiment that stops when its intervals are narrow keep what its intervals say? On made-up runs.

`make check-statistics` runs it. For several kinds of times it plays the rule of `lab.experiment.stopping` (20 seeds at
first, 10 more each round, 200 at most) on thousands of made-up settings, and prints how often the 95 % interval covers
the true median where the rule stopped, next to how often it does with a fixed number of seeds.

    python tests/check_sequential.py [SETS]
"""

import sys
from collections.abc import Callable

import numpy as np

from lab.experiment.description import Precision, Seeds
from lab.experiment.stopping import more
from lab.sweep.statistics import CensoredSample, median

Draw = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, tuple[Draw, float]] = {
    "lognormal, sigma 0.6": (lambda rng, n: rng.lognormal(0, 0.6, n), 1.0),
    "lognormal, sigma 0.3": (lambda rng, n: rng.lognormal(0, 0.3, n), 1.0),
    "exponential": (lambda rng, n: rng.exponential(1, n), float(np.log(2))),
}
PRECISIONS = (0.2, 0.4)
SEEDS = Seeds(at_least=20, at_most=200, step=10)


def play(draw: Draw, truth: float, relative: float, sets: int) -> tuple[float, float, float]:
    """(coverage where the rule stopped, mean number of seeds, coverage with 20 seeds)."""
    covered = fixed = seeds = 0
    asked = Precision(relative=relative)
    assert asked.relative is not None
    for number in range(sets):
        values = draw(np.random.default_rng([7, number]), SEEDS.at_most)
        n = 0
        while True:
            wanted = more(SEEDS, n)
            if wanted == n:
                break
            n = wanted
            found = median(CensoredSample(values[:n].tolist()), seed=number, resamples=400)
            inside = found.low <= truth <= found.high
            fixed += inside and n == SEEDS.at_least
            if found.high - found.low <= asked.relative * found.value:
                break
        covered += inside
        seeds += n
    return covered / sets, seeds / sets, fixed / sets


def main() -> int:
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(
        f"{sets:,} settings each; {SEEDS.at_least} seeds at first, {SEEDS.step} more a round, {SEEDS.at_most} at most"
    )
    worst = 1.0
    for name, (draw, truth) in KINDS.items():
        for relative in PRECISIONS:
            coverage, mean, fixed = play(draw, truth, relative, sets)
            worst = min(worst, coverage)
            print(f"{name}, {relative:.0%} wide: covers {coverage:.3f} with {mean:.0f} seeds on average; "
                  f"with {SEEDS.at_least} seeds always {fixed:.3f}", flush=True)  # fmt: skip
    return 0 if worst >= 0.90 else 1


if __name__ == "__main__":
    sys.exit(main())

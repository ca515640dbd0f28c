"""The candidates of the simulator's benchmarks: the cores as Python interprets them, and compiled where they can be."""

from lab.compiled.building import build, missing

INTERPRETED, COMPILED = "interpreted", "compiled"


def candidates() -> dict[str, bool]:
    """The kinds of cores that can be measured here, the slower one first; whether they are compiled. Compiles them."""
    if lack := missing():
        print(f"only as interpreted: {lack}", flush=True)
        return {INTERPRETED: False}
    build(lambda text: print(text, flush=True))
    return {INTERPRETED: False, COMPILED: True}

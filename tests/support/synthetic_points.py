"""Points of sweeps as runs would give them, made up from a seed: for tests of tables, pages and comparisons only."""

from collections.abc import Iterable
from random import Random

from lab.sweep.measure import EventResult, Point

S = 1_000_000_000
FILE = "scenarios/partition-0123456789ab.yaml"


def point(seed: int, hosts: int | None = None, *, factor: float = 1.0, verdict: str = "valid") -> Point:
    """A run of a partition: settles after the launch, and after the heal `factor` times as late as usual."""
    random = Random(f"{seed} {hosts}")
    size = hosts or 2
    heal = random.lognormvariate(0, 0.3) * 0.3 * factor * (1 + size**0.5 / 10)
    times = {name: round(heal * S * random.uniform(0.6, 1)) for name in ("topology", "ring", "dns")}
    late = random.random() < 0.05
    events = (
        EventResult(
            name="run",
            label="run all",
            window=10 * S,
            times={
                **{name: round(S * random.uniform(0.1, 0.3)) for name in ("topology", "ring", "dns", "reachability")},
                "overall": round(0.3 * S),
            },
            bytes_per_peer=4000.0 * size + random.randrange(1000),
            messages_per_peer=20.0 * size,
        ),
        EventResult(
            name="partition",
            label="partition a | b",
            window=10 * S,
            times={"topology": round(3.5 * S + random.random() * S), "overall": None if late else 5 * S},
            bytes_per_peer=900.0 + random.randrange(300),
            messages_per_peer=12.0,
        ),
        EventResult(
            name="heal",
            label="heal",
            window=6 * S,
            times=times | {"reachability": round(heal * S), "overall": None if late else round(heal * S)},
            bytes_per_peer=1500.0 * size**0.5 + random.randrange(400),
            messages_per_peer=9.0 * size**0.5,
        ),
    )
    return Point(
        key=f"{seed}/{hosts}/{factor}",
        parameters={"topology.hosts": str(hosts)} if hosts is not None else {},
        seed=seed,
        verdict=verdict,
        reason="" if verdict == "valid" else "step 9: expected converged all within 5s; b: no peer seen yet",
        events=events,
        peers=size,
        bytes_per_peer=30_000.0,
        messages_per_peer=220.0,
        duration=40 * S,
        wall=0.2,
        backend="sim",
        scenario_file=FILE,
        replay=f"lab run reports/partition/sweep/{FILE} --backend sim --seed {seed}",
    )


def points(seeds: Iterable[int], hosts: Iterable[int | None] = (None,), *, factor: float = 1.0) -> list[Point]:
    """One for each seed and number of hosts."""
    wanted = list(seeds)
    return [point(seed, count, factor=factor) for count in hosts for seed in wanted]

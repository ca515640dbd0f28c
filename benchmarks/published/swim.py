"""SWIM (Das, Gupta, Motivala, DSN 2002): first detection after e/(e-1) periods whatever the size; load flat in it.

Taken from the paper: in each period every member pings one other, chosen at random; a member that failed is noticed by
the members that ping it, at the end of that period. So the expected number of periods until the first detection is
1/(1 - (1 - 1/(N-1))^(N-1)), which tends to e/(e-1) = 1.58. A period counts that begins after the failure, up to the end
of the one in which it was noticed. That analysis has periods in step (`aligned`); where each member begins when it
likes, the time from the failure is what is reported apart.
"""

from collections.abc import Sequence
from math import e
from typing import NamedTuple

from benchmarks.published.claims import Claim, Experiment
from lab.protocols.swim import Swim
from lab.sim.member_world import MemberWorld
from overlay.env import MILLISECOND, SECOND

__all__ = ["detections", "load", "run"]

PERIOD = SECOND
EXPECTED = e / (e - 1)
LIVES = 10
"""Periods that a victim stays away; the chance that nobody has pinged it by then is about e^-10."""


class Detections(NamedTuple):
    """Failures of one group, and how soon each was noticed first."""

    size: int
    periods: list[int]
    """Whole periods that had begun after the failure."""
    times: list[float]
    """Periods since the failure, as a time."""
    missed: int

    @property
    def mean(self) -> float:
        """Of the periods."""
        return sum(self.periods) / len(self.periods)


def _group(size: int, seed: int, *, aligned: bool) -> MemberWorld:
    """A group that knows itself."""
    world = MemberWorld(Swim, size, {"suspicion": False, "lifeguard": False, "aligned": aligned}, seed=seed)
    world.begin(world.names)
    for name in world.names[1:]:
        world.join(name, world.names[0])
        world.run(PERIOD // 20)
    for _ in range(size + 100):
        world.run(PERIOD)
        if len({world.group.view(name) for name in world.names}) == 1:
            return world
    raise AssertionError("the group does not meet")


def detections(size: int, failures: int, seed: int = 1, *, aligned: bool = True) -> Detections:
    """Let members fail, one of 64 at a time, and come back."""
    world = _group(size, seed, aligned=aligned)
    at_once = max(1, size // 64)
    rng = world.world.network._rng
    while len(world.group.failures) < failures:
        # Within a period, but not while its pings are under way: they take less than a millisecond.
        world.run(PERIOD - world.now % PERIOD + rng.randrange(100 * MILLISECOND, PERIOD))
        victims = rng.sample(world.names, at_once)
        world.kill(victims)
        world.run(LIVES * PERIOD)
        world.begin(victims)
        for name in victims:
            world.join(name, next(other for other in world.names if other not in victims))
        world.run(4 * PERIOD)
    noticed = [one for one in world.group.failures if one.first is not None and one.first - one.t < LIVES * PERIOD]
    return Detections(
        size,
        [one.first // PERIOD - one.t // PERIOD - 1 for one in noticed if one.first is not None],
        [(one.first - one.t) / PERIOD for one in noticed if one.first is not None],
        len(world.group.failures) - len(noticed),
    )


def load(size: int, periods: int, seed: int = 1) -> tuple[float, float]:
    """(messages, bytes) that a member sends in a period while nothing happens."""
    world = _group(size, seed, aligned=False)
    world.run(20 * PERIOD)  # until the news of the beginning are old
    before = [sum(counts[index] for counts in world.group.kinds.values()) for index in (0, 1)]
    world.run(periods * PERIOD)
    after = [sum(counts[index] for counts in world.group.kinds.values()) for index in (0, 1)]
    messages, size_sent = ((now - then) / size / periods for now, then in zip(after, before, strict=True))
    return messages, size_sent


def run(sizes: Sequence[int] = (16, 32, 64, 128, 256), failures: int = 600, periods: int = 60) -> Experiment:
    """Both claims."""
    claims, rows = [], []
    loads = {size: load(size, periods) for size in sizes}
    for size in sizes:
        found = detections(size, failures)
        apart = detections(size, failures, aligned=False)
        exact = 1 / (1 - (1 - 1 / (size - 1)) ** (size - 1))
        time = sum(apart.times) / len(apart.times)
        rows.append((size, len(found.periods), found.missed, exact, found.mean, time, *loads[size]))
        claims.append(Claim(f"periods until the first detection, N = {size}", EXPECTED, found.mean, source="e/(e-1)"))
    first = loads[sizes[0]]
    for index, what in enumerate(("messages", "bytes")):
        worst = max((loads[size][index] / first[index] for size in sizes), key=lambda ratio: abs(ratio - 1))
        claims.append(
            Claim(f"{what} a member and period, worst of all N over N = {sizes[0]}", 1.0, worst, source="flat in N")
        )
    header = ("N", "failures", "missed", "exact", "periods", "time, not in step", "messages", "bytes")
    return Experiment(
        "swim",
        "SWIM: first detection and load",
        (__doc__ or "").partition("\n\n")[2],
        claims,
        [
            (
                "`exact` is the formula for this N; `messages` and `bytes` are those of a member in a period.",
                header,
                rows,
            )
        ],
    )

"""A random schedule of faults: what is broken, when, for how long. Pure; a function of its seed.

Owns which faults there are and which may overlap. Two things are never done to one host's machine at once (a daemon
that is to start on a host that is off proves nothing); partitions overlap with everything.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from lab.scenario_values import UNITS, format_duration
from overlay.env import Random

__all__ = ["Fault", "Schedule", "draw"]

_MS, _S = UNITS["ms"], UNITS["s"]
_STEP = 100 * _MS
"""Times are whole multiples of it: easier to read, and ties happen, where the bugs are."""
_MARGIN = 3 * _S
"""Between two things done to one host's machine."""
_TRIES = 40


class Fault(Struct, frozen=True, kw_only=True):
    """One fault that ends by itself. `at` counts from the first one (ns)."""

    at: int
    verb: str
    body: dict[str, Any]
    """Of the step, without `for`."""
    lasts: int

    def step(self) -> dict[str, Any]:
        """The step of a timeline."""
        return {self.verb: {**self.body, "for": format_duration(self.lasts)}}

    @property
    def machines(self) -> tuple[str, ...]:
        """Hosts on whose machine it lays hands; a clock is apart from the rest."""
        if self.verb == "churn":
            return tuple(self.body["hosts"])
        if self.verb == "clock":
            return (f"clock of {self.body['host']}",)
        return tuple(str(self.body[key]) for key in ("daemon", "host", "service") if key in self.body)

    @property
    def end(self) -> int:
        """When it is over."""
        return self.at + self.lasts


Schedule = tuple[Fault, ...]
"""In the order of their beginnings."""


def draw(
    hosts: Sequence[str], services: dict[str, str], seed: int, *, most: int = 8, length: int = 20 * _S
) -> Schedule:
    """Up to `most` faults that begin within `length`; `services` are those with one container: service -> its host."""
    rng = Random(f"explore {seed}")
    faults: list[Fault] = []
    wanted = rng.randint(1, most)
    for _ in range(_TRIES):
        if len(faults) == wanted:
            break
        drawn = _fault(rng, hosts, services, length)
        if drawn is not None and not _collides(drawn, faults, services):
            faults.append(drawn)
    faults.sort(key=lambda fault: fault.at)
    return tuple(faults)


def _fault(rng: Random, hosts: Sequence[str], services: dict[str, str], length: int) -> Fault | None:
    at = rng.randrange(length // _STEP) * _STEP
    lasts = _lasts(rng)
    body: dict[str, Any]
    match rng.randrange(12):
        case 0 | 1 | 2 | 3:
            return Fault(at=at, verb="partition", body=_partition(rng, hosts), lasts=lasts)
        case 4 | 5:
            return Fault(at=at, verb="kill", body={"daemon": rng.choice(hosts)}, lasts=lasts)
        case 6 | 7:
            return Fault(at=at, verb="kill", body={"host": rng.choice(hosts)}, lasts=lasts)
        case 8 if services:
            return Fault(at=at, verb="kill", body={"service": rng.choice(list(services))}, lasts=lasts)
        case 9:
            body = {"host": rng.choice(hosts)} | (
                {"full": True}
                if rng.randrange(3) == 0
                else {"latency": format_duration(rng.choice((20, 200, 900)) * _MS)}
            )
            return Fault(at=at, verb="slow_disk", body=body, lasts=lasts)
        case 10:
            body = {"host": rng.choice(hosts), "drift_ppm": rng.choice((-50_000, -500, 500, 50_000))}
            if rng.randrange(2):
                body["offset"] = format_duration(rng.choice((1, 30, 3600)) * _S)
            return Fault(at=at, verb="clock", body=body, lasts=lasts)
        case 11 if len(hosts) > 2:
            members = sorted(rng.sample(list(hosts), rng.randint(2, len(hosts))), key=list(hosts).index)
            body = {
                "every": format_duration(rng.choice((500, 1000, 3000)) * _MS),
                "kind": rng.choice(("poisson", "fixed")),
                "hosts": members,
                "target": rng.choice(("daemon", "daemon", "host")),
                "crash": rng.choice(("0%", "50%", "100%")),
                "keep": 1,
            }
            return Fault(at=at, verb="churn", body=body, lasts=max(lasts, 3 * _S))
    return None


def _lasts(rng: Random) -> int:
    """Mostly short: what is noticed in the midst of something is more dangerous than what is long over."""
    return rng.choice((1, 3, 8, 15, 30, 45, 60, 100, 200)) * _STEP


def _partition(rng: Random, hosts: Sequence[str]) -> dict[str, Any]:
    shapes = ["groups", "one_way", "isolate"] + (["bridge"] if len(hosts) > 2 else [])
    shapes += ["ring"] if len(hosts) >= 5 else []
    match rng.choice(shapes):
        case "groups":
            shuffled = rng.sample(list(hosts), len(hosts))
            number = rng.randint(2, min(4, len(hosts)))
            cuts = sorted(rng.sample(range(1, len(hosts)), number - 1))
            bounds = zip([0, *cuts], [*cuts, len(hosts)], strict=True)
            return {"groups": [sorted(shuffled[low:high], key=list(hosts).index) for low, high in bounds]}
        case "one_way":
            senders = rng.sample(list(hosts), rng.randint(1, len(hosts) - 1))
            receivers = [name for name in hosts if name not in senders]
            return {"one_way": {"from": senders, "to": rng.sample(receivers, rng.randint(1, len(receivers)))}}
        case "isolate":
            return {"isolate": rng.sample(list(hosts), rng.randint(1, max(1, len(hosts) // 2)))}
        case "bridge":
            return {"bridge": rng.choice(hosts)}
    return {"ring": "majorities"}


def _collides(fault: Fault, others: Sequence[Fault], services: dict[str, str]) -> bool:
    mine = _touched(fault, services)
    return any(
        mine & _touched(other, services) and fault.at < other.end + _MARGIN and other.at < fault.end + _MARGIN
        for other in others
    )


def _touched(fault: Fault, services: dict[str, str]) -> set[str]:
    return {services.get(name, name) for name in fault.machines}

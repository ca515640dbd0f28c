"""A random schedule of faults: what is broken, when, for how long. Pure; a function of its seed.

Owns which faults there are and which may overlap: all of them may, with each other and on one host, for each heals on
its own time (`lab.faults.upkeep`). Changes of what runs (scaled, removed and run again, one more address) are commands,
which must be able to succeed: they begin and end while nothing is broken, but perhaps a moment before something is; and
nothing else is done to a service meanwhile, for what is not there cannot be killed or removed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from lab.scenario.values import UNITS, format_duration
from overlay.env import Random

__all__ = ["OBSTACLES", "Schedule", "ScheduledFault", "draw", "hindered"]

_MS, _S = UNITS["ms"], UNITS["s"]
_STEP = 100 * _MS
"""Times are whole multiples of it: easier to read, and ties happen, where the bugs are."""
_MARGIN = 3 * _S
"""From the end of a fault until a command is given again."""
_TRIES = 40
CHANGES = ("scale", "remove", "attach", "policy")
"""Verbs that change what runs, or who may speak to whom, and are undone by another step."""
OBSTACLES = ("block", "mtu")
_HARMLESS = (*CHANGES, "clock")
"""Beside these a command succeeds."""


class ScheduledFault(Struct, frozen=True, kw_only=True):
    """One fault that ends by itself. `at` counts from the first one (ns)."""

    at: int
    verb: str
    body: dict[str, Any]
    """Of the step, without `for`."""
    lasts: int
    undo: dict[str, Any] | None = None
    """The step that ends it; None: it says itself for how long it lasts."""

    def step(self) -> dict[str, Any]:
        """The step of a timeline with which it begins."""
        return {self.verb: self.body if self.undo else {**self.body, "for": format_duration(self.lasts)}}

    @property
    def service(self) -> str:
        """The service of which it changes what runs, or kills it; empty: of none."""
        return str((self.body.get("services") or [self.body.get("service", "")])[0])

    @property
    def end(self) -> int:
        """When it is over."""
        return self.at + self.lasts


Schedule = tuple[ScheduledFault, ...]
"""In the order of their beginnings."""


def draw(
    hosts: Sequence[str],
    services: dict[str, str],
    seed: int,
    *,
    elastic: Mapping[str, int] = {},
    attachable: Sequence[str] = (),
    policed: Sequence[str] = (),
    most: int = 8,
    length: int = 20 * _S,
) -> Schedule:
    """Up to `most` faults that begin within `length`; `services` are those with one container: service -> its host.

    `elastic` are services that may be scaled, and how many containers they have; `attachable` those whose one container
    may get one more address; `policed` those that a policy may name, which hosts are told by their `weave` command.
    """
    rng = Random(f"explore {seed}")
    faults: list[ScheduledFault] = []
    wanted = rng.randint(1, most)
    for _ in range(_TRIES):
        if len(faults) == wanted:
            break
        drawn = _fault(rng, hosts, services, length)
        if drawn is None and policed and rng.randrange(3) == 0:
            drawn = _policy(rng, hosts, policed, len(faults), length)
        if drawn is None:
            drawn = _change(rng, elastic, attachable, len(faults), length)
        if drawn is not None and not _collides(drawn, faults):
            faults.append(drawn)
    faults.sort(key=lambda fault: fault.at)
    return tuple(faults)


def _fault(rng: Random, hosts: Sequence[str], services: dict[str, str], length: int) -> ScheduledFault | None:
    at = rng.randrange(length // _STEP) * _STEP
    lasts = _lasts(rng)
    body: dict[str, Any]
    match rng.randrange(16):
        case 0 | 1 | 2 | 3:
            return ScheduledFault(at=at, verb="partition", body=_partition(rng, hosts), lasts=lasts)
        case 4 | 5:
            return ScheduledFault(at=at, verb="kill", body={"daemon": rng.choice(hosts)}, lasts=lasts)
        case 6 | 7:
            return ScheduledFault(at=at, verb="kill", body={"host": rng.choice(hosts)}, lasts=lasts)
        case 8 if services:
            return ScheduledFault(at=at, verb="kill", body={"service": rng.choice(list(services))}, lasts=lasts)
        case 9:
            body = {"host": rng.choice(hosts)} | (
                {"full": True}
                if rng.randrange(3) == 0
                else {"latency": format_duration(rng.choice((20, 200, 900)) * _MS)}
            )
            return ScheduledFault(at=at, verb="slow_disk", body=body, lasts=lasts)
        case 10:
            body = {"host": rng.choice(hosts), "drift_ppm": rng.choice((-50_000, -500, 500, 50_000))}
            if rng.randrange(2):
                body["offset"] = format_duration(rng.choice((1, 30, 3600)) * _S)
            return ScheduledFault(at=at, verb="clock", body=body, lasts=lasts)
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
            return ScheduledFault(at=at, verb="churn", body=body, lasts=max(lasts, 3 * _S))
        case 12 if len(hosts) > 1:
            among = sorted(rng.sample(list(hosts), rng.randint(2, len(hosts))), key=list(hosts).index)
            body = {"hosts": among} | rng.choice(({"udp": 6784}, {"udp": 6783}, {"tcp": 6783}))
            return ScheduledFault(at=at, verb="block", body=body, lasts=lasts)
        case 13 if len(hosts) > 1:
            among = sorted(rng.sample(list(hosts), rng.randint(2, len(hosts))), key=list(hosts).index)
            return ScheduledFault(
                at=at, verb="mtu", body={"to": rng.choice((700, 1200, 1400)), "hosts": among}, lasts=lasts
            )
    return None


def _change(
    rng: Random, elastic: Mapping[str, int], attachable: Sequence[str], number: int, length: int
) -> ScheduledFault | None:
    at, lasts = rng.randrange(length // _STEP) * _STEP, _lasts(rng)
    names = list(elastic)
    match rng.randrange(3):
        case 0 if names:
            name = rng.choice(names)
            to = rng.choice([count for count in range(elastic[name] + 4) if count != elastic[name]])
            body = {"service": name, "to": to}
            return ScheduledFault(
                at=at, verb="scale", body=body, lasts=lasts, undo={"scale": {**body, "to": elastic[name]}}
            )
        case 1 if names:
            name = rng.choice(names)
            return ScheduledFault(at=at, verb="remove", body={"services": [name]}, lasts=lasts, undo={"run": [name]})
        case 2 if attachable:
            body = {"service": rng.choice(attachable), "address": f"10.250.{number}.1/24"}
            return ScheduledFault(at=at, verb="attach", body=body, lasts=lasts, undo={"detach": body})
    return None


def _policy(rng: Random, hosts: Sequence[str], policed: Sequence[str], number: int, length: int) -> ScheduledFault:
    """Typed on one host and taken back there. No two are about the same, as each has an odd port of its own."""
    at, lasts = rng.randrange(length // _STEP) * _STEP, _lasts(rng)
    source, target = rng.choice((*policed, "all")), rng.choice(policed)
    ports = rng.choice((f":{20_001 + number}", f":1-10000,{20_001 + number}"))
    verb, host = rng.choice(("deny", "deny", "allow")), rng.choice(hosts)
    rule = f"{verb} from {source} to {target}{ports}"
    body = {"host": host, "rule": rule, "force": True}
    undo = {"host": host, "rule": rule, "remove": True}
    return ScheduledFault(at=at, verb="policy", body=body, lasts=lasts, undo={"policy": undo})


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


def _collides(fault: ScheduledFault, others: Sequence[ScheduledFault]) -> bool:
    return any(_meddles(fault, other) or _hinders(other, fault) or _hinders(fault, other) for other in others)


def _meddles(one: ScheduledFault, other: ScheduledFault) -> bool:
    """Whether two touch one service while one of them changes what runs of it."""
    if not one.service or one.service != other.service or not {one.verb, other.verb} & set(CHANGES):
        return False
    return one.at < other.end + _MARGIN and other.at < one.end + _MARGIN


def hindered(schedule: Schedule) -> bool:
    """Whether some command is given while something is broken, and so may fail."""
    return any(_hinders(broken, change) for broken in schedule for change in schedule)


def _hinders(broken: ScheduledFault, change: ScheduledFault) -> bool:
    """Whether commands of a change would be given while something is broken."""
    if change.verb not in CHANGES or broken.verb in _HARMLESS:
        return False
    return any(broken.at <= time < broken.end + _MARGIN for time in (change.at, change.end))

"""What `block` and `mtu` share: an obstacle between hosts. Only where the backend's network can have one.

Unlike a partition an obstacle lets most of the traffic pass, so hosts stay in one group.
"""

from collections.abc import Iterator
from itertools import permutations
from typing import Literal, Protocol, TypeVar, cast

from lab.contracts.fault import Bench, Fault, Mark
from lab.contracts.lab import Lab, Obstacle, Obstructed
from lab.errors import LabError
from lab.kinds.verbs import Body, Verb, Where
from lab.scenario.base import Problem, chosen, listed
from lab.scenario.check import Known
from lab.scenario.without_effect import ScenarioReach


class Between(Protocol):
    """A body that names the hosts between which something stands."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Their names, or `all`."""
        ...


B = TypeVar("B", bound=Between)


class ObstacleFault(Fault):
    """Something is in the way of packets."""

    mark = Mark("obstacle", "#8d6a9f")

    def __init__(self, what: str, said: str, obstacle: Obstacle) -> None:
        self.what = what
        self.label = f"{what} {said}"
        self.victim = (what, said)
        self._obstacle = obstacle

    async def inject(self, bench: Bench, step: int) -> None:
        """Put it in the way."""
        await _obstructed(bench.lab).set_obstacle(step, self._obstacle)

    async def heal(self, bench: Bench, step: int) -> None:
        """Take it away."""
        await _obstructed(bench.lab).set_obstacle(step, None)


class ObstacleVerb(Verb[B]):
    """A verb whose fault is an obstacle."""

    takes_for = "lasts"
    odds = 2
    does: str
    """What it does to packets."""

    def check(self, where: Where, body: B, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "hosts"), body.hosts)

    def without_effect(self, where: Where, body: B, world: ScenarioReach) -> Iterator[Problem]:
        among = chosen(body.hosts, world.hosts)
        if world.known(among) and not world.linked(permutations(among, 2)):
            place = (*where, "hosts")
            if len(among) < 2:
                yield Problem(
                    place, f"{listed(among) or 'no host'} alone: nothing to {self.does}", "at least two hosts"
                )
            else:
                found = f"{listed(among)}: nothing to {self.does}, for no link joins any two"
                yield Problem(place, found, "hosts that have a link")

    def least_hosts(self, body: Body) -> int:
        return 2

    def bypassed(self, body: Body) -> Literal["never", "together", "always"]:
        return "always"  # it may stand in the way of both paths between two hosts


def _obstructed(lab: Lab) -> Obstructed:
    if not hasattr(lab, "set_obstacle"):
        raise LabError("this backend's network cannot be obstructed")
    return cast(Obstructed, lab)

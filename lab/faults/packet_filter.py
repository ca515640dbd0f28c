"""Obstacles on the way: a protocol or a port that a firewall drops, packets that are too big for some link.

Unlike a partition they let most of the traffic pass, so hosts stay in one group. Only where the backend can make them.
"""

from collections.abc import Sequence
from typing import Protocol, cast

from msgspec import Struct

from lab.contracts.fault import Bench, Mark
from lab.contracts.lab import Lab
from lab.errors import LabError
from lab.scenario.base import chosen
from lab.scenario.steps import Block, ShrinkMtu

MARK = Mark("obstacle", "#8d6a9f")


class Obstacle(Struct, frozen=True):
    """What is dropped between any two of these hosts: a protocol (port 0: all of it), or what exceeds an MTU."""

    hosts: tuple[str, ...]
    protocol: str = ""
    port: int = 0
    mtu: int = 0


class Obstructed(Protocol):
    """A lab whose network can be obstructed."""

    async def set_obstacle(self, key: int, obstacle: Obstacle | None) -> None:
        """Set this obstacle, or take it away; those of other keys stay."""
        ...


class ObstacleFault:
    """One `block` or `mtu` step."""

    mark = MARK
    hosts: tuple[str, ...] = ()

    def __init__(self, step: Block | ShrinkMtu, hosts: Sequence[str]) -> None:
        among = tuple(chosen(step.hosts, hosts))
        if isinstance(step, Block):
            self.what = "block"
            protocol, port = step.what
            self._obstacle = Obstacle(among, protocol=protocol, port=port)
            self.label = f"{protocol} {port or 'all'}"
        else:
            self.what = "mtu"
            self._obstacle = Obstacle(among, mtu=step.to)
            self.label = str(step.to)
        self.victim = (self.what, self.label)

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return ()

    async def inject(self, bench: Bench, step: int) -> None:
        """Put it in the way."""
        await _obstructed(bench.lab).set_obstacle(step, self._obstacle)

    async def heal(self, bench: Bench, step: int) -> None:
        """Take it away."""
        await _obstructed(bench.lab).set_obstacle(step, None)


def _obstructed(lab: Lab) -> Obstructed:
    if not hasattr(lab, "set_obstacle"):
        raise LabError("this backend's network cannot be obstructed")
    return cast(Obstructed, lab)

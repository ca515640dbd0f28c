"""What every fault brings: an injector, a healer, and a mark for the plots.

Owns the protocol and what a fault may use of a run. One file per family beside this one; the runner keeps the
schedule and writes the history, a fault only does and undoes.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from lab.contracts.lab import Lab
from lab.contracts.overlay import Overlay
from lab.scenario.resolve import Replica

if TYPE_CHECKING:
    from lab.faults.upkeep import Upkeep


class Mark(Struct, frozen=True):
    """How a fault is drawn: one word for the legend, and the colour of its band."""

    label: str
    colour: str


class Bench(Protocol):
    """What a fault may touch and ask: the run, seen from a fault."""

    lab: Lab
    overlay: Overlay
    cuts: dict[int, frozenset[tuple[str, str]]]
    """Step of each partition in force -> the directions that it cuts."""
    upkeep: "Upkeep"
    """Kills and starts things, for as long as faults in force hold them."""

    @property
    def hosts(self) -> Sequence[str]:
        """All hosts of the scenario, in their order."""
        ...

    @property
    def alive(self) -> Sequence[str]:
        """Hosts whose daemon should run now, in their order."""
        ...

    @property
    def hosts_down(self) -> Sequence[str]:
        """Hosts that are switched off now."""
        ...

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this beside the timeline, at most as long as the run; an error of it ends the run."""
        ...

    @property
    def broken(self) -> bool:
        """Whether any fault is in force, that which is being healed apart."""
        ...

    async def resumed(self, host: str) -> None:
        """Write down that what had failed to start on a host has started, and let probes follow."""
        ...

    async def tell(self, step: int, what: str, label: str, fault: "Fault") -> None:
        """Write down what a fault that lasts does to another one's victim, and let probes follow."""
        ...

    @property
    def placed(self) -> Mapping[str, Replica]:
        """All containers that were started and not removed."""
        ...

    @property
    def running(self) -> Mapping[str, Replica]:
        """Those of them that should be alive."""
        ...

    def daemon_stops(self, host: str) -> None:
        """From now on the host's daemon is not expected to run."""
        ...

    def daemon_runs(self, host: str) -> None:
        """The host's daemon runs again."""
        ...

    def host_stops(self, host: str) -> None:
        """The host is being switched off, its containers with it."""
        ...

    def host_runs(self, host: str) -> None:
        """The host is on again; none of its containers runs yet."""
        ...

    def container_stops(self, replica: str) -> None:
        """The container is being killed."""
        ...

    def container_runs(self, replica: str) -> None:
        """The container runs again."""
        ...


class Fault(Protocol):
    """One fault of a run."""

    what: str
    """The verb: partition, kill, churn …"""
    label: str
    """The fault in a few words, as `partition orion.local | macbook.local`."""
    victim: tuple[str, str]
    """Kind and name of what is hit, so that a `restart` finds the `kill` that it ends."""
    hosts: tuple[str, ...]
    """Hosts whose daemon it stops and starts."""
    mark: Mark

    def works_on(self, bench: Bench) -> Sequence[str]:
        """Hosts on which things are killed or started when it strikes and when it heals; nothing else is meanwhile."""
        ...

    async def inject(self, bench: Bench, step: int) -> None:
        """Break it."""
        ...

    async def heal(self, bench: Bench, step: int) -> None:
        """Mend what `inject` of this step broke, or let it be mended as soon as other faults allow it."""
        ...

"""What every fault brings: an injector, a healer, and a mark for the plots.

Owns the protocol and what a verb may use of a run. The runner keeps the schedule and writes the history, a fault only
does and undoes.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from lab.contracts.lab import Lab
from lab.contracts.overlay import Overlay
from lab.records.history import AnyRecord
from lab.scenario.resolve import Resolved

if TYPE_CHECKING:
    from lab.runner.captures import Captures
    from lab.runner.probing import Probing
    from lab.runner.state import LiveState
    from lab.runner.upkeep import Upkeep


class Mark(Struct, frozen=True):
    """How a fault is drawn: one word for the legend, and the colour of its band."""

    label: str
    colour: str


class Bench(Protocol):
    """What a verb may touch and ask: the run, seen from a step."""

    lab: Lab
    overlay: Overlay
    scenario: Resolved
    live: "LiveState"
    """What is true now: containers, daemons, cuts, the latest samples."""
    probing: "Probing"
    """The probes that run; `sync` after every change of containers."""
    captures: "Captures"
    """Files of packets that grow."""
    upkeep: "Upkeep"
    """Kills and starts things, for as long as faults in force hold them."""

    @property
    def broken(self) -> bool:
        """Whether any fault is in force, that which is being healed apart."""
        ...

    def containers(self) -> dict[str, Any]:
        """Where every container runs and what its overlay address is, as events say it."""
        ...

    def record(self, record: AnyRecord) -> None:
        """Append a record to the history and bring the live state up to date."""
        ...

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this in parallel with the timeline, at most as long as the run; an error of it ends the run."""
        ...

    def in_force(self, what: str) -> dict[int, "Fault"]:
        """Step -> fault, of the faults of a verb that are not healed, in their order."""
        ...

    async def heal(self, step: int) -> None:
        """Heal the fault of a step, now, and say so."""
        ...

    async def restart(self, fault: "Restartable") -> list[str]:
        """Start again what `fault` would have killed; faults in force with the same victim are over. Writes no event.

        Returns the hosts whose daemon runs again."""
        ...

    async def resumed(self, host: str) -> None:
        """Write down that what had failed to start on a host has started, and let probes follow."""
        ...

    async def tell(self, step: int, what: str, label: str, fault: "Fault") -> None:
        """Write down what a fault that lasts does to another one's victim, and let probes follow."""
        ...


class Fault:
    """One fault of a run."""

    what: str
    """The verb: partition, kill, churn …"""
    label: str
    """Its step in a few words, as `partition orion.local | macbook.local`."""
    victim: tuple[str, str]
    """Kind and name of what is hit, so that a `restart` finds the `kill` that it ends."""
    mark: Mark
    hosts: tuple[str, ...] = ()
    """Hosts whose daemon it stops and starts."""
    harmless: bool = False
    """Whether it breaks nothing, so that nothing may fail because of it."""
    switch: bool = False
    """Whether its end takes effect the moment that it begins, and no container stops or starts."""
    frees: bool = False
    """Whether its end lets go on what waits on its hosts: it must not wait for that in turn."""
    told: Mapping[str, Any] = {}
    """What else its events say, as plain data."""

    def works_on(self, bench: Bench) -> Sequence[str]:
        """Hosts on which things are killed or started when it strikes and when it heals; nothing else is meanwhile."""
        return ()

    async def inject(self, bench: Bench, step: int) -> None:
        """Break it."""
        raise NotImplementedError

    async def heal(self, bench: Bench, step: int) -> None:
        """Mend what `inject` of this step broke, or let it be mended as soon as other faults allow it."""
        raise NotImplementedError

    async def host_joins(self, bench: Bench, step: int, host: str) -> None:
        """The lab has one more host, the last of its hosts, while this is in force."""


class Restartable(Fault):
    """A fault that a restart may end: without a step, `heal` lets whatever holds the victim let go of it."""

    async def heal(self, bench: Bench, step: int | None) -> None:
        """See `Fault`."""
        raise NotImplementedError

"""The parts of every fault: an injector, a healer, and a mark for the plots.

Owns the protocol and the interface of a run for verbs. The runner owns the schedule and writes the history; a fault
only injects and heals.
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
    """The run as a verb sees it: what it may change and query."""

    lab: Lab
    overlay: Overlay
    scenario: Resolved
    live: "LiveState"
    """The current state: containers, daemons, cuts, the latest samples."""
    probing: "Probing"
    """The running probes; call `sync` after every change of containers."""
    captures: "Captures"
    """Open capture files."""
    upkeep: "Upkeep"
    """Kills and starts things, and keeps them down while active faults require it."""

    @property
    def broken(self) -> bool:
        """Whether any fault is active, except the one that is being healed."""
        ...

    def containers(self) -> dict[str, Any]:
        """Host and overlay address of every container, according to events."""
        ...

    def record(self, record: AnyRecord) -> None:
        """Append a record to the history and update the live state."""
        ...

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this in parallel with the timeline, until the run ends at the latest; an error in it ends the run."""
        ...

    def in_force(self, what: str) -> dict[int, "Fault"]:
        """Step -> fault, for the active faults of a verb, in order."""
        ...

    async def heal(self, step: int) -> None:
        """Heal the fault of a step now, and record that."""
        ...

    async def restart(self, fault: "Restartable") -> list[str]:
        """Start again what `fault` would have killed; active faults with the same victim end. Writes no event.

        Returns the hosts whose daemon runs again.
        """
        ...

    async def resumed(self, host: str) -> None:
        """Record that something that had failed to start on a host has started, and update probes."""
        ...

    async def tell(self, step: int, what: str, label: str, fault: "Fault") -> None:
        """Record an effect of a lasting fault on another fault's victim, and update probes."""
        ...


class Fault:
    """One fault of a run."""

    what: str
    """The verb: partition, kill, churn …"""
    label: str
    """Its step in a few words, for example `partition orion.local | macbook.local`."""
    victim: tuple[str, str]
    """Kind and name of the victim, so that a `restart` finds the `kill` that it ends."""
    mark: Mark
    hosts: tuple[str, ...] = ()
    """Hosts whose daemon it stops and starts."""
    harmless: bool = False
    """Whether it breaks nothing, so that nothing may fail because of it."""
    switch: bool = False
    """Whether its end takes effect at once, and starts or stops no container."""
    frees: bool = False
    """Whether its end releases what waits on its hosts: then it must not wait for that itself."""
    told: Mapping[str, Any] = {}
    """Additional data of its events."""

    def works_on(self, bench: Bench) -> Sequence[str]:
        """Hosts on which its injection and healing kill or start things; nothing else does so at the same time."""
        return ()

    async def inject(self, bench: Bench, step: int) -> None:
        """Inject the fault."""
        raise NotImplementedError

    async def heal(self, bench: Bench, step: int) -> None:
        """Undo `inject` of this step, or let it be undone as soon as other faults allow it."""
        raise NotImplementedError

    async def host_joins(self, bench: Bench, step: int, host: str) -> None:
        """A new host joined the lab while this fault is active; it is the last of the lab's hosts."""


class Restartable(Fault):
    """A fault that a restart may end: `heal` without a step ends whatever holds the victim."""

    async def heal(self, bench: Bench, step: int | None) -> None:
        """See `Fault`."""
        raise NotImplementedError

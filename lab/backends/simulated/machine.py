"""A simulated host as what runs on it sees it: places of commands, and probes.

A border and no code, so that a host may be made of its parts and these need not know the host.
"""

from collections.abc import Sequence
from typing import Protocol

from lab.backends.simulated.commands import CommandPlace
from lab.backends.simulated.daemon import SimDaemon
from lab.backends.simulated.engine import SimContainer, SimEngine
from lab.backends.simulated.reach import LabRoutes
from lab.contracts.lab import CommandResult
from lab.sim.filters import Files
from lab.sim.kernel import Kernel
from lab.sim.world import World

__all__ = ["SimMachine"]


class SimMachine(Protocol):
    """See `lab.backends.simulated.host`."""

    name: str
    world: World
    kernel: Kernel
    engine: SimEngine
    reach: LabRoutes
    files: Files
    daemon: SimDaemon | None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of its interfaces, the first first: "192.168.0.2/24"."""
        ...

    @property
    def powered(self) -> bool:
        """It is switched on."""
        ...

    @property
    def daemon_stopped(self) -> bool:
        """The daemon is there and gets no turns."""
        ...

    @property
    def mtu(self) -> int:
        """Of the overlay's interfaces."""
        ...

    @property
    def devices(self) -> tuple[str, ...]:
        """Interfaces that an overlay has made."""
        ...

    def named(self, name: str) -> list[str]:
        """The address of a host by its name, whole or short, as /etc/hosts has it."""
        ...

    async def until(self, time: int) -> None:
        """Wait until the run's clock shows this time (ns)."""
        ...

    def configure(self, argv: Sequence[str]) -> CommandResult:
        """`ip` and `bridge` on the host, with words that change something."""
        ...

    def configure_inside(self, container: SimContainer, argv: Sequence[str]) -> CommandResult:
        """`ip` in a container, with words that change something."""
        ...

    async def weave(self, place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
        """The `weave` command."""
        ...

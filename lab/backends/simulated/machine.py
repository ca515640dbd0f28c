"""A simulated host as its commands and probes see it.

An interface without code, so that a host may be built from its parts while these do not know the host.
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
        """Addresses of its interfaces ("192.168.0.2/24"), in order."""
        ...

    @property
    def powered(self) -> bool:
        """Whether it is switched on."""
        ...

    @property
    def daemon_stopped(self) -> bool:
        """Whether the daemon exists but is stopped."""
        ...

    @property
    def mtu(self) -> int:
        """The MTU of the overlay's interfaces."""
        ...

    @property
    def devices(self) -> tuple[str, ...]:
        """Interfaces that an overlay has created."""
        ...

    def named(self, name: str) -> list[str]:
        """The address of a host by its full or short name, from /etc/hosts."""
        ...

    async def until(self, time: int) -> None:
        """Wait until the run's clock shows this time (ns)."""
        ...

    def configure(self, argv: Sequence[str]) -> CommandResult:
        """`ip` or `bridge` on the host, with arguments that change something."""
        ...

    def configure_inside(self, container: SimContainer, argv: Sequence[str]) -> CommandResult:
        """`ip` in a container, with arguments that change something."""
        ...

    async def weave(self, place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
        """The `weave` command."""
        ...

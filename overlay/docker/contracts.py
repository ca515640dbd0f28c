"""What the router's containers need of an engine and of the bridge, on a real host or a simulated one.

`engine.EngineClient` and `kernel.attach.Ports` are those of a real host. Of data alone: nothing is imported that they
need.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from overlay.datapath.port_rules import PortWanted
from overlay.docker.engine_facts import Container, EngineEvent

__all__ = ["ContainerEngine", "ContainerPorts"]


class ContainerEngine(Protocol):
    """The engine whose containers are put on the overlay. Raises `UsageError` and `EnvironmentProblem`."""

    @property
    def path(self) -> str:
        """Its socket."""
        ...

    async def inspect(self, reference: str) -> Container:
        """One container by id, prefix of an id, or name."""
        ...

    async def running(self) -> tuple[str, ...]:
        """Ids of all running containers."""
        ...

    async def create(self, body: Mapping[str, Any], name: str = "") -> str:
        """Make a container; returns its id."""
        ...

    async def start(self, container: str) -> None:
        """Start a container."""
        ...

    async def remove(self, container: str) -> None:
        """Remove a container, running or not."""
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """Container events from now on, after one `connected`. Ends when the engine goes away."""
        ...

    async def list(self) -> list[str]:
        """Ids of all containers, stopped ones too."""
        ...


class ContainerPorts(Protocol):
    """The ports of this host's bridge."""

    def plug(self, wanted: PortWanted) -> bool:
        """Have the container's port so; whether it was made now. Raises `OverlayError`."""
        ...

    def guard(self, container: str, pid: int, mac: str, addresses: tuple[str, ...], *, spoofing: bool = False) -> None:
        """A container that an engine plugged into the bridge itself: only what its port may send is looked after."""
        ...

    def unplug(self, container: str) -> None:
        """Take the container's port away; fine if it has none."""
        ...

    def held(self, container: str, pid: int) -> tuple[str, ...]:
        """The addresses ("a.b.c.d/n") of a running container that has a port; empty without one."""
        ...

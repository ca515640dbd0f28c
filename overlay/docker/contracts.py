"""The interfaces that the router's containers need from an engine and the bridge, on a real or a simulated host.

`engine.EngineClient` and `kernel.attach.Ports` implement them on a real host. Imports only data types, so that the
simulator does not load the drivers.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from overlay.datapath.port_rules import PortWanted
from overlay.docker.engine_facts import Container, EngineEvent

__all__ = ["ContainerEngine", "ContainerPorts"]


class ContainerEngine(Protocol):
    """The container engine. Raises `UsageError` and `EnvironmentProblem`."""

    @property
    def path(self) -> str:
        """The path of its socket."""
        ...

    async def inspect(self, reference: str) -> Container:
        """One container by id, prefix of an id, or name."""
        ...

    async def running(self) -> tuple[str, ...]:
        """Ids of all running containers."""
        ...

    async def create(self, body: Mapping[str, Any], name: str = "") -> str:
        """Create a container; returns its id."""
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
        """Ids of all containers, including stopped ones."""
        ...


class ContainerPorts(Protocol):
    """The ports of this host's bridge."""

    def plug(self, wanted: PortWanted) -> bool:
        """Make or update the container's port; returns whether it was created. Raises `OverlayError`."""
        ...

    def guard(self, container: str, pid: int, mac: str, addresses: tuple[str, ...], *, spoofing: bool = False) -> None:
        """Guard the port of a container that an engine itself plugged into the bridge: only limit what the port may
        send."""
        ...

    def unplug(self, container: str) -> None:
        """Remove the container's port; does nothing if it has none."""
        ...

    def held(self, container: str, pid: int) -> tuple[str, ...]:
        """The addresses ("a.b.c.d/n") of a running container with a port; empty without a port."""
        ...

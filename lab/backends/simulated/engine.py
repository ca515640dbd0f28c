"""A container engine whose containers are objects. It answers the requests that a router and the lab send to an engine.

Owns containers, their lifecycle and their first network (`eth0`). The image determines what a container serves; there
is no process.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import blake2b
from ipaddress import IPv4Interface
from typing import Any
from urllib.parse import unquote

from lab.backends.simulated.programs import served
from lab.images import IMAGES, find
from lab.scenario.engine_pools import DEFAULT
from lab.scenario.model import PROCESS
from lab.scenario.names import HOST_NAME, unfit_for_container
from overlay.docker.engine_facts import Container, EngineEvent
from overlay.errors import EnvironmentProblem, UsageError
from overlay.policy.names import labels_of

_FIRST_PORT = 32768
"""The first of the ports that the engine assigns."""


class SimContainer:
    """One container."""

    def __init__(self, id: str, name: str, body: Mapping[str, Any], port: int) -> None:
        self.id = id
        self.name = name
        self.hostname = str(body.get("Hostname") or id[:12])
        self.image = str(body.get("Image") or "")
        self.args = tuple(body.get("Cmd") or ())
        self.port = port
        """HTTP port; 0: it serves no HTTP."""
        self.files = served(self.args) if self.image == PROCESS else None
        """Path -> served content; None: the content is unknown."""
        self.labels = labels_of(body.get("Labels") or {})
        self.pid = 0
        self.stopped = False
        """Its processes got SIGSTOP: the kernel answers for it, its processes do not."""
        self.eth0 = ""
        self.bindings: dict[int, int] = {}
        """Published ports: inside -> requested outside; 0: any."""
        for inside, places in ((body.get("HostConfig") or {}).get("PortBindings") or {}).items():
            number, _, protocol = str(inside).partition("/")
            if protocol in ("", "tcp"):
                self.bindings[int(number)] = int(places[0].get("HostPort") or 0) if places else 0

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.pid > 0

    @property
    def greets(self) -> bool:
        """Whether it is the walk-through's service."""
        return self.image.partition(":")[0] == "ksahnine/dummy-http"


class SimEngine:
    """The engine of one host, in place of `overlay.docker.engine.EngineClient`."""

    path = "/var/run/docker.sock"

    def __init__(
        self,
        host: str,
        seed: int,
        port_of: Callable[[str], int],
        changed: Callable[[], None],
        bridge: str = f"{DEFAULT.network_address + 1}/{DEFAULT.prefixlen}",
    ) -> None:
        self._host = host
        self.bridge = IPv4Interface(bridge)
        """The address of the engine's bridge, where the daemon serves DNS; the same on every host."""
        self._seed = seed
        self._port_of = port_of
        self._changed = changed
        self._made = 0
        self._listeners: list[asyncio.Queue[EngineEvent | None]] = []
        self._published: dict[int, tuple[str, int]] = {}
        """Port of the host -> container, port inside."""
        self.containers: dict[str, SimContainer] = {}
        self.answers = True
        """Whether the engine runs; its containers may run without it."""

    # --- overlay.docker.engine.EngineClient ---------------------------------------------------------------------------

    async def create(self, body: Mapping[str, Any], name: str = "") -> str:
        """Make a container; returns its id. Raises `UsageError`."""
        self._must_answer()
        image = str(body.get("Image") or "")
        if find(image) is None:
            raise UsageError(f"no such image: {image}; the lab has {', '.join(IMAGES)}")
        if name and (why := unfit_for_container(name)):
            raise UsageError(f"Invalid container name ({name}), {why}")
        if len(hostname := str(body.get("Hostname") or "")) > HOST_NAME:
            raise UsageError(f"a host name of {len(hostname)} characters ({hostname}): a kernel takes {HOST_NAME}")
        if name and any(other.name == name for other in self.containers.values()):
            raise UsageError(f"the container name {name!r} is in use")
        self._made += 1
        id = blake2b(f"{self._seed} {self._host} {self._made}".encode(), digest_size=32).hexdigest()
        made = SimContainer(id, name or f"container{self._made}", body, self._port_of(name))
        if made.greets:
            made.port = 8080
        self.containers[id] = made
        return id

    async def inspect(self, reference: str) -> Container:
        """A container by id, id prefix or name. Raises `UsageError` if there is none."""
        self._must_answer()
        found = self.find(reference)
        return Container(
            id=found.id,
            name=found.name,
            hostname=found.hostname,
            pid=found.pid,
            network_mode="bridge",
            labels=found.labels,
        )

    async def list(self) -> list[str]:
        """Ids of all containers, stopped ones too."""
        self._must_answer()
        return list(self.containers)

    async def running(self) -> tuple[str, ...]:
        """Ids of all running containers."""
        self._must_answer()
        return tuple(each.id for each in self.containers.values() if each.running)

    async def start(self, container: str) -> None:
        """Start a container."""
        self._must_answer()
        found = self.find(container)
        if found.running:
            return
        taken = {other.eth0 for other in self.containers.values()}
        after = range(1, self.bridge.network.num_addresses)
        found.eth0 = next(address for n in after if (address := str(self.bridge.ip + n)) not in taken)
        for inside, asked in found.bindings.items():
            port = asked or next(number for number in range(_FIRST_PORT, 65536) if number not in self._published)
            if port in self._published:
                raise UsageError(f"port {port} of the host is in use")
            self._published[port] = (found.id, inside)
        self._made += 1
        found.pid = 1000 + self._made
        self._tell("start", found)

    async def kill(self, container: str) -> None:
        """Kill a container at once."""
        self._must_answer()
        self._stop(self.find(container))

    async def remove(self, container: str) -> None:
        """Remove a container, running or not."""
        self._must_answer()
        found = self.find(container)
        self._stop(found)
        del self.containers[found.id]
        self._tell("destroy", found)

    async def events(self) -> AsyncIterator[EngineEvent]:
        """Container events from now on, after one `connected`. Ends when the engine goes away."""
        if not self.answers:
            return
        queue: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            yield EngineEvent("connected", "")
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.remove(queue)

    # --- the rest ---------------------------------------------------------------------------------------------------

    def find(self, reference: str) -> SimContainer:
        """A container by id, id prefix or name. Raises `UsageError` if there is none."""
        for container in self.containers.values():
            if reference == container.name or (len(reference) >= 4 and container.id.startswith(reference)):
                return container
        raise UsageError(f"No such container: {reference}")

    def published(self, port: int) -> tuple[str, int] | None:
        """The container (its id) and its port that a port of the host is published for."""
        return self._published.get(port)

    def by_pid(self, pid: int) -> SimContainer | None:
        """The container whose first process has this pid."""
        return next((found for found in self.containers.values() if found.pid == pid > 0), None)

    def end(self) -> None:
        """The engine ends; its containers keep running."""
        self.answers = False
        for queue in self._listeners:
            queue.put_nowait(None)

    def begin(self) -> None:
        """The engine answers again."""
        self.answers = True

    def power_off(self) -> None:
        """All containers die without an event."""
        self._published.clear()
        for container in self.containers.values():
            container.pid = 0
            container.stopped = False
            container.eth0 = ""
        self._changed()

    async def request(self, method: str, path: str, body: str) -> tuple[int, str]:
        """A request over the engine's socket: (status, text). Raises `EnvironmentProblem` without an engine."""
        self._must_answer()
        what, _, query = path.partition("?")
        name, _, verb = what.partition("/containers/")[2].partition("/")
        try:
            if (method, name) == ("POST", "create"):
                wanted = unquote(query.partition("name=")[2].partition("&")[0])
                return 201, json.dumps({"Id": await self.create(json.loads(body), wanted), "Warnings": []})
            container = self.find(unquote(name))
            match (method, verb):
                case ("DELETE", ""):
                    await self.remove(container.id)
                case ("POST", "start"):
                    if container.running:
                        return 304, ""
                    await self.start(container.id)
                case ("POST", "kill"):
                    if not container.running:
                        return 409, f"container {name} is not running"
                    await self.kill(container.id)
                case ("GET", "json"):
                    return 200, json.dumps(self._described(container))
                case _:
                    return 404, f"the simulated engine has no {method} {what}"
        except UsageError as error:
            return 404, str(error)
        return 204, ""

    def _must_answer(self) -> None:
        if not self.answers:
            raise EnvironmentProblem(f"the container engine does not answer at {self.path}: start it")

    def _described(self, container: SimContainer) -> dict[str, Any]:
        ports: dict[str, Any] = {}
        for port, (id, inside) in self._published.items():
            if id == container.id:
                ports.setdefault(f"{inside}/tcp", []).append({"HostIp": "0.0.0.0", "HostPort": str(port)})
        return {
            "Id": container.id,
            "Name": f"/{container.name}",
            "State": {"Running": container.running, "Pid": container.pid},
            "NetworkSettings": {"IPAddress": container.eth0, "Ports": ports},
        }

    def _stop(self, container: SimContainer) -> None:
        if container.running:
            self._published = {port: place for port, place in self._published.items() if place[0] != container.id}
            container.pid = 0
            container.stopped = False
            container.eth0 = ""
            self._tell("die", container)

    def _tell(self, action: str, container: SimContainer) -> None:
        self._changed()
        for queue in self._listeners:
            queue.put_nowait(EngineEvent(action, container.id))

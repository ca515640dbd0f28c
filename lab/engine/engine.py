"""All containers of one host.

Owns the table of containers by id and name, the table of execs, the event stream, and the engine's start (recovers
containers from the disk) and end (stops everything). Knows nothing of HTTP.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from lab.engine.container import ProcessContainer, Status
from lab.engine.errors import ApiError, conflict, invalid, not_found
from lab.engine.execs import ExecInstance
from lab.engine.logs import ContainerRecord, ContainerStore
from lab.engine.network import BridgeNetwork
from lab.engine.reaper import Reaper
from lab.engine.spec import NAME, parse_create, parse_exec
from lab.images import Image

__all__ = ["ContainerEvent", "ProcessEngine"]

_REMEMBERED_EVENTS = 256
_REMEMBERED_EXECS = 1024
_ADJECTIVES = ("brave", "calm", "eager", "fair", "gentle", "keen", "lucid", "merry", "quiet", "swift", "vivid", "wise")
_SURNAMES = ("baran", "bellman", "cerf", "clark", "dijkstra", "floyd", "ford", "jacobson", "kahn", "lamport", "perlman")


class ContainerEvent(Struct, frozen=True):
    """Something that happened to a container."""

    action: str
    id: str
    attributes: dict[str, str]
    time: int
    """Nanoseconds since the epoch."""


class ProcessEngine:
    """The engine of one host. Create it inside the host's namespaces, then call `open`."""

    def __init__(
        self,
        *,
        hostname: str,
        store: ContainerStore,
        network: BridgeNetwork,
        reaper: Reaper,
        images: Mapping[str, Image],
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        self.hostname = hostname
        self.resolv_conf = resolv_conf
        self.store = store
        self.network = network
        self.reaper = reaper
        self.images = images
        self.loop = asyncio.get_running_loop()
        self.id = secrets.token_hex(16)
        self.events: deque[ContainerEvent] = deque(maxlen=_REMEMBERED_EVENTS)
        self._listeners: list[Callable[[ContainerEvent], None]] = []
        self._containers: dict[str, ProcessContainer] = {}
        self._execs: dict[str, ExecInstance] = {}

    async def open(self) -> None:
        """Set up the network, load the stored containers, and start those that their restart policy restarts."""
        await self.network.setup()
        wanted = []
        for record in self.store.load():
            try:
                request, image, _ = parse_create(msgspec.json.encode(record.body), self.images)
            except ApiError:
                self.store.remove(record.id)  # written by a version of the lab with other images
                continue
            container = ProcessContainer(self, record, request, image)
            if container.request.host.auto_remove and container.status is not Status.CREATED:
                self.store.remove(record.id)
                continue
            self._containers[record.id] = container
            if container.recover():
                wanted.append(container)
        for container in wanted:
            try:
                await container.start()
            except ApiError as error:
                container.record.error = error.message

    async def close(self) -> None:
        """End every container at once. Their records stay."""
        policies = [(container, container.record.stopped_by_hand) for container in self._containers.values()]
        await asyncio.gather(*(container.halt() for container, _ in policies))
        for container, by_hand in policies:
            if not container.removed:
                container.record.stopped_by_hand = by_hand  # the host goes down, so this is not a user's request
                self.store.save(container.record)
        self.network.close()

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()

    def all(self) -> Sequence[ProcessContainer]:
        """Every container, newest first."""
        return sorted(self._containers.values(), key=lambda container: container.record.created, reverse=True)

    def find(self, name: str) -> ProcessContainer:
        """A container by id, name, or unambiguous id prefix. Raises `ApiError` 404."""
        if name in self._containers:
            return self._containers[name]
        for container in self._containers.values():
            if container.name == name.removeprefix("/"):
                return container
        matches = [key for key in self._containers if name and key.startswith(name)]
        if len(matches) > 1:
            raise invalid(f"Multiple IDs found with provided prefix: {name}")
        if not matches:
            raise not_found(f"No such container: {name}")
        return self._containers[matches[0]]

    def create(self, body: bytes, name: str = "") -> ProcessContainer:
        """Create a container without starting it. Raises `ApiError` 400, 404 (no such image) or 409 (name in use)."""
        request, image, raw = parse_create(body, self.images)
        name = name.removeprefix("/")
        if name:
            self.check_name(name)
        else:
            name = self._invent_name()
        mode = request.host.network_mode
        if mode.startswith("container:"):
            self.find(mode.partition(":")[2])
        record = ContainerRecord(id=secrets.token_hex(32), name=name, created=self.now(), body=raw)
        self.store.save(record)
        container = ProcessContainer(self, record, request, image)
        self._containers[record.id] = container
        self.emit(container, "create")
        return container

    def rename(self, container: ProcessContainer, name: str) -> None:
        """Change a container's name. Raises `ApiError` 400 or 409."""
        name = name.removeprefix("/")
        self.check_name(name)
        old, container.record.name = container.name, name
        self.store.save(container.record)
        self.emit(container, "rename", {"oldName": "/" + old})

    def check_name(self, name: str) -> None:
        """Raises `ApiError` when this is not a valid or free container name."""
        if not NAME.fullmatch(name):
            raise invalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        for other in self._containers.values():
            if other.name == name:
                raise conflict(
                    f'Conflict. The container name "/{name}" is already in use by container "{other.id}". '
                    "You have to remove (or rename) that container to be able to reuse that name."
                )

    def create_exec(self, container: ProcessContainer, body: bytes) -> ExecInstance:
        """Create an exec instance without starting it. Raises `ApiError`."""
        request = parse_exec(body)
        if not container.running:
            raise conflict(f"Container {container.id} is not running")
        made = ExecInstance(container, request, self.reaper)
        self._execs[made.id] = made
        while len(self._execs) > _REMEMBERED_EXECS:
            oldest = next((key for key, known in self._execs.items() if not known.running), "")
            if not oldest:
                break
            del self._execs[oldest]
        return made

    def find_exec(self, name: str) -> ExecInstance:
        """An exec instance by id. Raises `ApiError` 404."""
        if name not in self._execs:
            raise not_found(f"No such exec instance: {name}")
        return self._execs[name]

    def execs_of(self, container: ProcessContainer) -> list[str]:
        """Ids of a container's running exec instances."""
        return [key for key, known in self._execs.items() if known.container is container and known.running]

    def emit(self, container: ProcessContainer, action: str, attributes: Mapping[str, str] | None = None) -> None:
        """Send an event to all listeners."""
        labels = container.request.labels or {}
        known = {**labels, "image": container.request.image, "name": container.name, **(attributes or {})}
        event = ContainerEvent(action, container.id, known, self.now())
        self.events.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def listen(self, listener: Callable[[ContainerEvent], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on; returns a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def forget(self, container: ProcessContainer) -> None:
        """Forget a removed container."""
        self._containers.pop(container.id, None)
        for key in [key for key, known in self._execs.items() if known.container is container]:
            del self._execs[key]

    def _invent_name(self) -> str:
        taken = {container.name for container in self._containers.values()}
        while True:
            name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_SURNAMES)}"
            if name not in taken:
                return name
            name += str(secrets.randbelow(1000))
            if name not in taken:
                return name

"""One host of a simulated lab, as the runner sees it: power, commands, the daemon's view, probes, disk and clock.

Owns the lifecycle of the host's daemon and engine, and the duration of operations on a host. Knows nothing of
scenarios.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from ipaddress import ip_interface
from signal import SIGCONT, SIGKILL, SIGSTOP
from urllib.parse import unquote

from msgspec.structs import asdict, replace

from lab.backends.simulated.commands import CommandPlace, run_argv
from lab.backends.simulated.daemon import SimDaemon
from lab.backends.simulated.devices import SimDevices
from lab.backends.simulated.engine import SimContainer, SimEngine
from lab.backends.simulated.loop import VirtualLoop
from lab.backends.simulated.packets import CONTAINER_INTERFACES, PacketSink, SimPackets
from lab.backends.simulated.place import ContainerPlace, HostPlace
from lab.backends.simulated.probes import Prober
from lab.backends.simulated.reach import LabRoutes
from lab.backends.simulated.weave import run_weave
from lab.contracts.lab import CommandResult, Probe, Sniffing, overdue
from lab.errors import LabError
from lab.records.history import PeerGone, Sample, View
from lab.scenario.resolve import HostInterface, MachineCost
from lab.sim.filters import Files
from lab.sim.invariants import Invariants
from lab.sim.kernel import Kernel
from lab.sim.world import Peer, World
from overlay.cli.client import NotRunning, RequestRefused
from overlay.daemon.control.route import Fields
from overlay.daemon.control.table import Asked
from overlay.daemon.control.watching import WATCH_REFRESH
from overlay.env import MICROSECOND, Random
from overlay.errors import OverlayError, UsageError
from overlay.options import LaunchOptions
from overlay.view import PeerView as Belief

_DEAD = 137
"""Exit code of a command that was killed."""
_COST = MachineCost(cores=2, per_message=50 * MICROSECOND, per_byte=0)
"""The machine model under stress, if the scenario has none."""
_LEAVE = "/leave"
_REFRESHES = 50
"""Maximum number of views per second of all hosts together whose only news is the traffic."""


class SimHost:
    """A simulated machine."""

    def __init__(
        self,
        peer: Peer,
        interfaces: Sequence[HostInterface],
        kernel: Kernel,
        engine: SimEngine,
        reach: LabRoutes,
        names: dict[str, str],
        invariants: Invariants,
        loop: VirtualLoop,
    ) -> None:
        """`names` maps all hosts to their addresses."""
        self.name = peer.name
        self.address = peer.address
        self._interfaces = tuple(interfaces)
        self.world: World = peer.world
        self.kernel = kernel
        self.engine = engine
        self.reach = reach
        self.files: Files = {}
        self.daemon: SimDaemon | None = None
        self.cost: MachineCost | None = None
        """CPU cost of a message on this host; None: no cost, unless the host is under stress."""
        self.packets = SimPackets(peer.world)
        self.tapped: Callable[[], None] = lambda: None
        """Called when captures begin and end."""
        self._peer = peer
        self._names = names
        self._invariants = invariants
        self._power_cuts = 0
        self._loop = loop
        self._rng = Random(f"{peer.world.seed} {peer.name} machine")
        self._going = asyncio.Event()
        """Set while the daemon is not stopped."""
        self._going.set()
        self._ended: asyncio.Future[None] | None = None
        """Done when the running daemon has ended."""
        self._viewers: list[asyncio.Queue[View | PeerGone]] = []
        self._devices = SimDevices(self.address, kernel)
        self._prober = Prober(self)
        self._told_bytes = 0
        """Traffic in the last view."""
        self._refresh = max(WATCH_REFRESH, len(names) / _REFRESHES)
        """Seconds without a change after which a view reports the traffic."""

    @property
    def powered(self) -> bool:
        """Whether it is switched on."""
        return self._peer.powered

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of its interfaces ("192.168.0.2/24"), in order."""
        return tuple(f"{place.address}/{place.prefix}" for place in self._interfaces)

    def readdress(self, network: str, address: str) -> None:
        """Change its address in this network, and update the hosts files of all hosts."""
        before = next(place.address for place in self._interfaces if place.network == network)
        if before == address:
            return
        self._interfaces = tuple(
            replace(place, address=address) if place.network == network else place for place in self._interfaces
        )
        self._peer.readdress(before, address)
        self.address = self._names[self.name] = self._interfaces[0].address
        self.reach.changed()

    # --- used by places on this host ---------------------------------------------------------------------------------

    @property
    def mtu(self) -> int:
        """The MTU of the overlay's interfaces."""
        return self.daemon.mtu if self.daemon is not None else self._devices.mtu

    @property
    def devices(self) -> tuple[str, ...]:
        """Interfaces that an overlay has created."""
        return ("weave",) if self.daemon is not None else tuple(self._devices.names)

    def named(self, name: str) -> list[str]:
        """The address of a host by its full or short name, from /etc/hosts."""
        found = [address for host, address in self._names.items() if name in (host, host.partition(".")[0])]
        return found[:1]

    async def until(self, time: int) -> None:
        """Wait until the run's clock shows this time (ns)."""
        await self._loop.until(time)

    def configure(self, argv: Sequence[str]) -> CommandResult:
        """`ip` or `bridge` on the host, with arguments that change something."""
        return self._devices.configure(argv)

    def configure_inside(self, container: SimContainer, argv: Sequence[str]) -> CommandResult:
        """`ip` in a container, with arguments that change something."""
        return self._devices.configure_inside(container, argv)

    # --- power ------------------------------------------------------------------------------------------------------

    @property
    def runs(self) -> bool:
        """Whether a daemon of the overlay runs."""
        return self.daemon is not None

    async def kill_daemon(self) -> None:
        """`kill -9` of the daemon."""
        if self.daemon is None:
            raise LabError(f"no overlay daemon runs on {self.name}")
        daemon = self.daemon
        self._peer.kill()
        self._daemon_is_gone()
        await daemon.die()

    async def signal(self, number: int, *, container: str = "", daemon: bool = False) -> None:
        """See `lab.contracts.lab.Host`: signals that stop, continue and end a process."""
        if number not in (SIGSTOP, SIGCONT, SIGKILL):
            raise LabError(f"simulated processes do not know signal {number}")
        whole = not container and not daemon
        if (daemon or whole) and self.runs:
            await self._signal_daemon(number)
        for found in list(self.engine.containers.values()):
            if found.running and (whole or found.name == container):
                found.stopped = number == SIGSTOP
                if number == SIGKILL:
                    await self.engine.kill(found.id)

    async def _signal_daemon(self, number: int) -> None:
        if number == SIGKILL:
            await self.kill_daemon()
        elif number == SIGSTOP:
            self._peer.stop()
            self._going.clear()
        else:
            self._peer.go_on()
            self._going.set()

    async def end_engine(self, number: int, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`. SIGTERM ends its containers too; SIGKILL leaves them running."""
        if number != SIGKILL and not live_restore:
            await self._end_containers()
        self.engine.end()

    async def start_engine(self, *, live_restore: bool) -> None:
        """See `lab.contracts.lab.Engined`."""
        await self._pass(self.world.model.start_time)
        if not live_restore:
            await self._end_containers()
        self.engine.begin()

    async def _end_containers(self) -> None:
        """All containers end without an event: the daemon learns of it when it reconnects to the engine."""
        for container in [found.id for found in self.engine.containers.values() if found.running]:
            self.kernel.unplug(container)
        self.engine.power_off()

    @property
    def daemon_stopped(self) -> bool:
        """Whether the daemon exists but is stopped."""
        return self._peer.stopped

    async def kill(self) -> None:
        """Power off: everything that runs is lost, the disk stays."""
        daemon = self.daemon
        self._power_cuts += 1
        self._peer.power_off()
        self.engine.power_off()
        self.kernel.clear()
        self._devices.clear()
        for container in list(self.kernel.ports):
            self.kernel.unplug(container)
        if daemon is not None:
            self._daemon_is_gone()
            await daemon.die()

    async def start(self) -> None:
        """Power on again."""
        if self._peer.powered:
            raise LabError(f"host {self.name} is running already")
        await self._pass(self.world.model.boot_time)
        self.engine.begin()
        self._peer.power_on()
        self.reach.changed()

    async def end(self) -> None:
        """The lab goes down."""
        if self.runs:
            await self.kill_daemon()

    # --- devices ----------------------------------------------------------------------------------------------------

    async def set_disk(self, *, latency: int, full: bool, torn: bool = False) -> None:
        """See `lab.contracts.lab.Adjustable`."""
        self._peer.disk.tears = torn
        self._peer.disk.latency = latency
        self._peer.disk.full = "no space left on device" if full else ""

    async def set_clock(self, *, offset: int | None, drift: int) -> None:
        """See `lab.contracts.lab.Adjustable`; the clock is never moved backwards."""
        ahead = self._peer.clock.read(self.world.now) - self.world.now
        self._peer.set_clock(ahead if offset is None else max(offset, ahead), drift)

    @property
    def cores(self) -> int:
        """See `lab.contracts.lab.Stressed`."""
        return (self.cost or _COST).cores

    async def set_stress(self, *, millicores: int, memory: int) -> None:
        """See `lab.contracts.lab.Stressed`: the daemon gets its share of the cores, and first waits for its turn.

        Memory is not limited here.
        """
        cost = self.cost or _COST
        cores = 1000 * cost.cores
        share = max(cores, millicores + 1000)
        if millicores:
            wait = self.world.model.slice_time * (share - cores) // cores
            self._peer.stress(cost.per_message * share // cores, cost.per_byte * share // cores, wait)
        elif self._peer.stressed is not None:
            usual = self.cost
            self._peer.stress(usual.per_message if usual else 0, usual.per_byte if usual else 0, 0)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        """Run a command on the host, or in one of its containers; see `lab.backends.simulated.commands`."""
        place: HostPlace = HostPlace(self)
        if not self._peer.powered:
            raise LabError(f"host {self.name} is switched off")
        if container:
            if not self.engine.answers:
                raise LabError(f"the container engine of {self.name} does not answer")
            try:
                found = self.engine.find(container)
            except UsageError as error:
                raise LabError(f"the host's engine says: {error} (HTTP 404)") from None
            if not found.running:
                raise LabError(f"the host's engine says: Container {container} is not running (HTTP 409)")
            place = ContainerPlace(self, found)
        cuts = self._power_cuts
        await self._pass(self.world.model.command_time)
        try:
            async with asyncio.timeout(timeout):
                result = await run_argv(place, argv)
        except TimeoutError:
            return overdue(timeout)
        return result if cuts == self._power_cuts else CommandResult(_DEAD, "", "killed: the host was switched off\n")

    async def weave(self, place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
        """The `weave` command."""
        devices = ((f"eth{number}", address) for number, address in enumerate(self.addresses))
        routes = [(ip_interface(address).network, name) for name, address in devices]
        bridge = (self.engine.bridge.network, "docker0")
        address = str(self.engine.bridge.ip)
        return await run_weave(argv[1:], place.environment, self, [*routes, bridge], address)

    async def ask(self, asked: Asked) -> str:
        """See `lab.backends.simulated.weave.RouterLife`."""
        for address in _typed(asked):
            self._invariants.by_hand(address)
        if asked.method == "DELETE" and asked.path.startswith("/peer/"):
            self._invariants.peer_removed(unquote(asked.path.removeprefix("/peer/")))
        if asked.path == "/run":
            await self._pass(self.world.model.start_time)
        return await self._ask(asked)

    async def leave(self, *, surrender: bool, restart: bool) -> None:
        """See `lab.backends.simulated.weave.RouterLife`."""
        how = [("surrender", "1")] if surrender else [("restart", "1")] if restart else []
        await self._ask(Asked("POST", _LEAVE, Fields.of(how)))

    async def clean_up(self) -> None:
        """See `lab.backends.simulated.weave.RouterLife`: remove interfaces, bridge and state."""
        if self.daemon is not None:
            return
        for container in list(self.kernel.ports):
            self.kernel.unplug(container)
        self.kernel.clear()
        self._peer.disk.erase()

    async def launch(self, options: LaunchOptions) -> None:
        """See `lab.backends.simulated.weave.RouterLife`."""
        await self._pass(self.world.model.launch_time)
        if self.daemon is not None or not self._peer.powered:
            raise OverlayError("a router runs here already" if self.daemon is not None else "the host went off")
        self._invariants.peer_starts(self._peer.name)
        daemon = SimDaemon(self._peer, self.kernel, self.engine, options, self._loop)
        daemon.on_end = lambda: self._daemon_is_gone(asked=True)
        self.daemon = daemon
        self._ended = self._loop.create_future()
        daemon.start()
        daemon.router.watch(self._saw)
        self.reach.changed()

    async def _ask(self, asked: Asked) -> str:
        daemon, ended = self.daemon, self._ended
        if daemon is None or ended is None:
            raise NotRunning
        task = self._loop.create_task(self._answered(daemon, asked))
        try:
            await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and asked.path == _LEAVE:
                await asyncio.wait((task,))
            if not task.done() or task.cancelled():
                raise RequestRefused("the router ended before it answered")
            status, text = task.result()
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if status >= 400:
            raise RequestRefused(text.strip() or str(status))
        return text

    async def _answered(self, daemon: SimDaemon, asked: Asked) -> tuple[int, str]:
        await self._going.wait()
        return await daemon.request(asked)

    def _daemon_is_gone(self, *, asked: bool = False) -> None:
        self.daemon = None
        self._going.set()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        self._tell(PeerGone(t=self.world.now, host=self.name, asked=asked))
        self.reach.changed()

    async def _pass(self, mean: int) -> None:
        """Let approximately `mean` nanoseconds pass."""
        spread = mean // self.world.model.spread_parts
        await self.until(self.world.now + mean - spread + self._rng.randrange(2 * spread + 1))

    # --- views and probes -------------------------------------------------------------------------------------------

    async def views(self) -> AsyncIterator[View | PeerGone]:
        """See `lab.contracts.lab.Host`."""
        queue: asyncio.Queue[View | PeerGone] = asyncio.Queue()
        self._viewers.append(queue)
        try:
            if self.runs:
                yield self._look()
            while True:
                try:
                    # Not `wait_for`, because it loses a cancellation that arrives at the same time as the timeout.
                    async with asyncio.timeout(self._refresh):
                        record = await queue.get()
                    yield record
                except TimeoutError:
                    told = self._peer.stopped or self._peer.sent_bytes == self._told_bytes
                    if self.runs and not told:
                        self._tell(self._look())  # counters only, no news
        finally:
            self._viewers.remove(queue)

    def _look(self) -> View:
        """The daemon's current beliefs."""
        assert self.daemon is not None
        return self._view(self.daemon.router.node.view(self._peer.now()))

    def _saw(self, t: int, belief: Belief) -> None:
        self._invariants.peer_changed(self.name)
        self._tell(self._view(belief))

    def _view(self, belief: Belief) -> View:
        assert self.daemon is not None
        self._told_bytes = self._peer.sent_bytes
        return View(
            t=self.world.now,
            host=self.name,
            peer=self.daemon.config.name,
            sent_bytes=self._peer.sent_bytes,
            **asdict(belief),
        )

    def _tell(self, record: View | PeerGone) -> None:
        for queue in self._viewers:
            queue.put_nowait(record)

    async def sniff(self, wanted: Sniffing, take: Callable[[bytes], None], enough: asyncio.Event) -> None:
        """See `lab.contracts.lab.Sniffed`: frames are built around the messages of simulated hosts."""
        interfaces = CONTAINER_INTERFACES if wanted.container else self.packets.interfaces(self.name)
        unknown = [name for name in wanted.interfaces if name not in (*interfaces, "any")]
        if unknown:
            raise LabError(f"no interface {unknown[0]} here; captures of sim have {', '.join(interfaces)}")
        sink = PacketSink(wanted, interfaces, take)
        self.packets.add(self.name, wanted.container, sink)
        self.tapped()
        try:
            await enough.wait()
        finally:
            self.packets.remove(self.name, wanted.container, sink)
            self.tapped()

    async def probe(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        """See `lab.contracts.lab.Host`."""
        async for sample in self._prober.run(probes):
            yield sample


def _typed(asked: Asked) -> list[str]:
    """The addresses chosen by a user, in a request to the control API."""
    if asked.path == "/run":
        return list(json.loads(asked.body).get("addresses") or ())
    return asked.form.every("address") if asked.path.startswith(("/attach/", "/expose")) else []

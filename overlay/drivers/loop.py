"""Drives one `Node` with asyncio: inputs in, effects out in their order, one timer.

Owns the clock, the order of effects (persist before send), pending requests and the watchers of the node's view.
Decides nothing: whatever an effect means is done by the driver it belongs to.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from msgspec.structs import replace

from overlay import effects as e
from overlay import inputs as i
from overlay.drivers.disk import Disk, DiskFull
from overlay.drivers.dns import DnsServer
from overlay.drivers.kernel import Forwarding
from overlay.drivers.sleeve import Sleeve
from overlay.drivers.tcp import TcpDriver
from overlay.drivers.udp import UdpDriver
from overlay.drivers.wireguard import WireGuard
from overlay.env import SECOND
from overlay.errors import UsageError
from overlay.node import Node
from overlay.policy.compiled import CompiledPolicy
from overlay.view import View

__all__ = ["Answer", "Router", "now"]

log = logging.getLogger(__name__)
node_log = logging.getLogger("overlay.node")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_DISK_RETRY = 0.5
"""Seconds between two tries to write to a full disk while everything behind the write waits."""
_COALESCE = 0.005
"""Seconds that a change of the view is held back, so that a burst makes one line."""

_AFTER_FAULT = 1.0
"""Seconds until the next try when a core failed while it was woken."""

Answer = str | tuple[str, ...] | None
"""What a request is answered with."""


def now() -> int:
    """This host's monotonic clock, in nanoseconds."""
    return time.monotonic_ns()


class PolicyDriver(Protocol):
    """What puts policies into the kernel."""

    problem: str
    """Why it does not; empty: it does."""

    def apply(self, policy: CompiledPolicy) -> str:
        """Have this policy decide from now on; returns how it knows replies."""
        ...


class Router:
    """One running node and everything that its effects reach. `dns` may be missing."""

    def __init__(
        self,
        node: Node,
        *,
        disk: Disk,
        forwarding: Forwarding,
        clock: Callable[[], int] = now,
    ) -> None:
        self.node = node
        self.disk = disk
        self.forwarding = forwarding
        self.clock = clock
        self.wall: Callable[[], int] = time.time_ns
        self.tcp: TcpDriver | None = None
        self.udp: UdpDriver | None = None
        self.dns: DnsServer | None = None
        self.sleeve: Sleeve | None = None
        self.wireguard: WireGuard | None = None
        self.policy: PolicyDriver | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: int | None = None
        self._backlog: deque[e.Effect] = deque()
        self._busy = False
        self._blocked = False
        self._requests: dict[int, asyncio.Future[Answer]] = {}
        self._last_request = 0
        self._watchers: dict[Callable[[int, View], None], None] = {}
        self._look_pending = False
        self._worker: ThreadPoolExecutor | None = None
        self._stopped = False
        self.on_evicted: Callable[[e.Evicted], None] = lambda _: None
        """A stopped container has lost an address."""
        self._do: dict[type[e.Effect], Callable[[Any], None]] = {
            e.Dial: self._dial,
            e.SendTcp: self._send_tcp,
            e.CloseTcp: self._close_tcp,
            e.Secure: self._secure,
            e.TellClock: self._tell_clock,
            e.Compute: self._compute,
            e.SendDatagram: self._send_datagram,
            e.Reply: self._reply,
            e.Evicted: lambda effect: self.on_evicted(effect),
            e.Log: self._log,
            e.SetForwarding: forwarding.set_forwarding,
            e.RemoveForwarding: forwarding.remove_forwarding,
            e.Announce: forwarding.announce,
            e.SetFlood: forwarding.set_flood,
            e.SetSources: forwarding.set_sources,
            e.SetSecurePeers: self._set_secure_peers,
            e.SetPolicy: self._set_policy,
            e.SendProbe: self._send_probe,
            e.DnsAnswer: self._dns_answer,
            e.DnsForward: self._dns_forward,
        }

    def start(self) -> None:
        """Start the node; the drivers must be in place."""
        self._carry_out(self.node.start(self.clock()))

    def surrender(self) -> None:
        """Give this peer's address space to another, before its state is wiped."""
        self._carry_out(self.node.surrender(self.clock()))

    def feed(self, item: i.Input) -> None:
        """Hand one input to the node and carry out what it wants."""
        self._carry_out(self.node.handle(item, self.clock()))

    async def ask(self, make: Callable[[int], i.Input], timeout: float | None = None) -> Answer:
        """Put a request to the node and wait for its answer; whoever stops waiting cancels it.

        Raises `UsageError` with the node's words, and `TimeoutError`.
        """
        self._last_request += 1
        number = self._last_request
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._requests[number] = future
        try:
            self.feed(make(number))
            async with asyncio.timeout(timeout):
                return await future
        finally:
            if self._requests.pop(number, None) is not None:
                self.feed(i.CancelRequest(number))

    def watch(self, watcher: Callable[[int, View], None]) -> None:
        """Call `watcher(t, view)` at once and at every change of the node's view."""
        self._watchers[watcher] = None
        # Asking for the view counts as having seen it, so a change that is still held back goes to all now.
        t = self.clock()
        view = self.node.view(t)
        for each in list(self._watchers) if self._look_pending else [watcher]:
            each(t, view)

    def unwatch(self, watcher: Callable[[int, View], None]) -> None:
        """Stop calling `watcher`."""
        self._watchers.pop(watcher, None)

    def stop(self) -> None:
        """Handle no timer any more; pending requests end."""
        self._stopped = True
        if self._worker is not None:
            self._worker.shutdown(wait=False, cancel_futures=True)
        if self._timer is not None:
            self._timer.cancel()
        for future in self._requests.values():
            future.cancel()

    @property
    def stalled(self) -> bool:
        """Nothing goes out, because something has to be written first and the disk is full."""
        return self._blocked

    # --- effects ---------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[e.Effect]) -> None:
        self._backlog.extend(effects)
        if not self._busy and not self._blocked:
            self._drain()
        self._arm()
        if self._watchers and not self._look_pending:
            self._look_pending = True
            self._loop.call_later(_COALESCE, self._look)

    def _drain(self) -> None:
        """Carry out the backlog in order. What must be durable is written first, all of it with one sync.

        Writing earlier than asked is safe: no effect depends on a later one being undone.
        """
        self._busy = True
        try:
            while self._backlog:
                writes = [(effect.key, effect.data) for effect in self._backlog if isinstance(effect, e.Persist)]
                if writes and not self._persist(writes):
                    return
                batch, self._backlog = self._backlog, deque()
                for effect in batch:
                    if type(effect) is not e.Persist:
                        self._one(effect)
        finally:
            self._busy = False
            if self.tcp is not None:
                self.tcp.flush()

    def _one(self, effect: e.Effect) -> None:
        do = self._do.get(type(effect))
        assert do is not None, f"{type(effect).__name__} is not an effect for a driver"
        do(effect)

    def _persist(self, writes: list[tuple[str, bytes]]) -> bool:
        try:
            self.disk.persist(writes)
        except (DiskFull, OSError) as error:
            if not self._blocked:
                log.error("%s; until then this peer says nothing to others", error)
            self._blocked = True
            self._loop.call_later(_DISK_RETRY, self._unblock)
            return False
        if self._blocked:
            log.info("the disk has room again")
            self._blocked = False
        return True

    def _unblock(self) -> None:
        self._drain()
        self._arm()

    def _dial(self, effect: e.Dial) -> None:
        assert self.tcp is not None
        self.tcp.dial(effect.address)

    def _send_tcp(self, effect: e.SendTcp) -> None:
        assert self.tcp is not None
        self.tcp.send(effect.conn, effect.message)

    def _tell_clock(self, effect: e.TellClock) -> None:
        assert self.tcp is not None
        self.tcp.send(effect.conn, replace(effect.beat, clock=self.wall()))

    def _close_tcp(self, effect: e.CloseTcp) -> None:
        assert self.tcp is not None
        self.tcp.end(effect.conn, effect.reason)

    def _secure(self, effect: e.Secure) -> None:
        assert self.tcp is not None
        self.tcp.secure(effect.conn, effect.keys)

    def _compute(self, effect: e.Compute) -> None:
        """In one thread: it takes turns with the loop every few milliseconds, where it would hold it up for longer."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "compute")
        done = self._loop.run_in_executor(self._worker, effect.work)
        done.add_done_callback(lambda future: self._computed(effect.job, future))

    def _computed(self, job: int, future: "asyncio.Future[object]") -> None:
        if not future.cancelled() and not self._stopped:
            self.feed(i.Computed(job, future.result()))

    def _send_datagram(self, effect: e.SendDatagram) -> None:
        assert self.udp is not None
        self.udp.send(effect.destination, effect.message)

    def _set_policy(self, effect: e.SetPolicy) -> None:
        if self.policy is None:
            self.feed(i.PolicyEnforced("off", "this router has no packet filter for policies"))
            return
        state = self.policy.apply(effect.policy)
        self.feed(i.PolicyEnforced("off" if self.policy.problem else state, self.policy.problem))

    def _set_secure_peers(self, effect: e.SetSecurePeers) -> None:
        if self.wireguard is not None:
            self.wireguard.set_peers(effect)

    def _send_probe(self, effect: e.SendProbe) -> None:
        if self.sleeve is not None:
            self.sleeve.send_probe(effect)

    def _reply(self, effect: e.Reply) -> None:
        future = self._requests.pop(effect.request, None)
        if future is None or future.done():
            return
        if effect.error:
            future.set_exception(UsageError(effect.error))
        else:
            future.set_result(effect.value)

    def _log(self, effect: e.Log) -> None:
        node_log.log(_LEVELS[effect.level], "%s", effect.text)

    def _dns_answer(self, effect: e.DnsAnswer) -> None:
        if self.dns is not None:
            self.dns.answer(effect.query, effect.payload)

    def _dns_forward(self, effect: e.DnsForward) -> None:
        if self.dns is not None:
            self.dns.forward(effect.query, effect.payload)

    # --- time and watchers -----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        deadline = self.node.deadline()
        if deadline == self._armed and (deadline is None or self._timer is not None):
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = deadline
        if deadline is not None:
            self._timer = self._loop.call_later(max(0, deadline - self.clock()) / SECOND, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._armed = None
        try:
            self.feed(i.Wake())
        except Exception:
            # A fault of a core must not stop the clock of all others, nor spin.
            log.exception("a core failed when woken")
            self._timer = self._loop.call_later(_AFTER_FAULT, self._wake)

    def _look(self) -> None:
        self._look_pending = False
        if not self._watchers:
            return
        if not self.node.view_changed():
            return
        t = self.clock()
        view = self.node.view(t)
        for watcher in list(self._watchers):
            watcher(t, view)

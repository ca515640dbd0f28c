"""The drivers behind a node's effects in the daemon: sockets, kernel, disk and asyncio's clock.

Decides nothing: the driver of each effect carries it out, and `overlay.runtime` decides when.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from msgspec.structs import replace

from overlay import effects as e
from overlay import inputs as i
from overlay.compiled_policy import CompiledPolicy
from overlay.kernel.forwarding import Forwarding
from overlay.kernel.wireguard import WireGuard
from overlay.node import Node
from overlay.runtime.disk import Disk
from overlay.runtime.disturbance import Disturbance, DisturbedTimers
from overlay.runtime.dns_server import DnsServer
from overlay.runtime.loop_clock import LoopClock
from overlay.runtime.node_runner import NodeRunner
from overlay.runtime.router import Router
from overlay.runtime.sleeve import Sleeve
from overlay.runtime.tcp import TcpDriver
from overlay.runtime.udp import UdpDriver

__all__ = ["DaemonRouter", "now"]

log = logging.getLogger(__name__)
node_log = logging.getLogger("overlay.node")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def now() -> int:
    """This host's monotonic clock, in nanoseconds."""
    return time.monotonic_ns()


class PolicyDriver(Protocol):
    """Installs policies in the kernel."""

    problem: str
    """Why the policy is not enforced; empty if it is."""

    def apply(self, policy: CompiledPolicy) -> str:
        """Enforce this policy from now on; returns how replies are recognised."""
        ...


class DaemonRouter(Router):
    """One running node and the drivers for all its effects. `dns` may be missing."""

    def __init__(
        self, node: Node, *, disk: Disk, forwarding: Forwarding, disturbance: Disturbance | None = None
    ) -> None:
        clock, wall = (now, time.time_ns) if disturbance is None else (disturbance.now, disturbance.wall)
        super().__init__(disk=disk, forwarding=forwarding, clock=clock, wall=wall)
        self._disturbance = disturbance
        self.tcp: TcpDriver | None = None
        self.udp: UdpDriver | None = None
        self.dns: DnsServer | None = None
        self.sleeve: Sleeve | None = None
        self.wireguard: WireGuard | None = None
        self.policy: PolicyDriver | None = None
        self._loop = asyncio.get_running_loop()
        self._worker: ThreadPoolExecutor | None = None
        self._runner = NodeRunner(
            node,
            LoopClock(clock) if disturbance is None else DisturbedTimers(clock),
            disk,
            self._table(forwarding),
            after=self._flush,
            failed=self._failed,
        )

    def true_time(self, t: int) -> int:
        """See `Router`: a lab may have disturbed the clock."""
        return t if self._disturbance is None else t + now() - self.clock()

    @property
    def runner(self) -> NodeRunner:
        return self._runner

    def stop(self) -> None:
        """Stop handling timers; pending requests end."""
        super().stop()
        if self._worker is not None:
            self._worker.shutdown(wait=False, cancel_futures=True)

    def _table(self, forwarding: Forwarding) -> Mapping[type[e.Effect], Callable[[Any], None]]:
        return {
            e.Dial: self._dial,
            e.SendTcp: self._send_tcp,
            e.CloseTcp: self._close_tcp,
            e.Secure: self._secure,
            e.TellClock: self._tell_clock,
            e.Compute: self._compute,
            e.SendDatagram: self._send_datagram,
            e.Reply: lambda effect: self._runner.reply(effect),
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

    def _flush(self) -> None:
        if self.tcp is not None:
            self.tcp.flush()

    @staticmethod
    def _failed(error: Exception) -> None:
        log.error("a core failed when woken", exc_info=error)

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
        """Run in a thread that alternates with the loop every few milliseconds; in the loop it would block longer."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "compute")
        done = self._loop.run_in_executor(self._worker, effect.work)
        done.add_done_callback(lambda future: self._computed(effect.job, future))

    def _computed(self, job: int, future: "asyncio.Future[object]") -> None:
        if not future.cancelled():
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

    def _log(self, effect: e.Log) -> None:
        node_log.log(_LEVELS[effect.level], "%s", effect.text)

    def known_answers(self, queries: list[bytes]) -> list[bytes]:
        """The answers to these datagrams, without an input for each. While effects wait for the disk there are none,
        because an answer must not tell what is not yet stored."""
        if self._runner.blocked or self._runner.stopped:
            return [b""] * len(queries)
        return self.node.resolver.packets(queries)  # type: ignore[no-any-return]

    def _dns_answer(self, effect: e.DnsAnswer) -> None:
        if self.dns is not None:
            self.dns.answer(effect.query, effect.payload)

    def _dns_forward(self, effect: e.DnsForward) -> None:
        if self.dns is not None:
            self.dns.forward(effect.query, effect.payload)

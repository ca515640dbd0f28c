"""Enforces a compiled policy on the overlay's bridge, and reports how flow state is kept.

Owns the tables `weave-policy` of the families `bridge` (the verdicts) and, if connection tracking sees bridged packets,
`inet` (which marks packets of known flows for the first table). They stay while no daemon runs; the next daemon
replaces them in one transaction and keeps the flows that its policy accepts. An empty policy has no tables. Decides
nothing: the policy comes as an effect.
"""

import logging
from collections.abc import Callable, Container, Iterable
from contextlib import suppress

from overlay.compiled_policy import Address, CompiledPolicy
from overlay.datapath.vxlan import BRIDGE
from overlay.kernel import nftables as nft
from overlay.kernel.conntrack import ConnectionTracking, sees_bridges
from overlay.kernel.policy_evaluator import PolicyEvaluator
from overlay.kernel.policy_keys import FLOWS, FlowKey, flow, key, life
from overlay.kernel.policy_rules import CHAINS, PORTS, STATE_CHAINS, PolicyRuleset, plan, state_rules

__all__ = ["CONNTRACK", "OPEN", "STATELESS", "PolicyFilter"]

log = logging.getLogger(__name__)

TABLE = "weave-policy"
_BRIDGE_FAMILY, _INET = 7, 1
"""NFPROTO_BRIDGE, NFPROTO_INET."""
OPEN, CONNTRACK, STATELESS = "", "conntrack", "stateless"
"""Where flow state is kept: no policy; in the kernel's connection tracking; in sets of our own rules."""


class PolicyFilter:
    """The filter of this host's bridge. `apply` on policy changes, `add` on new ports, `look` periodically."""

    def __init__(
        self,
        ports: Callable[[], Iterable[str]] = tuple,
        addresses: Callable[[], Container[Address]] = tuple,
        tracks: Callable[[], bool] = sees_bridges,
    ) -> None:
        """`ports`: all ports of the bridge; `addresses`: overlay addresses on this host; `tracks`: see
        `sees_bridges`."""
        self._all_ports, self._addresses, self._tracks = ports, addresses, tracks
        self._ports: dict[str, None] = {}
        self._policy = CompiledPolicy()
        self._applied = False
        self._connections: ConnectionTracking | None = None
        self.table = nft.Table(_BRIDGE_FAMILY, TABLE, (), CHAINS, ())
        self.tracking = nft.Table(_INET, TABLE, (), STATE_CHAINS, state_rules(BRIDGE))
        self._state = OPEN
        self.problem = ""
        """Why the policy is not enforced; empty if it is."""
        self.on_change: Callable[[str, str], None] = _nothing
        """Called with state and problem when they change outside of `apply`."""
        self._moved: tuple[FlowKey, ...] = ()
        """Flows that connection tracking knew when it stopped seeing bridged packets."""
        self._again = False
        """Packets in flight during the last change may have created flows since."""

    @property
    def state(self) -> str:
        """`OPEN`, `CONNTRACK` or `STATELESS`."""
        return self._state

    def apply(self, policy: CompiledPolicy) -> str:
        """Enforce this policy from now on, atomically. Returns the state; `problem` has the error."""
        before, self._policy = self._policy, policy
        if self._applied and policy == before and not self.problem:
            return self._state
        self._applied = True
        if policy.empty:
            self._remove()
            return self._state
        self._ports = dict.fromkeys(self._all_ports())
        if not self.table.installed or self._state != self._wanted_state():
            self.restore()
            return self._state
        try:
            made = self._plan()
            self.table.reshape(made.sets, made.rules, made.elements)
            self.problem = ""
        except OSError as error:
            # Somebody else has changed the table.
            log.warning("policy: %s; its table is made again", error.strerror or error)
            self.restore()
            return self._state
        self._again = True
        self._cut()
        return self._state

    def add(self, port: str) -> None:
        """Add a new port of the bridge."""
        if port not in self._ports:
            self._ports[port] = None
            self._fill_ports()

    def settle(self) -> None:
        """The daemon has started: if no policy has arrived, apply the empty policy, whatever an earlier daemon had."""
        if not self._applied:
            self.apply(CompiledPolicy())

    def look(self) -> tuple[str, ...]:
        """Follow changes by others: ports of the bridge, and whether connection tracking sees bridged packets.

        Returns what was repaired, as phrases.
        """
        if not self._applied or self._policy.empty:
            return ()
        before, problem = self._state, self.problem
        if problem or before != self._wanted_state():
            self.restore()
        ports = dict.fromkeys(self._all_ports())
        if ports.keys() != self._ports.keys():
            self._ports = ports
            self._fill_ports()
        if self._again:
            self._again = False
            self._cut()
        if (before, problem) == (self._state, self.problem):
            return ()
        self.on_change(self._state, self.problem)
        return (f"the policy's connection state is {self._state} (was {before})",) if before != self._state else ()

    def restore(self) -> None:
        """Create the tables again after others have changed them, or replace those of an earlier daemon."""
        if not self._applied:
            return
        if self._policy.empty:
            self._remove()
            return
        problem = self.problem
        try:
            self._state = self._open_state()
            self._install()
            self.problem = ""
        except OSError as error:
            self.problem = (
                f"the policy is not enforced on this host: no nftables for bridges ({error.strerror or error}): "
                "`modprobe nf_tables`, or a kernel (5.6 or newer) with CONFIG_NF_TABLES_BRIDGE"
            )
            if self.problem != problem:
                log.error("%s", self.problem)
            return
        self._again = True
        self._cut()

    def remove(self) -> None:
        """Remove the tables, if there are any."""
        self.table.remove()
        self.tracking.remove()
        self._close_connections()

    def close(self) -> None:
        """Close the sockets; the tables stay."""
        self.table.close()
        self.tracking.close()
        self._close_connections()

    # --- installation -------------------------------------------------------------------------------------------------

    def _plan(self) -> PolicyRuleset:
        return plan(self._policy, self._ports, conntrack=self._state == CONNTRACK)

    def _install(self) -> None:
        """Replace the table, and keep known flows that are still accepted."""
        made, judge = self._plan(), PolicyEvaluator(self._policy)
        self.table.close()
        self.table.reshape(made.sets, made.rules, made.elements)
        known: dict[str, dict[bytes, int]] = {}
        with suppress(InterruptedError):  # enforce the policy even if the flows cannot be read
            known = self.table.kept()
        for open_ in self._moved:
            known.setdefault(FLOWS[open_.source.version], {}).setdefault(key(open_), life(open_))
        self._moved = ()
        for name in FLOWS.values():
            known[name] = {each: left for each, left in known.get(name, {}).items() if not judge.denies(flow(each))}
        self.table.install(made.elements, known)

    def _wanted_state(self) -> str:
        return CONNTRACK if self._tracks() else STATELESS

    def _open_state(self) -> str:
        """Have connection tracking mark packets for the bridge, if possible; returns the state."""
        if self._wanted_state() == CONNTRACK:
            try:
                if self._connections is None:
                    self._connections = ConnectionTracking()
                if self._state == STATELESS:
                    # It has missed packets of these connections and would treat later ones as invalid.
                    self._connections.cut(_all, self._addresses())
                self.tracking.install({})
            except OSError as error:
                log.info("policy: no connection tracking (%s); flows are kept in sets", error.strerror or error)
                self._tracks = _never
            else:
                return CONNTRACK
        if self._connections is not None:
            self._moved = tuple(self._connections.flows(self._addresses()))
        self.tracking.remove()
        self._close_connections()
        return STATELESS

    def _cut(self) -> None:
        """Forget flows that are denied now, so that their packets are judged like those of new flows."""
        judge = PolicyEvaluator(self._policy)
        try:
            cut = self._connections.cut(judge.denies, self._addresses()) if self._connections is not None else 0
            for name, known in self.table.kept().items():
                if name in FLOWS.values():
                    denied = [each for each in known if judge.denies(flow(each))]
                    self.table.forget(name, denied)
                    cut += len(denied)
        except OSError as error:
            log.warning("policy: flows that are denied now cannot be cut yet: %s", error.strerror or error)
            self._again = True
            return
        if cut:
            log.info("policy: %d flows were cut", cut)

    def _remove(self) -> None:
        self.table.remove()
        self.tracking.remove()
        self._close_connections()
        self._state, self.problem, self._again = OPEN, "", False

    def _fill_ports(self) -> None:
        if not self.table.installed:
            return
        try:
            self.table.fill(plan_ports(self._ports))
        except OSError as error:
            log.warning("policy: %s; its table is made again", error.strerror or error)
            self.restore()

    def _close_connections(self) -> None:
        if self._connections is not None:
            self._connections.close()
            self._connections = None


def plan_ports(ports: Iterable[str]) -> dict[str, list[bytes]]:
    """The elements of the set of ports."""
    return {PORTS: [port.encode().ljust(16, b"\0") for port in ports]}


def _nothing(_state: str, _problem: str) -> None:
    pass


def _all(_: FlowKey) -> bool:
    return True


def _never() -> bool:
    return False

"""Puts a compiled policy in front of the overlay's bridge, and says how the state of flows is kept there.

Owns the tables `weave-policy` of the families `bridge` (the judgement) and, where connection tracking sees bridged
packets, `inet` (which says to the first what belongs to known flows). They stand while no daemon runs; the next one
replaces them in one transaction and takes over the flows that its policy accepts. An empty policy has no tables.
Decides nothing: the policy comes as an effect.
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
"""How the state of flows is kept: there is no policy; by the kernel's connection tracking; by rules of our own."""


class PolicyFilter:
    """The filter of this host's bridge. `apply` as the policy changes, `add` as ports come, `look` now and then."""

    def __init__(
        self,
        ports: Callable[[], Iterable[str]] = tuple,
        addresses: Callable[[], Container[Address]] = tuple,
        tracks: Callable[[], bool] = sees_bridges,
    ) -> None:
        """`ports`: all of the bridge; `addresses`: the overlay's on this host; `tracks`: see `sees_bridges`."""
        self._all_ports, self._addresses, self._tracks = ports, addresses, tracks
        self._ports: dict[str, None] = {}
        self._policy = CompiledPolicy()
        self._applied = False
        self._connections: ConnectionTracking | None = None
        self.table = nft.Table(_BRIDGE_FAMILY, TABLE, (), CHAINS, ())
        self.tracking = nft.Table(_INET, TABLE, (), STATE_CHAINS, state_rules(BRIDGE))
        self._state = OPEN
        self.problem = ""
        """Why the policy is not enforced; empty: it is."""
        self.on_change: Callable[[str, str], None] = _nothing
        """Is told the state and the problem when they change without `apply`."""
        self._moved: tuple[FlowKey, ...] = ()
        """Flows that connection tracking knew when it stopped to see bridged packets."""
        self._again = False
        """Packets that were under way at the last change may have made flows since."""

    @property
    def state(self) -> str:
        """`OPEN`, `CONNTRACK` or `STATELESS`."""
        return self._state

    def apply(self, policy: CompiledPolicy) -> str:
        """Have this policy decide from now on, in one stroke. Returns the state's word; `problem` says what failed."""
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
        """The bridge has one port more."""
        if port not in self._ports:
            self._ports[port] = None
            self._fill_ports()

    def settle(self) -> None:
        """The daemon has started: if no policy has come, there is none, whatever an earlier life had."""
        if not self._applied:
            self.apply(CompiledPolicy())

    def look(self) -> tuple[str, ...]:
        """Follow what others changed: ports of the bridge, and whether connection tracking sees bridged packets.

        Returns what was mended, as phrases.
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
        """Make the tables again, after somebody has changed them, or in the place of an earlier life's."""
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
        """Take the tables away; none is fine."""
        self.table.remove()
        self.tracking.remove()
        self._close_connections()

    def close(self) -> None:
        """Give the sockets back; the tables stay."""
        self.table.close()
        self.tracking.close()
        self._close_connections()

    # --- making -------------------------------------------------------------------------------------------------------

    def _plan(self) -> PolicyRuleset:
        return plan(self._policy, self._ports, conntrack=self._state == CONNTRACK)

    def _install(self) -> None:
        """The table in the place of any other, with the flows that are known and still accepted."""
        made, judge = self._plan(), PolicyEvaluator(self._policy)
        self.table.close()
        self.table.reshape(made.sets, made.rules, made.elements)
        known: dict[str, dict[bytes, int]] = {}
        with suppress(InterruptedError):  # the policy does not wait for the flows to be read
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
        """Have connection tracking tell the bridge what it knows, where it can."""
        if self._wanted_state() == CONNTRACK:
            try:
                if self._connections is None:
                    self._connections = ConnectionTracking()
                if self._state == STATELESS:
                    # It has missed what these said in between, and would take the rest for invalid.
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
        """Forget the flows that are denied now, so that what belongs to them is judged like something new."""
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

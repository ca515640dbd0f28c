"""Chooses the path of the traffic to each neighbour: the kernel's path or the userspace tunnel ("sleeve").

The kernel's path is plain VXLAN ("fastdp"), or VXLAN within WireGuard ("wireguard") to neighbours with encrypted
traffic where both sides have WireGuard. A neighbour has at most one of the two.

Owns the probes of full packet size on both paths, the reaction to missing replies, and the packet size of the tunnel
(RFC 8899 in spirit: only probes decide, ICMP is not trusted). Must not know how a probe is sent, nor routes. Probes
follow traffic: a path with traffic is probed often, an idle one rarely, and a missing reply is followed up at once.
"""

from enum import Enum
from typing import Any, Final

from overlay.config import Config, PeerName
from overlay.datapath.sleeve import HEADER
from overlay.datapath.vxlan import INNER_ETHERNET, TUNNEL_TAG, mtu_of
from overlay.effects import Effect, Log, Notify, ResizeTunnel, SendProbe
from overlay.env import SECOND, Random
from overlay.inputs import (
    CarriersChanged,
    Input,
    Neighbour,
    NeighboursChanged,
    NeighboursLost,
    ProbeHeard,
    TrafficSeen,
    Wake,
)
from overlay.timers import Timers
from overlay.tuning import Tuning

ANSWERS: Final = 4
"""Consecutive replies after which a failed path works again; doubled if it fails again soon."""
MAX_ANSWERS: Final = 32
UNPROVEN_MISSES: Final = 2
"""Misses after which a path has failed that never replied, though the neighbour's probes arrive on it."""
SILENT_MISSES: Final = 2
"""Misses in a row at the loss of a connection that show that the network was silent, and not only the daemon."""
LADDER: Final = (1400, 1300, 1260, 1200, 1172, 1100, 1000, 900, 800, 700, 600, 548)
"""Sizes (UDP payload) tried in parallel if the wanted size gets no reply: those of common links, down to the size that
every IPv4 link should carry (576 bytes, RFC 1122, 3.3.3)."""
STEPS: Final = 8
"""Sizes tried in parallel between a size that got a reply and one that did not."""
PRECISION: Final = 8


class Fast(Enum):
    """State of the kernel's path to a neighbour."""

    FORBIDDEN = "forbidden"
    """Traffic must be encrypted but one side has no WireGuard, or `--no-fastdp` is set."""
    TRUSTED = "trusted"
    DOUBTED = "doubted"
    """A probe got no reply; the path is still in use."""
    FAILED = "failed"
    RECOVERING = "recovering"
    """It replies again, or is untested; not in use. WireGuard starts here, because its port may be blocked."""


class PathEvent(Enum):
    ANSWER = "answer"
    MISS = "miss"
    TOO_MANY = "too many"
    """A miss that reaches the limit of misses."""
    ENOUGH = "enough"
    """A reply that reaches the required number of replies."""
    HEALED = "healed"
    """Both paths got no replies, and now the tunnel replies again."""


TRANSITIONS: Final = {
    (Fast.TRUSTED, PathEvent.ANSWER): Fast.TRUSTED,
    (Fast.TRUSTED, PathEvent.MISS): Fast.DOUBTED,
    (Fast.TRUSTED, PathEvent.TOO_MANY): Fast.FAILED,
    (Fast.DOUBTED, PathEvent.ANSWER): Fast.TRUSTED,
    (Fast.DOUBTED, PathEvent.MISS): Fast.DOUBTED,
    (Fast.DOUBTED, PathEvent.TOO_MANY): Fast.FAILED,
    (Fast.FAILED, PathEvent.ANSWER): Fast.RECOVERING,
    (Fast.FAILED, PathEvent.MISS): Fast.FAILED,
    (Fast.FAILED, PathEvent.HEALED): Fast.DOUBTED,
    (Fast.RECOVERING, PathEvent.HEALED): Fast.DOUBTED,
    (Fast.RECOVERING, PathEvent.ANSWER): Fast.RECOVERING,
    (Fast.RECOVERING, PathEvent.ENOUGH): Fast.TRUSTED,
    (Fast.RECOVERING, PathEvent.MISS): Fast.FAILED,
}
IN_USE: Final = (Fast.TRUSTED, Fast.DOUBTED)


class TunnelState(Enum):
    """State of the tunnel to a neighbour."""

    CONFIRMED = "confirmed"
    DOUBTED = "doubted"
    """Untested, or a probe of the current size got no reply."""
    SEARCHING = "searching"
    """Several sizes are being probed."""
    SILENT = "silent"
    """No size gets a reply."""


class _Prober:
    """Probes in flight on one path, and the round-trip time."""

    __slots__ = ("_tuning", "asked", "due", "history", "misses", "round_trip", "streak", "waiting")

    def __init__(self, due: int, tuning: Tuning) -> None:
        self._tuning = tuning
        self.due = due
        self.waiting: tuple[int, int] | None = None
        """When the current probe was sent, and when it counts as missed."""
        self.asked: dict[int, tuple[int, int]] = {}
        """Send time and size of each probe by nonce; late replies count too."""
        self.round_trip = 0
        self.misses = 0
        self.streak = 0
        self.history = 0
        """One bit for each of the last sixteen probes; 1 is a miss."""

    @property
    def timeout(self) -> int:
        return min(max(self._tuning.probe_timeout, 3 * self.round_trip), self._tuning.probe_timeout_max)

    def ask(self, nonce: int, size: int, now: int) -> None:
        while len(self.asked) >= 32:
            del self.asked[next(iter(self.asked))]
        self.asked[nonce] = (now, size)
        self.waiting = (now, now + (self.timeout if self.round_trip else 2 * self._tuning.probe_timeout))

    def answered(self, nonce: int, now: int) -> int:
        """Record a reply. Returns the size of its probe; 0 if there is no such probe."""
        asked = self.asked.pop(nonce, None)
        if asked is None:
            return 0
        taken = now - asked[0]
        self.round_trip = taken if not self.round_trip else (7 * self.round_trip + taken) // 8
        self.waiting = None
        self.misses = 0
        self.streak += 1
        self.history = self.history << 1 & 0xFFFF
        return asked[1]

    def missed(self) -> None:
        self.waiting = None
        self.misses += 1
        self.streak = 0
        self.history = (self.history << 1 | 1) & 0xFFFF

    @property
    def next(self) -> int:
        return self.waiting[1] if self.waiting is not None else self.due


class _Paths:
    """The paths to one neighbour."""

    __slots__ = (
        "address", "best", "busy_until", "connection", "encrypted", "failed_at", "failing", "fast", "fast_heard_at",
        "needed", "peer", "probe", "raise_at", "silent", "size", "switched", "tried", "tube", "tube_probe", "tunnel",
        "want",
    )  # fmt: skip

    def __init__(self, neighbour: Neighbour, want: int, fast: Fast, now: int, tuning: Tuning) -> None:
        self.peer = neighbour.peer
        self.connection = neighbour.connection
        self.encrypted = neighbour.keys is not None
        self.address = neighbour.address
        self.tunnel = neighbour.tunnel
        self.want = want
        self.fast = fast
        self.switched = fast not in IN_USE
        """The tunnel carries the traffic. If both paths fail, as in a partition, the choice stays as it is."""
        self.silent = False
        """The tunnel got no reply at all in its last search."""
        self.tube = TunnelState.DOUBTED
        self.size = want
        self.best = 0
        """The largest size that got a reply in this search."""
        self.failing = 0
        """The smallest size that got none."""
        self.tried: list[int] = []
        self.raise_at = 0
        self.failed_at = -MAX_ANSWERS * SECOND
        self.fast_heard_at: int | None = None
        """When the neighbour's last probe or reply arrived on the kernel's path."""
        self.needed = ANSWERS
        self.busy_until = now + tuning.probe_busy_for
        self.probe = _Prober(now, tuning)
        self.tube_probe = _Prober(now, tuning)

    @property
    def kind(self) -> str:
        """Name of the kernel's path."""
        return "wireguard" if self.encrypted else "fastdp"

    @property
    def via(self) -> str:
        """See `effects.SendProbe`."""
        return self.tunnel.address if self.tunnel is not None else ""

    def due(self) -> int:
        tube = self.tube_probe.next
        return tube if self.fast is Fast.FORBIDDEN else min(self.probe.next, tube)


class Paths:
    """The path choice of one peer."""

    def __init__(self, config: Config, rng: Random) -> None:
        self._mtu = mtu_of(config, 1500)
        self._fast = config.fastdp
        self._rng = rng
        self._tuning = config.tuning
        self._neighbours: dict[PeerName, _Paths] = {}
        self.timers: Timers[PeerName] = Timers()
        self._tunnelled: tuple[PeerName, ...] = ()
        self._phase = rng.randrange(self._tuning.probe_together)
        self._stale = False
        """`_tunnelled` may have changed."""

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Handle `input` and return the effects. Raises TypeError for an input that does not belong to path choice."""
        effects: list[Effect] = []
        match input:
            case NeighboursChanged():
                effects += self._set(input.neighbours, now)
            case ProbeHeard():
                self._heard(input, now, effects)
            case TrafficSeen():
                for peer in input.peers:
                    self._busy(peer, now)
            case Wake():
                while (due := self.timers.pop(now)) is not None:
                    self._work(self._neighbours[due], now, effects)
                    self._arm(due)
            case _:
                raise TypeError(f"not an input of path choice: {input!r}")
        if self._stale:
            effects += self._settle()
        return effects

    def deadline(self) -> int | None:
        return self.timers.first

    def _arm(self, peer: PeerName) -> None:
        self.timers.set(peer, self._neighbours[peer].due())

    @property
    def tunnelled(self) -> tuple[PeerName, ...]:
        """The neighbours whose traffic goes through the tunnel, sorted."""
        return self._tunnelled

    def knows(self, peer: PeerName) -> bool:
        """Whether it is a neighbour."""
        return peer in self._neighbours

    def carried(self, peer: PeerName) -> bool:
        """Whether the kernel carries the traffic to this neighbour."""
        paths = self._neighbours.get(peer)
        return paths is not None and not paths.switched

    # --- inputs -------------------------------------------------------------------------------------------------------

    def _set(self, neighbours: tuple[Neighbour, ...], now: int) -> list[Effect]:
        before, self._neighbours = self._neighbours, {}
        for neighbour in neighbours:
            known = before.get(neighbour.peer)
            if known is None or known.connection != neighbour.connection:
                encrypted = neighbour.keys is not None
                want = self._mtu + INNER_ETHERNET + HEADER + (TUNNEL_TAG if encrypted else 0)
                fast = Fast.RECOVERING if encrypted else Fast.TRUSTED
                if not self._fast or (encrypted and neighbour.tunnel is None):
                    fast = Fast.FORBIDDEN
                fresh = _Paths(neighbour, want, fast, now, self._tuning)
                if (
                    known is not None
                    and known.address.host == fresh.address.host
                    and known.tunnel == fresh.tunnel
                    and Fast.FORBIDDEN not in (known.fast, fast)
                ):
                    fresh.fast, fresh.needed, fresh.failed_at = known.fast, known.needed, known.failed_at
                    fresh.switched = known.switched
                known = fresh
            self._neighbours[neighbour.peer] = known
            self._arm(neighbour.peer)
        lost = tuple(peer for peer in before if peer not in self._neighbours)
        for peer in lost:
            self.timers.cancel(peer)
        self._stale = True
        if not lost:
            return []
        return [Notify(NeighboursLost(lost, tuple(p for p in lost if before[p].probe.misses >= SILENT_MISSES)))]

    def _busy(self, peer: PeerName, now: int) -> None:
        paths = self._neighbours.get(peer)
        if paths is None:
            return
        paths.busy_until = now + self._tuning.probe_busy_for
        soon = now + self._tuning.probe_busy_interval
        paths.probe.due = min(paths.probe.due, soon)
        if paths.fast not in IN_USE:
            paths.tube_probe.due = min(paths.tube_probe.due, soon)
        self._arm(peer)

    def _heard(self, input: ProbeHeard, now: int, effects: list[Effect]) -> None:
        paths = self._neighbours.get(input.peer)
        if paths is None:
            return
        if input.fast:
            paths.fast_heard_at = now
        if not input.answer:
            if input.fast and not self._fast:
                return  # so that the neighbour uses the tunnel too
            via = paths.via if input.fast else ""
            if via or not (input.fast and paths.encrypted):
                effects.append(SendProbe(paths.peer, paths.address, input.fast, input.nonce, input.size, True, via))
        elif input.fast and paths.fast is not Fast.FORBIDDEN:
            if paths.probe.answered(input.nonce, now):
                enough = paths.fast is Fast.RECOVERING and paths.probe.streak >= paths.needed
                self._advance(paths, PathEvent.ENOUGH if enough else PathEvent.ANSWER, now, effects)
                paths.probe.due = now + self._pause(paths, now)
        elif not input.fast:
            self._tube_answered(paths, input.nonce, now, effects)
        self._arm(input.peer)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _work(self, paths: _Paths, now: int, effects: list[Effect]) -> None:
        probe = paths.probe
        if paths.fast is not Fast.FORBIDDEN and probe.next <= now:
            if probe.waiting is not None:
                probe.missed()
                over = paths.fast in IN_USE and self._is_too_many(paths)
                self._advance(paths, PathEvent.TOO_MANY if over else PathEvent.MISS, now, effects)
                probe.due = now if paths.fast in IN_USE else now + self._pause(paths, now)
            if probe.due <= now:
                self._ask(paths, True, self._mtu + INNER_ETHERNET, now, effects)
        if paths.tube_probe.next <= now:
            self._tube_work(paths, now, effects)

    def _is_too_many(self, paths: _Paths) -> bool:
        """Whether the misses mean that the kernel's path has failed. Where the tunnel replies and this path has not
        yet, few are enough: a NAT or a firewall lets only the tunnel pass. A NAT passes one of the directions."""
        probe = paths.probe
        if not probe.round_trip and paths.tube is TunnelState.CONFIRMED:
            return paths.fast_heard_at is None or probe.misses >= UNPROVEN_MISSES
        return probe.misses >= self._tuning.probe_misses or probe.history.bit_count() >= self._tuning.probe_lossy

    def _ask(self, paths: _Paths, fast: bool, size: int, now: int, effects: list[Effect]) -> None:
        nonce = self._rng.getrandbits(63)
        (paths.probe if fast else paths.tube_probe).ask(nonce, size, now)
        via = paths.via if fast else ""
        effects.append(SendProbe(paths.peer, paths.address, fast, nonce, size, False, via))

    def _pause(self, paths: _Paths, now: int) -> int:
        """Time until the next probe of the kernel's path after a reply, or after a miss on a path not in use."""
        if paths.fast is Fast.RECOVERING:
            return self._tuning.probe_timeout
        if paths.fast is Fast.FAILED:
            return self._tuning.probe_failed_interval
        return self._usual(paths, now)

    def _usual(self, paths: _Paths, now: int) -> int:
        if paths.busy_until > now:
            return max(
                self._tuning.probe_busy_interval, len(self._neighbours) * SECOND // self._tuning.probe_busy_budget
            )
        return self._idle(now)

    def _idle(self, now: int) -> int:
        pause = max(self._tuning.probe_idle_interval, len(self._neighbours) * SECOND // self._tuning.probe_budget)
        due = now + pause - pause // 8 + self._rng.randrange(pause // 4)
        return due + (self._phase - due) % self._tuning.probe_together - now

    def _advance(self, paths: _Paths, event: PathEvent, now: int, effects: list[Effect]) -> None:
        before = paths.fast
        after = paths.fast = TRANSITIONS[before, event]
        if after in IN_USE and paths.switched:
            paths.switched, self._stale = False, True
        if after is Fast.FAILED and before in IN_USE:
            soon = now - paths.failed_at < MAX_ANSWERS * SECOND
            paths.needed = min(2 * paths.needed, MAX_ANSWERS) if soon else ANSWERS
            paths.failed_at = now
            paths.probe.history = 0
            if paths.tube is not TunnelState.SEARCHING:
                self._search(paths, now, effects)
        elif after is Fast.TRUSTED and before is Fast.RECOVERING:
            paths.probe.history = 0
            effects.append(Log("info", f"{paths.kind} to {paths.peer} works and takes the traffic"))

    # --- the tunnel ---------------------------------------------------------------------------------------------------

    def _tube_work(self, paths: _Paths, now: int, effects: list[Effect]) -> None:
        probe = paths.tube_probe
        if probe.waiting is not None:
            probe.missed()
            if paths.tube is TunnelState.SEARCHING:
                self._round_over(paths, now, effects)
                return
            paths.tube = TunnelState.DOUBTED if paths.tube is not TunnelState.SILENT else TunnelState.SILENT
            if probe.misses >= self._tuning.probe_misses - 1 or paths.tube is TunnelState.SILENT:
                self._search(paths, now, effects)
                return
        if paths.tube is TunnelState.SILENT:
            self._search(paths, now, effects)
            return
        size = paths.size
        if size < paths.want and now >= paths.raise_at:
            paths.raise_at = now + self._tuning.probe_raise_interval
            nonce = self._rng.getrandbits(63)
            probe.asked[nonce] = (now, paths.want)
            effects.append(SendProbe(paths.peer, paths.address, False, nonce, paths.want, False))
        self._ask(paths, False, size, now, effects)

    def _tube_answered(self, paths: _Paths, nonce: int, now: int, effects: list[Effect]) -> None:
        probe = paths.tube_probe
        waiting = probe.waiting
        size = probe.answered(nonce, now)
        if not size:
            return
        if paths.tube is TunnelState.SEARCHING:
            paths.best = max(paths.best, size)
            if paths.best < paths.want:
                probe.waiting = waiting
                return
        if size >= paths.size or paths.tube is TunnelState.SEARCHING:
            self._confirm(paths, size, now, effects)

    def _confirm(self, paths: _Paths, size: int, now: int, effects: list[Effect]) -> None:
        paths.tube = TunnelState.CONFIRMED
        self._switch(paths, effects)
        probe = paths.tube_probe
        probe.waiting = None
        probe.due = now + (self._idle(now) if paths.fast in IN_USE else self._usual(paths, now))
        if size != paths.size:
            paths.size = size
            paths.raise_at = now + self._tuning.probe_raise_interval
            effects.append(ResizeTunnel(paths.peer, size))
            effects.append(Log("info", f"the tunnel to {paths.peer} takes packets of {size} bytes now"))

    def _switch(self, paths: _Paths, effects: list[Effect]) -> None:
        """The tunnel has replied: switch traffic to it if the kernel's path has failed and still fails."""
        silent, paths.silent = paths.silent, False
        if paths.fast in IN_USE or paths.switched:
            return
        if silent:
            paths.fast = TRANSITIONS[paths.fast, PathEvent.HEALED]
            paths.probe.misses = self._tuning.probe_misses // 2
            paths.probe.waiting, paths.probe.due = None, paths.tube_probe.due
        else:
            paths.switched, self._stale = True, True
            effects.append(Log("info", f"{paths.kind} to {paths.peer} fails; its traffic takes the tunnel"))

    def _search(self, paths: _Paths, now: int, effects: list[Effect]) -> None:
        paths.tube = TunnelState.SEARCHING
        paths.best, paths.failing = 0, paths.want + 1
        self._try(paths, [paths.want, *(size for size in LADDER if size < paths.want)], now, effects)

    def _try(self, paths: _Paths, sizes: list[int], now: int, effects: list[Effect]) -> None:
        paths.tried = sizes
        for size in sizes:
            self._ask(paths, False, size, now, effects)

    def _round_over(self, paths: _Paths, now: int, effects: list[Effect]) -> None:
        """All replies of this round are in or late: narrow the gap, or use the best size found."""
        if not paths.best:
            paths.tube, paths.silent = TunnelState.SILENT, True
            paths.tube_probe.due = now + self._tuning.probe_failed_interval
            return
        paths.failing = min((size for size in paths.tried if size > paths.best), default=paths.failing)
        gap = paths.failing - paths.best
        if paths.size > paths.best:  # use it at once, and refine it afterwards
            paths.size = paths.best
            effects.append(ResizeTunnel(paths.peer, paths.best))
        self._switch(paths, effects)
        if gap <= PRECISION:
            self._confirm(paths, paths.best, now, effects)
            return
        step = max(PRECISION // 2, gap // (STEPS + 1))
        self._try(paths, list(range(paths.best + step, paths.failing, step))[STEPS::-1], now, effects)

    # --- results ------------------------------------------------------------------------------------------------------

    def _settle(self) -> list[Effect]:
        self._stale = False
        tunnelled = tuple(sorted(peer for peer, paths in self._neighbours.items() if paths.switched))
        if tunnelled == self._tunnelled:
            return []
        self._tunnelled = tunnelled
        return [Notify(CarriersChanged(tunnelled))]

    def report(self, now: int) -> dict[str, Any]:
        """JSON-able: for each neighbour the path in use, and the state of both."""
        return {
            peer: {
                "path": "sleeve" if paths.switched else paths.kind,
                paths.kind: paths.fast.value,
                "sleeve": paths.tube.value,
                "encrypted": paths.encrypted,
                "fast_heard_age": None if paths.fast_heard_at is None else now - paths.fast_heard_at,
                "mtu": paths.size - HEADER - INNER_ETHERNET - (TUNNEL_TAG if paths.encrypted else 0),
                "round_trip": (paths.tube_probe if paths.switched else paths.probe).round_trip,
            }
            for peer, paths in sorted(self._neighbours.items())
        }

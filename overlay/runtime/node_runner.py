"""Runs one core: inputs in, effects out in order, one timer. The only code that interprets the core contract.

Owns the order of effects (durable writes come before all other effects), the wait for a full or slow disk, the timer,
open requests, and the watchers of the core's view. The daemon, the simulator and the tests' worlds pass in a clock, a
store, and a function for each kind of effect. Does no I/O itself, and must not know what an effect means.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from overlay.effects import Effect, Log, Persist, Reply
from overlay.env import MILLISECOND, SECOND
from overlay.errors import OverlayError
from overlay.inputs import CancelRequest, Input, Wake

__all__ = ["Clock", "Core", "NodeRunner", "Store"]

DISK_RETRY = SECOND // 2
"""Interval between write retries on a full disk; all later effects wait."""
COALESCE = 5 * MILLISECOND
"""Changes of the view are held back for this long, so that a burst of changes is reported once."""
AFTER_FAULT = SECOND
"""Time until the next try after a core raised an exception in a timer."""
_WAKE = Wake()


class Core(Protocol):
    """The core contract. Watched cores also have `view(now)` and `view_changed()`."""

    def handle(self, input: Input, now: int) -> list[Effect]:
        """Process one input at `now` (nanoseconds of the runner's clock); returns the effects, in order."""

    def deadline(self) -> int | None:
        """When the core wants to be woken; None: never. A time in the past means at once."""


class Clock(Protocol):
    """A clock in nanoseconds that never goes backwards, and timers on it. A timer cannot be cancelled."""

    def now(self) -> int:
        """The current time."""

    def call_at(self, due: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` once the clock reaches `due`. If it already has, call it soon, but not within this
        call."""

    def call_after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` after `delay` nanoseconds."""


class Store(Protocol):
    """A durable store of keys and bytes."""

    @property
    def latency(self) -> int:
        """Nanoseconds that a write takes in addition to the call; 0 if the call itself blocks."""

    def persist(self, items: list[tuple[str, bytes]]) -> None:
        """Make all items durable. Raises `OverlayError` or `OSError`; nothing is guaranteed then, and the runner
        retries."""


class NodeRunner:
    """Runs `core`. `do` maps each kind of effect (except `Persist`) to a function; other kinds go to `other`.

    `after` is called when an input is handled and its effects are done (or wait for the store). `failed` receives
    exceptions that the core raises in a timer, and the clock continues; without it the exception propagates.
    """

    __slots__ = (
        "_after",
        "_backlog",
        "_busy",
        "_clock",
        "_do",
        "_failed",
        "_full",
        "_last_request",
        "_look_pending",
        "_other",
        "_store",
        "_wake_at",
        "_watchers",
        "blocked",
        "core",
        "handled",
        "requests",
        "stopped",
    )

    def __init__(
        self,
        core: Any,
        clock: Clock,
        store: Store,
        do: Mapping[type[Effect], Callable[[Any], None]],
        *,
        other: Callable[[Effect], None] | None = None,
        after: Callable[[], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self.core = core
        self.handled = 0
        """Number of inputs that the core has handled."""
        self.blocked = False
        """Effects wait for the store."""
        self.stopped = False
        self.requests: dict[int, Callable[[Reply], None]] = {}
        """Open requests and the callback for each reply."""
        self._clock = clock
        self._store = store
        self._do = do
        self._other = other
        self._after = after
        self._failed = failed
        self._backlog: list[Effect] = []
        self._busy = False
        self._full = False
        self._wake_at: int | None = None
        self._last_request = 0
        self._watchers: dict[Callable[[int, Any], None], None] = {}
        self._look_pending = False

    def feed(self, item: Input) -> None:
        """Pass one input to the core and carry out its effects. Does nothing after `stop`."""
        if not self.stopped:
            self.handled += 1
            self.carry_out(self.core.handle(item, self._clock.now()))

    def carry_out(self, effects: list[Effect]) -> None:
        """Carry out the core's effects in order, then set its timer."""
        if self._busy or self.blocked:
            self._backlog.extend(effects)
        elif effects or self._after is not None:
            self._drain(effects)
        if self.stopped:
            return
        self._arm()
        if self._watchers and not self._look_pending:
            self._look_pending = True
            self._clock.call_after(COALESCE, self._look)

    def stop(self) -> None:
        """Stop the core: its later effects, timers and replies are ignored."""
        self.stopped = True
        self._backlog = []
        self._watchers.clear()
        self.requests.clear()

    def clock_was_set(self) -> None:
        """Handle a change of the clock."""
        self._wake_at = None
        self._arm()

    # --- requests --------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A number that this core has not used for a request or a DNS query before."""
        self._last_request += 1
        return self._last_request

    def request(self, make: Callable[[int], Input], then: Callable[[Reply], None]) -> int:
        """Send a request to the core; `then` gets the one reply, possibly within this call. Returns the request's
        number."""
        number = self.expect(then)
        self.feed(make(number))
        return number

    def expect(self, then: Callable[[Reply], None]) -> int:
        """A number for a request that the caller feeds; `then` gets the reply."""
        number = self.number()
        self.requests[number] = then
        return number

    def cancel(self, number: int) -> None:
        """Ignore the reply to this request. Does nothing if it has been replied to."""
        if self.requests.pop(number, None) is not None:
            self.feed(CancelRequest(number))

    def reply(self, effect: Reply) -> None:
        """Handle `Reply`; an entry of the table `do`."""
        then = self.requests.pop(effect.request, None)
        if then is not None:
            then(effect)

    # --- watchers --------------------------------------------------------------------------------------------------

    def watch(self, watcher: Callable[[int, Any], None]) -> None:
        """Call `watcher(t, view)` at once and at every change of the core's view."""
        self._watchers[watcher] = None
        # Reading the view clears the pending change, so report it to all watchers now.
        t = self._clock.now()
        view = self.core.view(t)
        for each in list(self._watchers) if self._look_pending else [watcher]:
            each(t, view)

    def unwatch(self, watcher: Callable[[int, Any], None]) -> None:
        """Stop calling `watcher`."""
        self._watchers.pop(watcher, None)

    def _look(self) -> None:
        self._look_pending = False
        if not self._watchers or not self.core.view_changed():
            return
        t = self._clock.now()
        view = self.core.view(t)
        for watcher in list(self._watchers):
            watcher(t, view)

    # --- effects ---------------------------------------------------------------------------------------------------

    def _drain(self, effects: list[Effect]) -> None:
        """Carry out `effects` and those that are added in the meantime. All durable writes come first, in one batch.

        It is safe to write earlier than requested, because no effect depends on a later write not having happened.
        """
        self._busy = True
        try:
            while effects:
                writes = [effect for effect in effects if type(effect) is Persist]
                if writes and not self._written(effects, writes):
                    return
                for effect in effects:
                    if type(effect) is Persist:
                        continue
                    do = self._do.get(type(effect), self._other)
                    assert do is not None, f"nobody carries out {type(effect).__name__}"
                    do(effect)
                effects, self._backlog = self._backlog, []
        finally:
            self._busy = False
            if self._after is not None:
                self._after()

    def _written(self, effects: list[Effect], writes: list[Persist]) -> bool:
        """Write these. Returns whether they are durable; if not, all effects wait."""
        wait = 0 if self.blocked else self._store.latency
        if not wait:
            try:
                self._store.persist([(write.key, write.data) for write in writes])
            except (OverlayError, OSError) as error:
                if not self._full:
                    self._note("error", f"{error}; until then this peer says nothing to others")
                self._full = True
                wait = DISK_RETRY
        if wait:
            self.blocked = True
            self._backlog = [*effects, *self._backlog]
            self._clock.call_after(wait, self._unblock)
            return False
        if self._full:
            self._note("info", "the disk has room again")
        self.blocked = self._full = False
        return True

    def _unblock(self) -> None:
        """Retry the write."""
        if self.stopped:
            return
        effects, self._backlog = self._backlog, []
        self._drain(effects)
        self._arm()

    def _note(self, level: Any, text: str) -> None:
        do = self._do.get(Log, self._other)
        if do is not None:
            do(Log(level, text))

    # --- time ------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due = self.core.deadline()
        if due is not None and (self._wake_at is None or due < self._wake_at):
            self._wake_at = due
            self._clock.call_at(due, self._wake, due)

    def _wake(self, due: int) -> None:
        if self.stopped or self._wake_at != due:
            return  # another timer, or a change of the clock, has replaced this one
        self._wake_at = None
        deadline = self.core.deadline()
        if deadline is None:
            return
        if deadline > self._clock.now():
            self._arm()
            return
        try:
            self.feed(_WAKE)
        except Exception as error:
            if self._failed is None:
                raise
            # An exception in one core must neither stop the clock of all others nor cause a busy loop.
            self._failed(error)
            self._wake_at = again = self._clock.now() + AFTER_FAULT
            self._clock.call_at(again, self._wake, again)

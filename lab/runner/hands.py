"""Manual steps in a running run: steps from other terminals, pages and programs, during or after its own timeline.

Owns the serialization of changes, what the next client is told of each change, the author of each change (in the
history), the list of what is in force, and undo. Each request either becomes one step of the run or is refused without
any effect. Knows nothing of sockets and terminals; `lab.runner.open_timeline` owns the valid steps.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from lab.contracts.lab import Joinable
from lab.errors import Exhausted, LabError, StepRefused
from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import verbs
from lab.records.history import AnyRecord, Event
from lab.runner.open_timeline import NextStep, OpenTimeline
from lab.runner.stage import Stage
from lab.scenario.check import nearest
from lab.scenario.steps import Step
from lab.scenario.values import format_duration
from lab.words import span, step_number
from overlay.clean import clean

__all__ = ["Hands", "Move"]

_NAME = 64
"""Maximum length of a client's name, in characters."""
_TOLD = 12
"""Maximum number of faults and moves that a message names."""
_LAST_TURN = 10.0
"""Seconds that a step in progress gets when the run ends."""
_OWN = ("at", "on_failure")
"""Keys that a manual step must not have: it is carried out now, and the lab continues on failure."""

Play = Callable[[Step, int], Awaitable[None]]
"""Carries out a step under a number."""


class Move(Struct, frozen=True):
    """A change that a client made by hand."""

    index: int
    by: str
    t: int
    label: str
    back: dict[str, Any] | None = None
    """The step that reverts it; None if it is a fault, or cannot be reverted."""


class Hands:
    """The operations of other clients on a run, and the changes they have made."""

    def __init__(
        self,
        timeline: OpenTimeline,
        *,
        stands: bool = False,
        run_dir: Path | None = None,
        begun: Callable[[], None] | None = None,
    ) -> None:
        """`stands`: the run has no end of its own; it goes on until a user takes the lab down. `begun` is called once,
        at the first manual step."""
        self.timeline = timeline
        self.stands = stands
        self.run_dir = run_dir
        self._begun = begun
        self.moves: list[Move] = []
        self._taken_back: set[int] = set()
        """Moves that were reverted by a step, and the steps that reverted them."""
        self._waiting: dict[int, Event | None] = {}
        """Steps in progress, each with the event of its result."""
        self._turn = asyncio.Lock()
        self._stage: Stage | None = None
        self._play: Play | None = None
        self._closed = "the lab is coming up: ask again when its first steps are done"

    # Called by the run

    def meet(self, stage: Stage, play: Play) -> None:
        """The lab is up; `play` carries out steps."""
        self._stage, self._play = stage, play

    def feed(self, record: AnyRecord) -> None:
        """Take the next record of the history."""
        if isinstance(record, Event) and record.ok is not None and self._waiting.get(record.step, record) is None:
            self._waiting[record.step] = record

    def open(self) -> None:
        """Accept steps from now on."""
        self._closed = ""

    async def close(self, why: str) -> None:
        """Refuse further steps; returns when the step in progress is done, or its time is up."""
        self._closed = why
        if self._turn.locked():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_TURN), self._turn:
                    pass

    @property
    def is_open(self) -> bool:
        """Whether steps are accepted."""
        return not self._closed

    @contextlib.asynccontextmanager
    async def turn(self, step: Step) -> AsyncIterator[None]:
        """Wait for the turn to carry out a step; steps that only watch or wait run concurrently."""
        async with self._turn if step.kind.setup != "watch" else contextlib.nullcontext():
            yield

    # Called by clients

    async def take(self, asked: Any) -> tuple[int, Event]:
        """Take a step of the program that drives the run: it is the next step of the timeline, and may end the run.
        Raises `StepRefused` if nothing was done."""
        async with self._turn:
            following = self.timeline.understood(asked)
            index = self.timeline.take(following)
            if following.changes:
                return index, await self._carried_out(following.step, index)
        return index, await self._carried_out(following.step, index)

    async def step(
        self, *, step: Any, by: str = "", lease: int | None = None, seen: int | None = None
    ) -> dict[str, Any]:
        """Take a step now. `lease`: maximum duration of its fault in nanoseconds; `seen`: number of moves that the
        client has seen."""
        before = len(self.moves) if seen is None else seen
        asked, by = _leased(step, lease), _named(by)
        async with self._turn:
            following = await self._meant(asked, before)
            meanwhile = [{"index": move.index, "by": move.by, "label": move.label} for move in self.moves[before:]]
            index = self._taken(following, by)
            if following.changes:
                event = await self._changed(following, index, by)
        if not following.changes:
            event = await self._or_fail(self._carried_out(_forgiving(following.step), index))
        answer = {"index": index, "event": msgspec.to_builtins(event)}
        return answer | ({"meanwhile": meanwhile} if meanwhile else {})

    async def add_host(self, *, host: str, network: str | None = None, by: str = "") -> dict[str, Any]:
        """Add a host: fabric and engine first, then the overlay is launched there with the first host as its peer."""
        stage, by, before = self._now(), _named(by), len(self.moves)
        if not hasattr(stage.lab, "join"):
            raise LabError(
                "hosts join a running lab on netns only; elsewhere add it to the scenario, and `lab up` again"
            )
        async with self._turn:
            self._now()
            first = next(iter(stage.scenario.hosts))
            spec = self.timeline.with_host(str(host), network)
            await self._before_the_first()
            try:
                await cast(Joinable, stage.lab).join(self.timeline.resolved, spec.name)
            except Exception:
                self.timeline.without_host(spec.name)
                raise
            places = {place.network: place.address for place in spec.interfaces}
            await stage.host_joins(
                spec.name, by=by, added={"host": spec.name, "network": network or "", "places": places}
            )
            steps: list[dict[str, Any]] = [{"launch": [spec.name]}, {"connect": {"from": spec.name, "to": [first]}}]
            done = [await self._one_of(step, before, by) for step in (steps if stage.overlay.has_daemons else [])]
        return {"host": spec.name, "address": spec.address, "steps": done}

    async def remove_host(self, *, host: str, by: str = "") -> dict[str, Any]:
        """Remove a host: its peer says farewell and forgets its state, then its power and its cables are cut."""
        stage, by, before = self._now(), _named(by), len(self.moves)
        async with self._turn:
            self._now()
            known = tuple(stage.scenario.hosts)
            if host not in known:
                hint = nearest(str(host), known)
                raise LabError(f"no host named {host}; hosts: {', '.join(known)}" + (f"; {hint}" if hint else ""))
            if host in stage.live.hosts_down:
                raise LabError(f"{host} is switched off already; {self._in_force()}")
            forgets = host in stage.live.daemons and OVERLAYS.get(stage.scenario.overlay).can("reset")
            steps: list[dict[str, Any]] = [*([{"reset": [host]}] if forgets else []), {"kill": {"host": host}}]
            done = [await self._one_of(step, before, by) for step in steps]
        return {"host": host, "steps": done}

    async def undo(self, *, index: int | None = None, by: str = "") -> dict[str, Any]:
        """Revert the last move that can be reverted, or end the fault of a step."""
        stage = self._now()
        before = len(self.moves)
        async with self._turn:
            self._now()
            faults = stage.faults()
            can = [move for move in self.moves if move.index in faults or self._has_way_back(move)]
            if index is None and can:
                index = can[-1].index
            back = next((move.back for move in can if move.index == index), None)
            if index is None or (index not in faults and back is None):
                what = "there is no move to undo" if index is None else f"{step_number(index)} cannot be undone"
                raise LabError(f"{what}: {_undoable()}; {self._in_force()}{self._since(before)}")
            kept = [move for move in self.moves if move.index > index and not (move in can or self._is_over(move))]
            if index in faults:
                event = await self._or_fail(self._heard(index, stage.heal(index, by=_named(by))))
            else:
                following = await self._meant(back, before)
                number = self._taken(following, _named(by))
                event = await self._changed(following, number, _named(by))
                if event.ok:
                    self._taken_back |= {index, number}
        answer = {"index": index, "event": msgspec.to_builtins(event)}
        return answer | ({"kept": [{"index": move.index, "label": move.label} for move in kept]} if kept else {})

    def _has_way_back(self, move: Move) -> bool:
        return move.back is not None and move.index not in self._taken_back

    def _is_over(self, move: Move) -> bool:
        """Whether a move has no effect left to undo: it was reverted, or its fault has ended."""
        return move.index in self._taken_back or self.timeline.resolved.timeline[move.index].kind.lasts

    async def state(self, *, scenario: bool = True) -> dict[str, Any]:
        """What is in force, its start time and its requester, and the path of the run directory. Of the scenario, which
        is long in a large lab, only the name if it is not asked for."""
        stage, by, resolved = self._stage, {move.index: move.by for move in self.moves}, self.timeline.resolved
        faults = [
            {
                "step": step,
                "what": found.fault.what,
                "label": found.fault.label,
                "by": by.get(step, ""),
                "since": found.since,
                "until": found.until,
            }
            for step, found in (stage.faults() if stage is not None else {}).items()
        ]
        return {
            "faults": faults,
            "moves": len(self.moves),
            "run_dir": str(self.run_dir or ""),
            "scenario": resolved.to_json() if scenario else {"name": resolved.name},
            "now": stage.lab.now() if stage is not None else 0,
            "open": self.is_open,
            "stands": self.stands,
        }

    # Internals

    async def _meant(self, asked: Any, before: int) -> NextStep:
        """Check that the requested step makes sense now, and return it. Raises `StepRefused`. Call it in the step's
        turn."""
        stage = self._now()
        try:
            following = self.timeline.understood(asked)
            if why := following.step.kind.untimely(following.step.body, stage):
                raise StepRefused(f"{why}; {self._in_force()}")
        except StepRefused as error:
            raise StepRefused(f"{error}{self._since(before)}") from None
        await self._before_the_first()
        return following

    async def _before_the_first(self) -> None:
        if self._begun is not None:
            await asyncio.to_thread(self._begun)
            self._begun = None

    def _taken(self, following: NextStep, by: str) -> int:
        index = self.timeline.take(following)
        assert self._stage is not None
        self._stage.asked[index] = {"by": by, "asked": following.plain}
        return index

    async def _changed(self, following: NextStep, index: int, by: str) -> Event:
        """Make a change, and remember it if it succeeded."""
        assert self._stage is not None
        begun, back = self._stage.lab.now(), following.step.kind.inverse(following.step.body, self._stage)
        event = await self._or_fail(self._carried_out(_forgiving(following.step), index))
        if event.ok:
            self.moves.append(Move(index, by, begun, str(event.detail.get("label") or event.what), back))
        return event

    async def _one_of(self, step: dict[str, Any], before: int, by: str) -> dict[str, Any]:
        """Take one of several steps that a client takes in one turn."""
        following = await self._meant(step, before)
        index = self._taken(following, by)
        event = await self._changed(following, index, by)
        if not event.ok:
            raise LabError(f"{event.detail.get('label')} failed: {event.detail.get('error')}")
        return {"index": index, "event": msgspec.to_builtins(event)}

    def _now(self) -> Stage:
        if self._closed or self._stage is None:
            raise LabError(self._closed)
        return self._stage

    async def _carried_out(self, step: Step, index: int) -> Event:
        """Carry out a step, and return the event of its result."""
        assert self._play is not None
        return await self._heard(index, self._play(step, index))

    async def _heard(self, index: int, work: Awaitable[Any]) -> Event:
        """Run work on a step, and return the event with which it ends."""
        self._waiting[index] = None
        try:
            await work
        finally:
            event = self._waiting.pop(index)
        if event is None:
            raise Exhausted(f"nothing is known of what became of {step_number(index)}")
        return event

    async def _or_fail(self, work: Awaitable[Event]) -> Event:
        """Like the work itself; an unexpected error leaves the run in an unknown state, and ends it."""
        try:
            return await work
        except Exception as error:
            assert self._stage is not None
            self._stage.fail(error)
            raise

    def _in_force(self) -> str:
        assert self._stage is not None
        told = [f"{found.fault.label} ({step_number(step)})" for step, found in self._stage.faults().items()]
        more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        return f"in force: {', '.join(told[:_TOLD])}{more}" if told else "nothing is in force"

    def _since(self, before: int) -> str:
        assert self._stage is not None
        now = self._stage.lab.now()
        told = [f"{move.by} did `{move.label}` {span(now - move.t)} ago" for move in self.moves[before:][-_TOLD:]]
        return f"; meanwhile {', '.join(told)}" if told else ""


def _forgiving(step: Step) -> Step:
    """The step in the form of a manual step: the run goes on if it fails."""
    return step.model_copy(update={"on_failure": "continue"})


def _undoable() -> str:
    names = [name for name, verb in verbs().items() if verb.invertible]
    return f"undo ends a fault, and takes back {', '.join(names)} where that is possible, but nothing else"


def _named(by: str) -> str:
    """The client's name, safe to print."""
    return clean(str(by))[:_NAME] or "somebody"


def _leased(step: Any, lease: int | None) -> Any:
    """A manual step with its lease in the form of a scenario."""
    if not isinstance(step, dict):
        return step
    for key in _OWN:
        if key in step:
            raise LabError(f"found `{key}` in a step by hand, expected none: it is done now, and the lab goes on")
    if lease is None:
        return step
    if not isinstance(lease, int) or isinstance(lease, bool) or lease <= 0:
        raise LabError(f"found the lease {lease!r}, expected nanoseconds above 0, or null")
    return {**step, "for": format_duration(lease)}

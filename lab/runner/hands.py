"""Hands on a run that goes on: steps of other terminals, pages and programs, during or after its own timeline.

Owns that one change is made at a time and whole, what the next hand is told of it, who did what (in the history), what
is in force, and what undoing means. Each request either becomes one step of the run or is refused with nothing
touched. Knows nothing of sockets and terminals; which steps there are is `lab.runner.open_timeline`'s affair.
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
"""Characters of who did something."""
_TOLD = 12
"""Faults and moves that a sentence names."""
_LAST_TURN = 10.0
"""Seconds that a step under way gets when the run ends."""
_OWN = ("at", "on_failure")
"""What a hand's step does not say: it is done now, and the lab goes on."""

Play = Callable[[Step, int], Awaitable[None]]
"""Carries out a step under a number."""


class Move(Struct, frozen=True):
    """A change that somebody made by hand."""

    index: int
    by: str
    t: int
    label: str
    back: dict[str, Any] | None = None
    """The step that takes it back; None: it is a fault, or nothing does."""


class Hands:
    """What others may do in a run, and what they have done."""

    def __init__(
        self,
        timeline: OpenTimeline,
        *,
        stands: bool = False,
        run_dir: Path | None = None,
        begun: Callable[[], None] | None = None,
    ) -> None:
        """`stands`: the run has no end of its own, but goes on until somebody takes the lab down. `begun` is called
        once, when the first step is taken by hand."""
        self.timeline = timeline
        self.stands = stands
        self.run_dir = run_dir
        self._begun = begun
        self.moves: list[Move] = []
        self._taken_back: set[int] = set()
        """Moves that were taken back by a step, and those that did it."""
        self._waiting: dict[int, Event | None] = {}
        """The steps that are being taken, each with the event that says what became of it."""
        self._turn = asyncio.Lock()
        self._stage: Stage | None = None
        self._play: Play | None = None
        self._closed = "the lab is coming up: ask again when its first steps are done"

    # What the run says

    def meet(self, stage: Stage, play: Play) -> None:
        """The lab is up, and this is how steps are carried out."""
        self._stage, self._play = stage, play

    def feed(self, record: AnyRecord) -> None:
        """Take the next record of the history."""
        if isinstance(record, Event) and record.ok is not None and self._waiting.get(record.step, record) is None:
            self._waiting[record.step] = record

    def open(self) -> None:
        """From now on steps are taken."""
        self._closed = ""

    async def close(self, why: str) -> None:
        """Take no more steps; returns when the one under way is done, or has had its time."""
        self._closed = why
        if self._turn.locked():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_TURN), self._turn:
                    pass

    @property
    def is_open(self) -> bool:
        """Whether steps are taken."""
        return not self._closed

    @contextlib.asynccontextmanager
    async def turn(self, step: Step) -> AsyncIterator[None]:
        """A turn to carry out a step; what only watches or waits goes on next to others."""
        async with self._turn if step.kind.setup != "watch" else contextlib.nullcontext():
            yield

    # What hands ask

    async def take(self, asked: Any) -> tuple[int, Event]:
        """Take a step of the program that drives the run: it is the timeline's next, and may end the run. Raises
        `StepRefused` where nothing was done."""
        async with self._turn:
            following = self.timeline.understood(asked)
            index = self.timeline.take(following)
            if following.changes:
                return index, await self._carried_out(following.step, index)
        return index, await self._carried_out(following.step, index)

    async def step(
        self, *, step: Any, by: str = "", lease: int | None = None, seen: int | None = None
    ) -> dict[str, Any]:
        """Take a step now. `lease`: nanoseconds that its fault may last; `seen`: how many moves the hand knows of."""
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
        """Let one more host join: fabric and engine, then the overlay is launched there and told of the first host."""
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
        """Let a host leave: its peer says farewell and forgets, then its power and its cables are cut."""
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
        """Take the last move back that can be, or end the fault of a step."""
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
        """Whether nothing is left of a move that could be undone: it was taken back, or its fault has ended."""
        return move.index in self._taken_back or self.timeline.resolved.timeline[move.index].kind.lasts

    async def state(self) -> dict[str, Any]:
        """What is in force, since when and who asked for it, and where the run is written."""
        stage, by = self._stage, {move.index: move.by for move in self.moves}
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
            "scenario": self.timeline.resolved.to_json(),
            "now": stage.lab.now() if stage is not None else 0,
            "open": self.is_open,
            "stands": self.stands,
        }

    # Internals

    async def _meant(self, asked: Any, before: int) -> NextStep:
        """The step that is asked for, which makes sense now. Raises `StepRefused`; to be asked in one's turn."""
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
        """Make a change, and remember it if it was made."""
        assert self._stage is not None
        begun, back = self._stage.lab.now(), following.step.kind.inverse(following.step.body, self._stage)
        event = await self._or_fail(self._carried_out(_forgiving(following.step), index))
        if event.ok:
            self.moves.append(Move(index, by, begun, str(event.detail.get("label") or event.what), back))
        return event

    async def _one_of(self, step: dict[str, Any], before: int, by: str) -> dict[str, Any]:
        """One of several steps that a hand takes in one turn."""
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
        """Carry out a step; the event that says what became of it."""
        assert self._play is not None
        return await self._heard(index, self._play(step, index))

    async def _heard(self, index: int, work: Awaitable[Any]) -> Event:
        """The event with which some work on a step ends."""
        self._waiting[index] = None
        try:
            await work
        finally:
            event = self._waiting.pop(index)
        if event is None:
            raise Exhausted(f"nothing is known of what became of {step_number(index)}")
        return event

    async def _or_fail(self, work: Awaitable[Event]) -> Event:
        """The same; whatever goes wrong leaves the run in no known state, and ends it."""
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
    """The step as a hand takes it: the run goes on whatever comes of it."""
    return step.model_copy(update={"on_failure": "continue"})


def _undoable() -> str:
    names = [name for name, verb in verbs().items() if verb.invertible]
    return f"undo ends a fault, and takes back {', '.join(names)} where that is possible, but nothing else"


def _named(by: str) -> str:
    """Who did something, fit to be printed."""
    return clean(str(by))[:_NAME] or "somebody"


def _leased(step: Any, lease: int | None) -> Any:
    """A hand's step with its lease as a scenario says it."""
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

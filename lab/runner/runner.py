"""Plays a scenario on a backend: brings the lab up, follows the timeline, writes the history, takes the lab down.

Owns the absolute schedule (`at` counts from the first step), retries of expectations until their deadlines, and the
verdict. Works through the protocols of `lab.contracts.lab` only, so virtual time and real time are the same to it.
"""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from lab.capture.places import CaptureRequest
from lab.checkers.convergence import HOLD
from lab.checkers.steady import disturbs, verdict_of
from lab.contracts.fault import Fault
from lab.contracts.lab import Backend, Virtual
from lab.contracts.plan import Action, Judge, Judgement, Plan, StepQuestion
from lab.errors import Exhausted, LabError, Violation, no_room
from lab.kinds.verbs import Planning
from lab.records.captures import CAPTURES
from lab.records.history import AnyRecord, Event, Meta, Writer
from lab.records.store import Expectation, Verdict
from lab.runner.captures import Captures
from lab.runner.link_use import follow_links, write_links
from lab.runner.load import machine
from lab.runner.stage import Stage
from lab.runner.state import LiveState
from lab.runner.steady import SteadyBroken, SteadyWatch
from lab.runner.waiting import first_of
from lab.scenario.resolve import Resolved
from lab.scenario.steps import Step
from lab.scenario.values import UNITS
from lab.words import are, count, step_number

if TYPE_CHECKING:  # most runs have no steps from outside
    from lab.runner.hands import Hands

_UP = "bring the lab up"
_LOOK_AGAIN = 20 * UNITS["ms"]
"""Longest time between two evaluations of an expectation while records come in."""
_ASK_AGAIN = 200 * UNITS["ms"]
"""Time between two evaluations of an expectation that runs commands."""
_TAIL = 500 * UNITS["ms"]
"""How long sampling continues after the last step, so that probes in progress can finish."""
_DOWN_DEADLINE = 20.0
"""Seconds of real time in which a lab must be down after an interrupt."""


Timeline = Iterable[Step] | AsyncIterable[Step]
"""Steps in order. An asynchronous source is asked for the next step when the previous one is done."""


class Progress(Struct, frozen=True, kw_only=True):
    """One progress line. `ok` is None at the start of something. `t` is its start time, `took` its duration."""

    t: int
    step: int
    label: str
    ok: bool | None = None
    took: int | None = None
    note: str = ""
    samples: tuple[dict[str, Any], ...] = ()


class RunOutcome(Struct, frozen=True, kw_only=True):
    """The result of a run."""

    verdict: Verdict
    reason: str = ""
    convergence: list[dict[str, Any]] = []
    expectations: tuple[Expectation, ...] = ()
    took: int = 0


class RunEnded(LabError):
    """The run was stopped from outside."""


class _Failed(Exception):
    """A step or an expectation failed, so the run ends as invalid; the text names it."""


class Runner:
    """One run of one scenario."""

    def __init__(
        self,
        scenario: Resolved,
        backend: Backend,
        writer: Writer,
        *,
        version: str = "",
        report: Callable[[Progress], None] = lambda progress: None,
        beside: Callable[[Stage], Coroutine[Any, Any, None]] | None = None,
        keep: Callable[[RunOutcome], Coroutine[Any, Any, None]] | None = None,
        hands: "Hands | None" = None,
        run_dir: Path | None = None,
        captures: Sequence[CaptureRequest] = (),
    ) -> None:
        """`beside` runs while the lab is up, for example to serve other terminals; when it ends, the run ends. `keep`
        receives the settled outcome while the lab is still up; the lab goes down when `keep` returns. `hands` serves
        other clients of the run. `captures` run from when the lab is up until the end of the run. Their files, and
        those of capture steps, are in `run_dir`.
        """
        self._scenario = scenario
        self._backend = backend
        self._writer = writer
        self._version = version
        self._report = report
        self._beside = beside
        self._keep = keep
        self._hands = hands
        self._run_dir = run_dir
        self._captures = tuple(captures)
        self._virtual = isinstance(backend, Virtual)
        """Whether time is simulated: then there is no wall clock and no machine load to record."""
        self._expectations: list[Expectation] = []
        self._live = LiveState(scenario)
        self._steady = SteadyWatch(scenario)

    async def run(self, *, timeline: Timeline | None = None) -> RunOutcome:
        """Bring the lab up, play the timeline, take the lab down. `timeline` replaces the scenario's.

        A cancelled run (Ctrl-C) stops cleanly with an unknown verdict; so does a run whose lab does not come up.
        """
        self._write(
            Meta(
                t=0,
                scenario=self._scenario.recorded(),
                backend=self._backend.name,
                seed=self._scenario.seed,
                version=self._version,
                started="" if self._virtual else datetime.now(UTC).isoformat(timespec="milliseconds"),
                machine={} if self._virtual else machine(),
            )
        )
        self._write(Event(t=0, step=-1, what="up", phase="start", detail={"label": _UP}))
        try:
            lab = await self._backend.up(self._scenario)
        except asyncio.CancelledError:
            _keep_going()
            return RunOutcome(verdict="unknown", reason="interrupted")
        except Exception as error:
            reason = str(error) if isinstance(error, LabError) else no_room(error)
            if not reason:
                raise
            detail = {"label": _UP, "error": reason}
            # Not `ok=False`: that would mean that the scenario was tried and failed.
            self._write(Event(t=0, step=-1, what="up", phase="end", detail=detail))
            return RunOutcome(verdict="unknown", reason=f"the lab did not come up: {reason}")
        scenario, where = self._scenario, "virtual time of " if self._virtual else ""
        about = f"lab run of {scenario.name} in {where}{self._backend.name}, seed {scenario.seed}"
        captures = Captures(lab, self._live, self._run_dir, about=about, virtual=self._virtual)
        stage = Stage(
            lab,
            scenario,
            self._writer,
            self._live,
            healed=self._over,
            captures=captures,
            seen=self._seen,
        )
        try:
            return await self._on(stage, self._scenario.timeline if timeline is None else timeline)
        finally:
            await self._down(stage)

    async def _on(self, stage: Stage, steps: Timeline) -> RunOutcome:
        """Play the steps with the lab up; settle the outcome before the lab goes down."""
        lab = stage.lab
        took = lab.now()
        stage.event(-1, "up", "end", ok=True, groups=True, label=_UP, took=took, hosts=list(lab.hosts))
        self._report(
            Progress(
                t=0,
                step=-1,
                label=f"{count(len(lab.hosts), 'host')} {are(len(lab.hosts))} up",
                ok=True,
                took=took,
            )
        )
        stage.watch(load=not self._virtual)
        follow_links(lab, stage.record)
        if self._steady:
            stage.beside(self._steady.watch(stage))
        if (watch := getattr(self._backend, "watch", None)) is not None:
            stage.beside(watch(lab, self._scenario))
        if self._hands is not None:
            self._hands.meet(stage, lambda step, index: self._play(stage, step, index))
        if self._beside is not None:
            stage.beside(self._companion(stage, self._beside))
        verdict: Verdict = "unknown"
        try:
            await self._captured(stage)
            verdict, reason = await self._guarded(stage, self._timeline(stage, steps))
        except asyncio.CancelledError:
            _keep_going()
            reason = "interrupted"
        except (_Failed, SteadyBroken) as failed:
            verdict, reason = "invalid", str(failed)
        except Violation as broken:
            verdict, reason = "invalid", f"{broken}, {lab.now() / 1e9:.3f} s into the run"
            self._violated(stage, broken)
        except RunEnded as ended:
            reason = str(ended)
            if self._stands:
                reason = self._first_failure()
                verdict = "invalid" if reason else "valid"
        except LabError as error:
            reason = str(error)
        except Exception as error:
            reason = no_room(error)
            if not reason:
                traceback.print_exc()
                reason = f"the lab itself failed: {type(error).__name__}: {error}"
        if self._hands is not None:
            await self._hands.close("the lab is going down: nothing more can be done in it")
        outcome = RunOutcome(
            verdict=verdict,
            reason=reason,
            convergence=[msgspec.to_builtins(result) for result in self._live.tracker.results()],
            expectations=tuple(self._expectations),
            took=lab.now(),
        )
        await stage.captures.close(f"the run ends: {verdict}" + (f" ({reason})" if reason else ""))
        with contextlib.suppress(LabError):  # a dead relay is reported by the verdict
            await write_links(lab, stage.record)
        for figure in getattr(lab, "figures", tuple)():
            stage.record(figure)
        if verdict != "unknown":
            # In the history this event means that the run was played to its end, whatever the result.
            stage.event(-1, "down", "point", label="take the lab down")
            if self._keep is not None:
                stage.mute()
                await stage.probing.stop()
                with contextlib.suppress(asyncio.CancelledError):
                    await first_of(self._keep(outcome), _settled(stage.failure))
                    if stage.failure.done():  # a part of the kept lab has died
                        note = str(stage.failure.result())
                        self._report(Progress(t=lab.now(), step=-1, label="the lab ends", ok=False, note=note))
                    return outcome
                _keep_going()
        return outcome

    async def _captured(self, stage: Stage) -> None:
        """Begin the captures that last for the whole run."""
        for number, request in enumerate(self._captures):
            begun = stage.lab.now()
            file = await stage.captures.begin(("run", number), request)
            label = f"capture {', '.join(request.on)} into {CAPTURES}/{file}"
            self._report(Progress(t=begun, step=-1, label=label, ok=True, took=stage.lab.now() - begun))

    async def _guarded(self, stage: Stage, timeline: Coroutine[Any, Any, None]) -> tuple[Verdict, str]:
        """Play the timeline until it ends or a parallel task fails."""
        playing = asyncio.create_task(timeline)
        try:
            while True:
                waiting: list[asyncio.Future[Any]] = [playing, stage.crash, stage.failure]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if not (self._stands and stage.crash.done()) or stage.failure.done() or playing.done():
                    break
                await self._crashed(stage)
                stage.survive()
            if stage.crash.done() and not (playing.done() and playing.exception() is None and self._first_failure()):
                raise _Failed(await self._crashed(stage))
            if stage.failure.done():
                raise stage.failure.result()
            await playing
            failure = self._first_failure()
            return ("invalid", failure) if failure else self._steady_verdict(stage)
        finally:
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await playing

    async def _crashed(self, stage: Stage) -> str:
        """Record that a daemon crashed, and return a sentence about it."""
        host = stage.crash.result()
        tail = await self._last_words(stage, host)
        text = f"the overlay's daemon on {host} stopped and nobody had asked for it" + (f":\n{tail}" if tail else "")
        label = f"daemon of {host} crashed"
        stage.event(-1, "crash", "point", ok=False, label=label, error=text, hosts=[host])
        self._report(Progress(t=stage.lab.now(), step=-1, label=label, ok=False, note=tail))
        return text

    def _steady_verdict(self, stage: Stage) -> tuple[Verdict, str]:
        """The verdict of a timeline without failures: whether the steady state held when it had to."""
        verdict, wrong = verdict_of(self._steady.results(stage.lab.now()))
        return verdict, f"the steady state {wrong}" if wrong else ""

    def _violated(self, stage: Stage, broken: Violation) -> None:
        """Record that an invariant is violated."""
        label = f"invariant: {broken.what}"
        more: dict[str, Any] = {"addresses_concerned": list(broken.addresses)} if broken.addresses else {}
        stage.event(
            -1, "invariant", "point", ok=False, label=label, error=broken.text, hosts=list(broken.hosts), **more
        )
        self._report(Progress(t=stage.lab.now(), step=-1, label=label, ok=False, note=broken.text))

    @staticmethod
    async def _companion(stage: Stage, work: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
        await work(stage)
        stage.fail(RunEnded("the lab was taken down by another command"))

    async def _timeline(self, stage: Stage, steps: Timeline) -> None:
        """Play all steps, then wait until everything that they began is over."""
        origin = stage.lab.now()
        index = -1
        async for step in _in_turn(steps):
            index += 1
            if step.at is not None:
                await stage.lab.sleep_until(origin + step.at)
            async with self._hands.turn(step) if self._hands is not None else contextlib.nullcontext():
                await self._play(stage, step, index)
        await stage.all_healed()
        await self._steady.finish(stage)
        # A condition that holds now is watched until it has held long enough to count as settled.
        now, since = stage.lab.now(), self._live.tracker.holding_since
        await stage.lab.sleep_until(max(now + _TAIL, 0 if since is None else min(since, now) + HOLD))

    async def _play(self, stage: Stage, step: Step, index: int) -> None:
        """Carry out one step. Raises `_Failed` when it ends the run."""
        planning = Planning(index, tuple(stage.scenario.hosts), stage.scenario.seed, step.duration)
        plan: Plan = step.kind.plan(step.body, planning)
        if isinstance(plan, StepQuestion):
            await self._ask(stage, step, plan, index)
        else:
            await self._do(stage, step, plan, index)

    async def _do(self, stage: Stage, step: Step, plan: Action | Fault, index: int) -> None:
        label, begun = plan.label, stage.lab.now()
        self._report(Progress(t=begun, step=index, label=label))
        try:
            with self._steady.disturbing(stage) if disturbs(step.kind) else contextlib.nullcontext():
                if isinstance(plan, Fault):
                    await stage.strike(index, plan, step.duration)
                else:
                    await stage.carry(index, step.kind, plan)
        except (Exhausted, SteadyBroken):
            raise
        except LabError as error:
            took = stage.lab.now() - begun
            self._report(Progress(t=begun, step=index, label=label, ok=False, took=took, note=str(error)))
            if index in stage.asked:  # A step by hand: only its requester is told of the failure; the run ignores it.
                if isinstance(plan, Fault):
                    await stage.abandon(index, plan, str(error))
                return
            self._expectations.append(Expectation(step=index, text=label, ok=False, took=took, error=str(error)))
            if step.on_failure == "abort":
                raise _Failed(f"{step_number(index)} failed: {label}: {error}") from None
            return
        self._report(Progress(t=begun, step=index, label=label, ok=True, took=stage.lab.now() - begun))

    async def _ask(self, stage: Stage, step: Step, question: StepQuestion, index: int) -> None:
        begun, label, words, within = stage.lab.now(), question.label, question.words, question.within
        self._report(Progress(t=begun, step=index, label=label))
        stage.event(index, step.verb, "start", label=label, expect=words, within=within)
        async with question.judge(stage, begun) as judge:
            judgement = await self._until(stage, judge, begun + within, question.hold)
        took = stage.lab.now() - begun
        error = "; ".join(judgement.missing)
        samples = tuple(msgspec.to_builtins(sample) for sample in judgement.samples)
        detail: dict[str, Any] = {"error": error, "samples": list(samples)} if not judgement.ok else {}
        common: dict[str, Any] = {"label": label, "expect": words, "within": within, "took": took}
        stage.event(index, step.verb, "end", ok=judgement.ok, **common, **detail)
        self._report(
            Progress(t=begun, step=index, label=label, ok=judgement.ok, took=took, note=error, samples=samples)
        )
        self._expectations.append(
            Expectation(step=index, text=words, ok=judgement.ok, took=took, error=error, samples=samples)
        )
        if not judgement.ok and step.on_failure == "abort":
            raise _Failed(f"{step_number(index)}: expected {words}; {error}")

    async def _until(self, stage: Stage, judge: Judge, deadline: int, hold: int) -> Judgement:
        """Evaluate repeatedly until the expectation has held for `hold`, or until the deadline passes while it does not
        hold."""
        since: int | None = None
        lab = stage.lab
        while True:
            stage.changed.clear()
            judgement = await judge.judge()
            now = lab.now()
            if judgement.ok:
                since = now if since is None else since
                if now - since >= hold:
                    return judgement
                await lab.sleep_until(min(since + hold, now + _LOOK_AGAIN))
                continue
            since = None
            if now >= deadline:
                return judgement
            if judge.polls:
                await lab.sleep_until(min(deadline, now + _ASK_AGAIN))
                continue
            # Nothing can change before the next record; evaluate a burst of records once.
            await first_of(stage.changed.wait(), lab.sleep_until(deadline))
            await lab.sleep_until(min(deadline, lab.now() + _LOOK_AGAIN))

    async def _down(self, stage: Stage) -> None:
        await stage.stop()
        try:
            async with asyncio.timeout(None if self._virtual else _DOWN_DEADLINE):
                await stage.lab.down()
        except (LabError, TimeoutError) as error:
            label = "take the lab down"
            self._report(Progress(t=stage.lab.now(), step=-1, label=label, ok=False, note=str(error)))

    async def _last_words(self, stage: Stage, host: str) -> str:
        try:
            return await stage.overlay.log_tail(host)
        except LabError:
            return ""

    def _seen(self, record: AnyRecord) -> None:
        self._steady.feed(record)
        if self._hands is not None:
            self._hands.feed(record)

    def _over(self, t: int, step: int, label: str) -> None:
        self._report(Progress(t=t, step=step, label=f"healed: {label}", ok=True))

    @property
    def _stands(self) -> bool:
        """Whether the run is a standing lab, which stays up until a user takes it down."""
        return self._hands is not None and self._hands.stands and self._hands.is_open

    def _first_failure(self) -> str:
        """The error of the first step or expectation that failed; empty if none failed."""
        failed = (expectation for expectation in self._expectations if not expectation.ok)
        return next((f"{step_number(one.step)}: {one.text}: {one.error}" for one in failed), "")

    def _write(self, record: Meta | Event) -> None:
        self._writer.write(record)
        self._live.feed(record)


async def _in_turn(steps: Timeline) -> AsyncIterator[Step]:
    if isinstance(steps, AsyncIterable):
        async for step in steps:
            yield step
    else:
        for step in steps:
            yield step


def _keep_going() -> None:
    """Clear the task's cancellation, so that its orderly shutdown is not cancelled at the next await."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def _settled(future: asyncio.Future[BaseException]) -> None:
    await asyncio.wait([future])

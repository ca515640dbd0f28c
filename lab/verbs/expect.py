"""`expect`: something must come true before a deadline, and hold for a while; all conditions that are listed must.

Owns the step: its model, made of the conditions that there are (`lab.kinds.checkers`), and what is shown of a failure.
How each condition is judged is in `lab/expectations/`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model, model_validator

from lab.contracts.fault import Bench
from lab.contracts.plan import Judgement, StepQuestion
from lab.kinds.checkers import CHECKERS, Checker
from lab.kinds.verbs import Planning, Verb, Where
from lab.records.history import Sample
from lab.scenario.base import Model, Problem, fault
from lab.scenario.check import Known
from lab.scenario.values import UNITS, Duration, format_duration
from lab.scenario.without_effect import ScenarioReach

_SHOWN = 12
"""Samples that a failed expectation shows."""
_NAMED = 6
"""Reasons that it names."""
_KINDS: tuple[Checker[Any], ...] = tuple(CHECKERS)


class Expect(Model):
    """Something that must come true within a deadline (and hold for a while); all that is listed must."""

    if TYPE_CHECKING:  # the real fields stand behind those of the conditions
        within: int
        for_: int

    @model_validator(mode="after")
    def _something(self) -> "Expect":
        if not self.conditions:
            raise fault(f"at least one of {', '.join(kind.name for kind in _KINDS)}", "none of them")
        return self

    @property
    def conditions(self) -> tuple[tuple[Checker[Any], Any], ...]:
        """Each condition that is listed, with its body."""
        found = ((kind, getattr(self, kind.name)) for kind in _KINDS)
        return tuple((kind, body) for kind, body in found if body is not None)


_fields: dict[str, Any] = {kind.name: (kind.model | None, Field(None, description=kind.about)) for kind in _KINDS}
_fields |= {
    "within": (Duration, Field(5 * UNITS["s"], description="By when it must be true.")),
    "for_": (Duration, Field(0, alias="for", description="How long it must stay true then.")),
}
_model = create_model("Expect", __base__=Expect, __module__=__name__, __doc__=Expect.__doc__, **_fields)


def describe(expect: Expect) -> str:
    """An expectation in words: `reachable svc1 -> svc3 within 2s`."""
    words = " and ".join(kind.words(body) for kind, body in expect.conditions)
    held = f" for {format_duration(expect.for_)}" if expect.for_ else ""
    return f"{words} within {format_duration(expect.within)}{held}"


class ExpectationJudge:
    """Judges one expectation, over and over, from the moment it was asked."""

    def __init__(self, expect: Expect, bench: Bench, since: int) -> None:
        self._expect = expect
        self._bench = bench
        self._since = since
        self._plans: list[int] = []

    async def __aenter__(self) -> "ExpectationJudge":
        """Ask what no running probe asks, until the expectation is settled."""
        probing = self._bench.probing
        for kind, body in self._expect.conditions:
            self._plans += [probing.add_plan(plan) for plan in kind.probes(body, self._bench)]
        if self._plans:
            await probing.sync()
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in self._plans:
            self._bench.probing.drop_plan(number)
        if self._plans:
            await self._bench.probing.sync()

    @property
    def polls(self) -> bool:
        """Whether judging it runs commands, so that it should not be done at every record."""
        return any(kind.polls for kind, _ in self._expect.conditions)

    async def judge(self) -> Judgement:
        """All conditions, now."""
        missing: list[str] = []
        samples: list[Sample] = []
        for kind, body in self._expect.conditions:
            found = await kind.judge(body, self._bench, self._since)
            if not found.ok:
                missing += found.missing
                samples += found.samples
        more = [f"and {len(missing) - _NAMED} more"] if len(missing) > _NAMED else []
        return Judgement(not missing, (*missing[:_NAMED], *more), tuple(samples[:_SHOWN]))


class _Expect(Verb[Expect]):
    name = "expect"
    model = _model
    form = "`expect: {…}`"
    about = "wait until a condition is true; the step fails if it does not come true in time, see below"
    examples = (
        "expect --reachable all --within 5s",
        "expect --converged all",
        "expect --unreachable-from web --unreachable-to db",
    )
    takes_for = "holds"
    may_fail = True
    setup = "watch"

    def check(self, where: Where, body: Expect, known: Known) -> Iterator[Problem]:
        for kind, what in body.conditions:
            yield from kind.check((*where, kind.name), what, known)

    def without_effect(self, where: Where, body: Expect, world: ScenarioReach) -> Iterator[Problem]:
        for kind, what in body.conditions:
            yield from kind.without_effect((*where, kind.name), what, world)

    def commands(self, body: Expect) -> Iterator[tuple[str, Sequence[str], bool]]:
        for kind, what in body.conditions:
            for command, inside in kind.commands(what):
                yield f".{kind.name}", command, inside

    def urls(self, body: Expect) -> Iterator[tuple[str, str]]:
        for kind, what in body.conditions:
            for url in kind.urls(what):
                yield f".{kind.name}", url

    def plan(self, body: Expect, planning: Planning) -> StepQuestion:
        words = describe(body)
        return StepQuestion(
            f"expect {words}", words, body.within, planning.duration or 0, partial(ExpectationJudge, body)
        )


KIND = _Expect()

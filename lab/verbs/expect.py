"""`expect`: something must come true before a deadline, judged by samples that were due after the step began.

Owns how each condition is asked and judged. Reads the live state; `http` and `exec` conditions also ask the hosts, all
others are answered by probes that run anyway (or, for a name that nobody asks for, by one that runs as long as the
step).
"""

import shlex
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from lab.contracts.fault import Bench
from lab.contracts.lab import CommandResult
from lab.contracts.plan import Judgement, StepQuestion
from lab.kinds.overlays import OVERLAYS, overlays_that
from lab.kinds.probes import PROBES, asks_name, probes_that
from lab.kinds.verbs import Planning, Verb, Where
from lab.records.history import Sample
from lab.scenario.base import ALL, ALL_ONLY, DnsName, Model, Name, Names, Problem, fault
from lab.scenario.check import Known
from lab.scenario.generators import pieces
from lab.scenario.resolve import ProbePlan, Resolved
from lab.scenario.values import UNITS, Duration, format_duration
from lab.scenario.without_effect import ScenarioReach
from lab.verbs._match import MatchTimeout, found
from lab.verbs.exec import Exec, Regex

_SHOWN = 12
"""Samples that a failed expectation shows."""
_NAMED = 6
"""Reasons that it names."""
_BODY = 5.0
"""Seconds for matching the body of an `http` condition, as for asking for it."""


def _answers(value: Any) -> Any:
    if type(value) is int and 0 <= value <= 100_000:
        return value
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return value
    raise fault("a number of addresses, or a list of them")


Answers = Annotated[int | tuple[str, ...], BeforeValidator(_answers)]


class Pair(Model):
    """From some services to others; a name, or `all`."""

    source: Names = Field((ALL,), alias="from")
    target: Names = Field((ALL,), alias="to")

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ALL_ONLY

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {} if value == ALL else value


class DnsExpect(Model):
    """How many addresses, or which, a name must answer with; asked from the containers of `from`."""

    name: DnsName
    answers: Answers
    source: Names = Field((ALL,), alias="from")


class HttpExpect(Model):
    """What a URL must answer, asked with curl from the first container of a service."""

    source: Name = Field(alias="from")
    url: Annotated[str, StringConstraints(min_length=1)]
    body: Regex


class Expect(Model):
    """Something that must come true within a deadline (and hold for a while); all that is listed must."""

    reachable: Pair | None = None
    unreachable: Pair | None = None
    converged: Literal["all"] | None = None
    dns: DnsExpect | None = None
    http: HttpExpect | None = None
    exec: Exec | None = None
    within: Duration = 5 * UNITS["s"]
    for_: Duration = Field(0, alias="for")

    @model_validator(mode="after")
    def _something(self) -> "Expect":
        if not self.conditions:
            raise fault("at least one of reachable, unreachable, converged, dns, http, exec", "none of them")
        return self

    @property
    def conditions(self) -> tuple[tuple[str, Any], ...]:
        """(kind, what) of each condition, in the order of this class."""
        kinds = ("reachable", "unreachable", "converged", "dns", "http", "exec")
        return tuple((kind, getattr(self, kind)) for kind in kinds if getattr(self, kind) is not None)


def describe(expect: Expect) -> str:
    """An expectation in words: `reachable svc1 -> svc3 within 2s`."""
    words = []
    for kind, what in expect.conditions:
        if isinstance(what, Pair):
            every = what.source == (ALL,) and what.target == (ALL,)
            words.append(f"{kind} all" if every else f"{kind} {', '.join(what.source)} → {', '.join(what.target)}")
        elif isinstance(what, DnsExpect):
            answers = what.answers if isinstance(what.answers, int) else ", ".join(what.answers)
            words.append(f"dns {what.name} = {answers}")
        elif isinstance(what, HttpExpect):
            words.append(f"http {what.url} from {what.source}")
        elif isinstance(what, Exec):
            words.append(f"exec {shlex.join(what.command)[:40]} on {what.host or what.service}")
        else:
            words.append(f"{kind} {what}")
    held = f" for {format_duration(expect.for_)}" if expect.for_ else ""
    return f"{' and '.join(words)} within {format_duration(expect.within)}{held}"


def _in_pieces(scenario: Resolved) -> tuple[str, ...]:
    """The reason why a graph in several pieces does not converge, unless something else joins them."""
    number = len(pieces(scenario.edges, tuple(scenario.hosts))) if scenario.edges is not None else 1
    return (f"the graph is in {number} pieces",) if number > 1 else ()


class ExpectationJudge:
    """Judges one expectation, over and over, from the moment it was asked."""

    def __init__(self, expect: Expect, bench: Bench, since: int) -> None:
        self._expect = expect
        self._since = since
        self._live = bench.live
        self._probing = bench.probing
        self._lab = bench.lab
        self._plans: list[int] = []
        self._pieces = _in_pieces(bench.scenario)

    async def __aenter__(self) -> "ExpectationJudge":
        """Ask for names that no running probe asks for, until the expectation is settled."""
        what = self._expect.dns
        if what is not None and any(key not in set(self._probing.series) for key in self._dns_series(what)):
            names = tuple(self._live.scenario.services) if what.source == (ALL,) else what.source
            pace = self._live.scenario.pace
            every, timeout = 200 * UNITS["ms"] * pace, UNITS["s"] * pace
            plan = ProbePlan(kind="dns", sources=names, name=what.name, every=every, timeout=timeout)
            self._plans.append(self._probing.add_plan(plan))
            await self._probing.sync()
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in self._plans:
            self._probing.drop_plan(number)
        if self._plans:
            await self._probing.sync()

    @property
    def polls(self) -> bool:
        """Whether judging it runs commands, so that it should not be done at every record."""
        return self._expect.http is not None or self._expect.exec is not None

    async def judge(self) -> Judgement:
        """All conditions, now."""
        missing: list[str] = []
        samples: list[Sample] = []
        for kind, what in self._expect.conditions:
            found = await self._condition(kind, what)
            if not found.ok:
                missing += found.missing
                samples += found.samples
        more = [f"and {len(missing) - _NAMED} more"] if len(missing) > _NAMED else []
        return Judgement(not missing, (*missing[:_NAMED], *more), tuple(samples[:_SHOWN]))

    async def _condition(self, kind: str, what: Any) -> Judgement:
        if isinstance(what, Pair):
            return self._reachability(what, wanted=kind == "reachable")
        if isinstance(what, DnsExpect):
            return self._dns(what)
        asked: dict[str, Callable[[Any], Awaitable[str]]] = {"http": self._http, "exec": self._exec}
        if kind in asked:
            problem = await asked[kind](what)
            return Judgement(not problem, (problem,) if problem else ())
        return self._converged()

    def _converged(self) -> Judgement:
        """As the tracker says it; but what nobody has measured since the last change has not converged either."""
        tracker = self._live.tracker
        state = tracker.state()
        if not state.converged:
            return Judgement(False, (*self._pieces, *(state.waiting or ("nothing yet to agree about",))))
        unknown = [
            f"{probe} {source} → {target}: no answer to a fresh try yet"
            for probe, source, target in self._probing.series
            if tracker.world.should((probe, source, target)) is not None
            and self._live.fresh((probe, source, target), state.since) is None
        ]
        return Judgement(not unknown, tuple(unknown))

    def _reachability(self, what: Pair, *, wanted: bool) -> Judgement:
        sources = {replica.name for replica in self._live.chosen(what.source, alive=True)}
        targets = {replica.name for replica in self._live.chosen(what.target, alive=False)}
        series = [
            key for key in self._probing.series if not asks_name(key[0]) and key[1] in sources and key[2] in targets
        ]
        if not series:
            return Judgement(False, (f"no running probe measures {', '.join(what.source)} → {', '.join(what.target)}",))
        missing: list[str] = []
        samples: list[Sample] = []
        for probe, source, target in series:
            sample = self._live.fresh((probe, source, target), self._since)
            if sample is None:
                missing.append(f"{probe} {source} → {target}: no answer to a fresh try yet")
            elif sample.ok != wanted:
                missing.append(
                    f"{probe} {source} → {target}: {sample.error or 'failed' if wanted else 'still answers'}"
                )
                samples.append(sample)
        return Judgement(not missing, tuple(missing), tuple(samples))

    def _dns_series(self, what: DnsExpect) -> list[tuple[str, str, str]]:
        return [("dns", replica.name, what.name) for replica in self._live.chosen(what.source, alive=True)]

    def _dns(self, what: DnsExpect) -> Judgement:
        series = self._dns_series(what)
        if not series:
            return Judgement(False, ("no running container asks",))
        missing: list[str] = []
        samples: list[Sample] = []
        for key in series:
            sample = self._live.fresh(key, self._since)
            if sample is None:
                missing.append(f"dns {what.name} from {key[1]}: no answer to a fresh try yet")
            elif (problem := _wrong_answers(what.answers, sample)) is not None:
                missing.append(f"dns {what.name} from {key[1]}: {problem}")
                samples += self._live.recent[key]
        return Judgement(not missing, tuple(missing), tuple(samples))

    async def _http(self, what: HttpExpect) -> str:
        argv = ["curl", "-s", "-S", "--max-time", "2", what.url]
        result = await self._in_service(what.source, argv, 5.0)
        if isinstance(result, str):
            return result
        body = result.out.strip()
        if result.code != 0:
            return f"curl {what.url} from {what.source}: {result.err.strip() or f'exit code {result.code}'}"
        try:
            matches = found(what.body, body, lines=False, patience=_BODY)
        except MatchTimeout as error:
            return str(error)
        if not matches:
            return f"{what.url} from {what.source} answered {body[:200]!r}, expected to match {what.body!r}"
        return ""

    async def _exec(self, what: Exec) -> str:
        result: CommandResult | str
        if what.host is not None:
            result = await self._lab.hosts[what.host].exec(what.command, timeout=what.timeout / UNITS["s"])
        else:
            result = await self._in_service(what.service or "", what.command, what.timeout / UNITS["s"])
        return result if isinstance(result, str) else what.judge(result)

    async def _in_service(self, name: str, argv: Sequence[str], timeout: float) -> CommandResult | str:
        replica = next(iter(self._live.chosen((name,), alive=True)), None)
        if replica is None:
            return f"no container of {name} runs"
        return await self._lab.hosts[replica.host].exec(argv, container=replica.name, timeout=timeout)


def _wrong_answers(wanted: int | tuple[str, ...], sample: Sample) -> str | None:
    """What is wrong with a DNS answer; None when it is as wanted."""
    if isinstance(wanted, int):
        # An answer that never came is not the answer "no addresses".
        if len(sample.answers) == wanted and (wanted > 0 or sample.error not in ("timeout", "late")):
            return None
        return (
            f"{len(sample.answers)} answers ({', '.join(sample.answers) or sample.error or 'none'}), expected {wanted}"
        )
    if tuple(sorted(wanted)) == tuple(sorted(sample.answers)):
        return None
    return f"{', '.join(sample.answers) or sample.error or 'no answers'}, expected {', '.join(sorted(wanted))}"


class _Expect(Verb[Expect]):
    name = "expect"
    model = Expect
    form = "`expect: {…}`"
    about = "something must come true, see below"
    takes_for = "holds"
    may_fail = True
    setup = "watch"

    def check(self, where: Where, body: Expect, known: Known) -> Iterator[Problem]:
        scenario = known.scenario
        for kind, what in body.conditions:
            place = (*where, kind)
            if isinstance(what, Pair):
                yield from known.services_of((*place, "from"), what.source, replicas=True)
                yield from known.services_of((*place, "to"), what.target, replicas=True)
                probes = scenario.probes
                if probes is not None and all(PROBES.get(probe.kind).asks == "name" for probe in probes):
                    able = probes_that(lambda kind: kind.asks != "name")
                    yield Problem(place, "a question about reachability", f"an {able} that measures it")
            elif isinstance(what, DnsExpect):
                yield from known.services_of((*place, "from"), what.source, replicas=True)
                if not OVERLAYS.get(scenario.overlay.kind).has_names:
                    found = f"a question about dns on overlay {scenario.overlay.kind}"
                    yield Problem(place, found, overlays_that(lambda kind: kind.has_names))
            elif isinstance(what, HttpExpect):
                yield from known.services_of((*place, "from"), (what.source,), replicas=True)
            elif isinstance(what, Exec):
                yield from known.place(place, what.host, what.service)

    def without_effect(self, where: Where, body: Expect, world: ScenarioReach) -> Iterator[Problem]:
        for kind, what in body.conditions:
            if isinstance(what, Pair):
                yield from world.asked((*where, kind), what.source, what.target)
            elif isinstance(what, DnsExpect):
                yield from world.asked((*where, kind), what.source, None)

    def commands(self, body: Expect) -> Iterator[tuple[str, Sequence[str], bool]]:
        if body.exec is not None:
            yield ".exec", body.exec.command, body.exec.service is not None

    def urls(self, body: Expect) -> Iterator[tuple[str, str]]:
        if body.http is not None:
            yield ".http", body.http.url

    def plan(self, body: Expect, planning: Planning) -> StepQuestion:
        words = describe(body)
        return StepQuestion(
            f"expect {words}", words, body.within, planning.duration or 0, partial(ExpectationJudge, body)
        )


KIND = _Expect()

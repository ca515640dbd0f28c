"""The condition `dns`: a name has this number of addresses, or exactly these, in each querying container."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from lab.contracts.fault import Bench
from lab.contracts.plan import Judgement
from lab.kinds.checkers import Checker, Where
from lab.kinds.overlays import OVERLAYS, overlays_that
from lab.records.history import Sample
from lab.scenario.base import ALL, DnsName, Model, Names, Problem, fault
from lab.scenario.check import Known
from lab.scenario.resolve import ProbePlan
from lab.scenario.values import UNITS
from lab.scenario.without_effect import ScenarioReach


def _answers(value: Any) -> Any:
    if type(value) is int and 0 <= value <= 100_000:
        return value
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return value
    raise fault("a number of addresses, or a list of them")


Answers = Annotated[int | tuple[str, ...], BeforeValidator(_answers)]


class DnsExpect(Model):
    """How many addresses, or which, a name must answer with; asked from the containers of `from`."""

    name: DnsName
    """The name to look up, such as `web.weave.local`."""
    answers: Answers
    """How many addresses it must have, or these addresses exactly."""
    source: Names = Field((ALL,), alias="from")
    """Services whose containers look it up; `all` by default."""


class _Dns(Checker[DnsExpect]):
    name = "dns"
    model = DnsExpect
    form = "`dns: {name, answers: 6, from}`"
    about = (
        "in each container of `from`, the latest answer has this number of addresses; with `answers: [10.0.1.1]` "
        "exactly these addresses"
    )

    def words(self, body: DnsExpect) -> str:
        """The name and its answers."""
        answers = body.answers if isinstance(body.answers, int) else ", ".join(body.answers)
        return f"dns {body.name} = {answers}"

    def check(self, where: Where, body: DnsExpect, known: Known) -> Iterator[Problem]:
        """The querying services exist, and so do the names."""
        yield from known.services_of((*where, "from"), body.source, replicas=True)
        overlay = known.scenario.overlay.kind
        if not OVERLAYS.get(overlay).has_names:
            able = overlays_that(lambda kind: kind.has_names)
            yield Problem(where, f"a question about dns on overlay {overlay}", able)

    def without_effect(self, where: Where, body: DnsExpect, world: ScenarioReach) -> Iterator[Problem]:
        """At least one container queries the name."""
        yield from world.asked(where, body.source, None)

    def probes(self, body: DnsExpect, bench: Bench) -> Iterator[ProbePlan]:
        """A probe for a name that no running probe queries."""
        running = set(bench.probing.series)
        if any(key not in running for key in self._series(body, bench)):
            names = tuple(bench.scenario.services) if body.source == (ALL,) else body.source
            pace = bench.scenario.pace
            every, timeout = 200 * UNITS["ms"] * pace, UNITS["s"] * pace
            yield ProbePlan(kind="dns", sources=names, name=body.name, every=every, timeout=timeout)

    async def judge(self, body: DnsExpect, bench: Bench, since: int) -> Judgement:
        """Judge by the latest answer in each container."""
        series = self._series(body, bench)
        if not series:
            return Judgement(False, ("no running container asks",))
        missing: list[str] = []
        samples: list[Sample] = []
        for key in series:
            sample = bench.live.fresh(key, since)
            if sample is None:
                missing.append(f"dns {body.name} from {key[1]}: no answer to a fresh try yet")
            elif (problem := _wrong_answers(body.answers, sample)) is not None:
                missing.append(f"dns {body.name} from {key[1]}: {problem}")
                samples += bench.live.recent[key]
        return Judgement(not missing, tuple(missing), tuple(samples))

    @staticmethod
    def _series(body: DnsExpect, bench: Bench) -> list[tuple[str, str, str]]:
        return [("dns", replica.name, body.name) for replica in bench.live.chosen(body.source, alive=True)]


def _wrong_answers(wanted: int | tuple[str, ...], sample: Sample) -> str | None:
    """The error in a DNS answer; None if it is as wanted."""
    given = ", ".join(sample.answers)
    if isinstance(wanted, int):
        # A missing answer is not the answer "no addresses".
        if len(sample.answers) == wanted and (wanted > 0 or sample.error not in ("timeout", "late")):
            return None
        return f"{len(sample.answers)} answers ({given or sample.error or 'none'}), expected {wanted}"
    if tuple(sorted(wanted)) == tuple(sorted(sample.answers)):
        return None
    return f"{given or sample.error or 'no answers'}, expected {', '.join(sorted(wanted))}"


KIND = _Dns()

"""Shared by `reachable` and `unreachable`: the pairs of containers, and the latest sample of each pair."""

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field

from lab.contracts.fault import Bench
from lab.contracts.plan import Judgement
from lab.kinds.checkers import Checker, Where
from lab.kinds.probes import probes_that, says_reach
from lab.records.history import Sample
from lab.scenario.base import ALL, ALL_ONLY, Model, Names, Problem
from lab.scenario.check import Known
from lab.scenario.without_effect import ScenarioReach


class Pair(Model):
    """From some services to others; a name, or `all`."""

    source: Names = Field((ALL,), alias="from")
    """Services whose containers ask; `all` by default."""
    target: Names = Field((ALL,), alias="to")
    """Services whose containers are asked; `all` by default."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ALL_ONLY

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {} if value == ALL else value


class PairChecker(Checker[Pair]):
    """The latest probe of every pair had the result `wanted`."""

    model = Pair
    wanted = True

    def words(self, body: Pair) -> str:
        """The pairs in words."""
        if body.source == (ALL,) and body.target == (ALL,):
            return f"{self.name} all"
        return f"{self.name} {', '.join(body.source)} → {', '.join(body.target)}"

    def check(self, where: Where, body: Pair, known: Known) -> Iterator[Problem]:
        """Both ends exist, and a probe measures between them."""
        yield from known.services_of((*where, "from"), body.source, replicas=True)
        yield from known.services_of((*where, "to"), body.target, replicas=True)
        probes = known.scenario.probes
        if probes is not None and not any(says_reach(probe.kind) for probe in probes):
            able = probes_that(lambda kind: says_reach(kind.name) and kind.by_default)
            yield Problem(where, "a question about reachability", f"an {able} that measures it")

    def without_effect(self, where: Where, body: Pair, world: ScenarioReach) -> Iterator[Problem]:
        """At least one pair is probed."""
        yield from world.asked(where, body.source, body.target)

    async def judge(self, body: Pair, bench: Bench, since: int) -> Judgement:
        """Judge by the latest sample of each series."""
        live = bench.live
        sources = {replica.name for replica in live.chosen(body.source, alive=True)}
        targets = {replica.name for replica in live.chosen(body.target, alive=False)}
        running = [key for key in bench.probing.series if says_reach(key[0])]
        series = [key for key in running if key[1] in sources and key[2] in targets]
        if not series:
            return Judgement(False, (f"no running probe measures {', '.join(body.source)} → {', '.join(body.target)}",))
        missing: list[str] = []
        samples: list[Sample] = []
        for probe, source, target in series:
            sample = live.fresh((probe, source, target), since)
            if sample is None:
                missing.append(f"{probe} {source} → {target}: no answer to a fresh try yet")
            elif sample.ok != self.wanted:
                found = sample.error or "failed" if self.wanted else "still answers"
                missing.append(f"{probe} {source} → {target}: {found}")
                samples.append(sample)
        return Judgement(not missing, tuple(missing), tuple(samples))

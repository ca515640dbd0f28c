"""`steady:` of a scenario: conditions that hold before the first fault, may break during named ones, and hold again.

Owns the shape of a condition, what is wrong with one in its scenario, and its resolved form, which a history keeps.
Whether one holds is judged by `lab.checkers.steady`.
"""

from collections.abc import Iterable, Iterator
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Struct
from pydantic import Field, model_validator

from lab.kinds.probes import PROBES, asks_name, ordered_probes
from lab.kinds.verbs import Where, verbs
from lab.scenario.base import ALL, Model, Names, Problem, chosen, fault, listed
from lab.scenario.kind_names import KindName
from lab.scenario.values import UNITS, Duration, Percentage, Rate, format_duration

if TYPE_CHECKING:
    from lab.scenario.check import Known
    from lab.scenario.model import Scenario

__all__ = [
    "LIMITS",
    "QUANTILES",
    "SteadyCondition",
    "SteadyModel",
    "as_plain",
    "resolved_conditions",
    "steady_problems",
]

QUANTILES = {"p50": 50, "p95": 95, "p99": 99}
LIMITS = ("success", *QUANTILES, "loss", "jitter", "throughput")
"""What a condition can set a limit for."""
_FEWEST = 10
"""Tries without which nothing is said of a share or a percentile."""
_FEWEST_MEASURED = 3
"""Tries without which nothing is said of a loss, a jitter or a throughput."""


class SteadyModel(Model):
    """One condition: of tries of one probe within a window. At least one limit."""

    probe: Annotated[str, KindName(PROBES)] | None = None
    """The kind of probe that is judged; by default the scenario's first one."""
    source: Names = Field((ALL,), alias="from")
    """Services or replicas that ask; `all` by default."""
    target: Names = Field((ALL,), alias="to")
    """Services or replicas that are asked; `all` by default."""
    success: Percentage | None = None
    """At least this share of tries succeeds."""
    p50: Duration | None = None
    """Half of the tries take no longer."""
    p95: Duration | None = None
    """95 % of the tries take no longer."""
    p99: Duration | None = None
    """99 % of the tries take no longer."""
    loss: Percentage | None = None
    """At most this share of packets is lost."""
    jitter: Duration | None = None
    """At most so much jitter (RFC 3550)."""
    throughput: Rate | None = None
    """The lowest throughput, in bits per second."""
    window: Annotated[Duration, Field(ge=100 * UNITS["ms"])] = 5 * UNITS["s"]
    """Tries due within this time are judged together."""
    samples: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Tries that a window needs to be judged."""
    may_break: Names = ()
    """Verbs whose faults may break it; nothing by default."""
    again_within: Duration = 0
    """It must hold again so long after the end of such a fault."""
    abort: bool = False
    """The run ends if it does not hold when it must."""

    @model_validator(mode="after")
    def _some_limit(self) -> "SteadyModel":
        if all(getattr(self, name) is None for name in LIMITS):
            raise fault(f"a limit: {', '.join(LIMITS)}", "none of them")
        return self

    @property
    def least(self) -> int:
        """Tries that a window must have before the condition can be said to hold."""
        if self.samples is not None:
            return self.samples
        needed = [0]
        if self.success is not None:
            needed.append(max(_FEWEST, ceil(round(1 / (1 - self.success), 6)) if self.success < 1 else 0))
        needed += [
            max(_FEWEST, ceil(100 / (100 - percentile)))
            for name, percentile in QUANTILES.items()
            if getattr(self, name) is not None
        ]
        return max(needed) or _FEWEST_MEASURED


class SteadyCondition(Struct, frozen=True, kw_only=True):
    """A condition made concrete. Names are of services or replicas; `*`: every one."""

    name: str
    probe: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    success: float | None = None
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None
    loss: float | None = None
    jitter: int | None = None
    throughput: int | None = None
    window: int
    least: int
    may_break: tuple[str, ...] = ()
    again_within: int = 0
    abort: bool = False
    timeout: int
    """The longest that a try of the probe takes: so long after its end a window is complete."""


def _planned(scenario: "Scenario") -> dict[str, tuple[int, int]]:
    """Probe -> (shortest interval, longest timeout) of what this scenario measures; interval 0: not known."""
    found: dict[str, tuple[int, int]] = {}
    if scenario.probes is None:
        ported = [bool(service.http_port) for service in scenario.services.values()]
        for kind in PROBES:
            if kind.by_default and (any(ported) if kind.asks == "port" else not all(ported)):
                found[kind.name] = (200 * UNITS["ms"], UNITS["s"])
    for spec in scenario.probes or ():
        every, timeout = found.get(spec.kind, (spec.every, 0))
        found[spec.kind] = (min(every, spec.every), max(timeout, spec.timeout))
    for step in scenario.timeline:
        for name, timeout in step.kind.measures(step.body):
            found[name] = (0, max(found.get(name, (0, 0))[1], timeout))
    return found


def _probe_of(model: SteadyModel, planned: Iterable[str]) -> str:
    return model.probe or next(iter(ordered_probes(planned)), "")


def resolved_conditions(scenario: "Scenario") -> Iterator[SteadyCondition]:
    """The conditions of a checked scenario."""
    planned = _planned(scenario)
    for name, model in scenario.steady.items():
        probe = _probe_of(model, planned)
        yield SteadyCondition(
            name=name,
            probe=probe,
            sources=("*",) if model.source == (ALL,) else model.source,
            targets=("*",) if model.target == (ALL,) or asks_name(probe) else model.target,
            **{limit: getattr(model, limit) for limit in LIMITS},
            window=model.window,
            least=model.least,
            may_break=chosen(model.may_break, tuple(verbs())),
            again_within=model.again_within,
            abort=model.abort,
            timeout=planned.get(probe, (0, UNITS["s"]))[1],
        )


def steady_problems(scenario: "Scenario", known: "Known") -> Iterator[Problem]:
    """What is wrong with the conditions of a scenario."""
    planned = _planned(scenario)
    for name, model in scenario.steady.items():
        where: Where = ("steady", name)
        yield from known.services_of((*where, "from"), model.source, replicas=True)
        yield from known.services_of((*where, "to"), model.target, replicas=True)
        probe = _probe_of(model, planned)
        if probe not in planned:
            found = f"probe {probe}, which nothing here measures" if probe else "no probe that measures anything"
            measured = f"one of {listed(planned)}" if planned else "`probes`"
            yield Problem((*where, "probe") if model.probe else where, found, f"{measured}, or a `load` step")
            continue
        for limit in ("loss", "jitter", "throughput"):
            if getattr(model, limit) is not None and limit not in PROBES.get(probe).measures:
                able = [kind.name for kind in PROBES if limit in kind.measures]
                yield Problem(
                    (*where, limit), f"`{limit}` of probe {probe}", f"a probe that measures it: {listed(able)}"
                )
        lasting = verbs()
        for index, verb in enumerate(model.may_break if model.may_break != (ALL,) else ()):
            if verb not in lasting:
                yield Problem((*where, "may_break", index), repr(verb), f"a verb: {listed(lasting, 40)}")
        if model.again_within and not model.may_break:
            yield Problem(
                (*where, "again_within"), "`again_within` without `may_break`", "the faults that may break it"
            )
        every = planned[probe][0]
        most = _tries(model, known, model.window // every) if every and not asks_name(probe) else model.least
        if most < model.least:
            found = f"a window of {format_duration(model.window)}, in which there are at most {most} tries"
            expected = f"at least {model.least} tries to judge it by"
            hint = "a longer `window`, a shorter `every` of the probe, or fewer `samples`"
            yield Problem((*where, "window"), found, expected, hint)


def _tries(model: SteadyModel, known: "Known", each: int) -> int:
    """The most tries that can be due in a window: all pairs, with as many containers as there ever are."""

    def number(names: tuple[str, ...]) -> int:
        if names == (ALL,):
            return sum(known.most.values())
        return sum(known.most.get(name, 1) for name in names)

    pairs = number(model.source) * number(model.target)
    return (pairs - number(model.source) if model.source == model.target else pairs) * each


def as_plain(condition: SteadyCondition) -> dict[str, Any]:
    """For the resolved form of a scenario: without the limits that it does not set."""
    return {key: value for key, value in msgspec.to_builtins(condition).items() if value is not None}

"""One step of a scenario's timeline: a verb, when, for how long, and what a failure of it means.

Owns what all steps have in common. The verbs are those of `lab.kinds.verbs`; the model of a step is made of theirs
when a scenario is read. It has the verbs that the scenario names, because importing all verbs and making their models
takes longer than reading a file.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, create_model, model_validator

from lab.kinds.verbs import VERBS, Verb, verbs
from lab.scenario.base import Model, fault
from lab.scenario.link_spec import LinkSpec
from lab.scenario.values import Duration

__all__ = ["Step", "step_model", "stretched"]

_TIMES = ("at", "for_", "wait", "within", "timeout", "every", "down", "rate", "downtime")
"""Fields that say when, how long or how often; what is done (a latency, a clock's offset) is not among them."""

M = TypeVar("M", bound=BaseModel)


def stretched(model: M, pace: int) -> M:
    """The same, `pace` times as slowly."""
    changes: dict[str, Any] = {}
    times = ("for_",) if isinstance(model, LinkSpec) else _TIMES  # a link is what it is; its rate is bits per second
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changes[name] = stretched(value, pace)
        elif name in times and isinstance(value, int):
            changes[name] = value * pace
    return model.model_copy(update=changes)


class Step(Model):
    """One entry of the timeline: one verb, when (`at`, from the first step) and for how long (`for`)."""

    at: Duration | None = None
    """When, counted from the first step; without it at once after the step before."""
    for_: Duration | None = Field(None, alias="for")
    """How long a fault lasts."""
    on_failure: Literal["abort", "continue"] = "abort"
    """Whether the run goes on after an `expect` or `exec` that fails."""

    @model_validator(mode="after")
    def _one_verb(self) -> "Step":
        given = self._given
        if len(given) != 1:
            raise fault(f"exactly one verb of {', '.join(verbs())}", ", ".join(given) or "none of them")
        name, kind, body = given[0], self.kind, self.body
        if self.for_ is not None:
            if not kind.takes_for:
                lasting, holding = (
                    ", ".join(verb.name for verb in verbs().values() if verb.takes_for == meaning)
                    for meaning in ("lasts", "holds")
                )
                raise fault(f"`for` with {lasting} or {holding} only", f"`for` with {name}")
            if getattr(body, "for_", None):
                raise fault(f"`for` once, not in the step and in its {name}", "two of them")
        if self.on_failure == "continue" and not kind.may_fail:
            forgiving = " or ".join(verb.name for verb in verbs().values() if verb.may_fail)
            raise fault(f"`on_failure: continue` with {forgiving} only", f"it with {name}")
        kind.complete(self, body)
        return self

    @property
    def _given(self) -> list[str]:
        common = Step.model_fields
        return [
            name for name in type(self).model_fields if name not in common and getattr(self, name, None) is not None
        ]

    @property
    def verb(self) -> str:
        """Which one it is."""
        return self._given[0]

    @property
    def kind(self) -> Verb[Any]:
        """The verb itself."""
        return VERBS.get(self.verb)

    @property
    def body(self) -> Any:
        """What is said to the verb: its model, or nanoseconds for `wait`."""
        return getattr(self, self.verb)

    @property
    def duration(self) -> int | None:
        """How long what it starts lasts (a fault) or must hold (expect); None: until something ends it."""
        inner = getattr(self.body, "for_", None) if isinstance(self.body, BaseModel) else None
        return self.for_ if self.for_ is not None else inner


_FEW = 3
"""A process that has read scenarios with this number of sets of verbs will read many more (a sweep, a search). One
model with all verbs then costs less than a model for each set."""
_MODELS: dict[tuple[str, ...], type["Step"]] = {}


def step_model(steps: Iterable[Any] | None = None) -> type[Step]:
    """The model of a step with the verbs that these steps (plain data) name; without `steps` with all verbs. The
    steps are valid for both or for none."""
    if steps is not None:
        named = {key for step in steps if isinstance(step, dict) for key in step}
        names = tuple(name for name in VERBS.names() if name in named and VERBS.find(name) is not None)
        if names in _MODELS:
            return _MODELS[names]
        if len(_MODELS) < _FEW:
            return _MODELS.setdefault(names, _made(names))
    return _every_verb()


@cache
def _every_verb() -> type[Step]:
    return _made(tuple(verbs()))


def _made(names: tuple[str, ...]) -> type[Step]:
    fields: dict[str, Any] = {}
    for name in names:
        verb = VERBS.get(name)
        fields[name] = (verb.model | None, Field(None, description=verb.about))
    return create_model("Step", __base__=Step, __module__=__name__, __doc__=Step.__doc__, **fields)

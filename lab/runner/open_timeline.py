"""A run whose timeline grows while it is played: the steps with which it begins, then those that somebody asks for.

Owns which steps the run has, under which number, and whether one more is a step of this scenario that its backend can
carry out. What the run leaves behind names them all as its timeline, so that a report treats it like any other run.
Knows nothing of who asks, or how a step is carried out.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import BaseModel, TypeAdapter, ValidationError

from lab.contracts.lab import Backend
from lab.errors import StepRefused
from lab.kinds.verbs import verbs
from lab.records.history import Meta, decode, encode
from lab.records.store import HISTORY
from lab.scenario.base import Name, listed
from lab.scenario.check import check
from lab.scenario.load import Scenario, one_more
from lab.scenario.model import HostModel
from lab.scenario.resolve import HostSpec, Resolved, host_names, resolve
from lab.scenario.steps import Step, stretched
from overlay.clean import LINES, clean

__all__ = ["NextStep", "OpenTimeline"]


class NextStep(Struct, frozen=True):
    """A step that may be taken next: as it is played, and as a scenario has it."""

    step: Step
    plain: dict[str, Any]
    model: Scenario

    @property
    def changes(self) -> bool:
        """Whether it changes anything; else it only watches or waits."""
        return self.step.kind.setup != "watch"


class OpenTimeline:
    """The timeline of a run so far."""

    def __init__(self, model: Scenario, resolved: Resolved, backend: Backend, first: Sequence[Step]) -> None:
        """`model` is the scenario's file, `resolved` what is played of it, `first` the steps with which it begins, as
        the file has them."""
        self.backend = backend
        self.first = tuple(stretched(step, resolved.pace) for step in first)
        self.resolved = msgspec.structs.replace(resolved, timeline=self.first)
        """With all steps until now."""
        self.taken: list[dict[str, Any]] = []
        """The steps after the first ones, as a scenario has them."""
        self._model = model.model_copy(update={"timeline": tuple(first)})

    def plain_first(self) -> list[dict[str, Any]]:
        """The first steps, which bring a lab up and say no times, as a scenario has them."""
        return [{step.verb: _said(step.body) or "all"} for step in self.first]

    def understood(self, asked: Any) -> NextStep:
        """The step that somebody asks for. Raises `StepRefused`, with every fault, for what is none here."""
        if not isinstance(asked, dict):
            raise StepRefused('found no step, expected one as a scenario has it: {"kill": "a"}')
        # Where a failure is an answer the run goes on; after any other it is in no known state.
        answers = any(verb.may_fail for name, verb in verbs().items() if name in asked)
        plain = {**asked, "on_failure": "continue"} if answers else asked
        longer, problems = one_more(self._model, plain)
        if problems:
            raise StepRefused(clean("\n".join(problems), keep=LINES))
        step = stretched(longer.timeline[-1], self.resolved.pace)
        index = len(self.resolved.timeline)
        wanted = msgspec.structs.replace(self.resolved, timeline=(*self.resolved.timeline, step))
        place = f"timeline[{index}]."
        if reasons := [reason for reason in self.backend.refuse(wanted) if reason.startswith(place)]:
            told = "\n".join(f"{self.backend.name} refuses: {reason.removeprefix(place)}" for reason in reasons)
            raise StepRefused(clean(told, keep=LINES))
        return NextStep(step, plain, longer)

    def with_host(self, name: str, network: str | None) -> HostSpec:
        """One more host, at the end of the scenario's, as a resolved scenario has it. Raises `StepRefused`, with the
        scenario as it was."""
        underlay = self._model.underlay
        if not underlay.hosts:
            raise StepRefused("the hosts of this lab are generated, or a graph file's: none can join by its name")
        if name in (known := host_names(underlay)):
            raise StepRefused(f"there is a host named {name} already; hosts: {listed(known)}")
        if not self.resolved.links.default.perfect:
            raise StepRefused("`underlay.links` says how links are by default, which a host that joins would not have")
        plain = {"networks": {network: None}} if network else {}
        try:
            more = {**underlay.hosts, str(TypeAdapter(Name).validate_python(name)): HostModel.model_validate(plain)}
        except ValidationError as error:
            raise StepRefused(f"found {name!r}, {error.errors()[0]['msg']}") from None
        model = self._model.model_copy(update={"underlay": underlay.model_copy(update={"hosts": more})})
        if problems := [problem for problem in check(model) if problem.where[:1] == ("underlay",)]:
            raise StepRefused(clean("; ".join(problem.said for problem in problems), keep=LINES))
        spec = resolve(model, seed=self.resolved.seed).hosts[name]
        self._model = model
        # Whoever knows the scenario knows its hosts from here on.
        self.resolved.hosts[name] = spec
        return spec

    def without_host(self, name: str) -> None:
        """The last host did not come up after all."""
        underlay = self._model.underlay
        hosts = {other: spec for other, spec in underlay.hosts.items() if other != name}
        self._model = self._model.model_copy(update={"underlay": underlay.model_copy(update={"hosts": hosts})})
        del self.resolved.hosts[name]

    def take(self, following: NextStep) -> int:
        """Make it the next step; its number. Between this and `understood` no other may be taken."""
        self._model = following.model
        self.taken.append(following.plain)
        self.resolved = msgspec.structs.replace(self.resolved, timeline=(*self.resolved.timeline, following.step))
        return len(self.resolved.timeline) - 1

    def conclude(self, run_dir: Path) -> None:
        """Make the history, which is complete, begin with what was played."""
        if not self.taken:
            return
        history = run_dir / HISTORY
        partial = history.with_name(f"{HISTORY}.new")
        with history.open("rb") as old, partial.open("wb") as new:
            meta = decode(old.readline())
            assert isinstance(meta, Meta)
            new.write(encode(msgspec.structs.replace(meta, scenario=self.resolved.recorded())))
            shutil.copyfileobj(old, new)
        partial.replace(history)


def _said(body: Any) -> Any:
    return body.model_dump(mode="json", by_alias=True, exclude_defaults=True) if isinstance(body, BaseModel) else body

"""A timeline that grows while it is played: the initial steps, then those that clients request.

Owns the list of steps, their numbers, and the check that a requested step is valid in this scenario and supported by
its backend. The run directory names all of them as its timeline, so a report treats it like any other run. Does not
know the clients, or how a step is carried out.
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
    """A step that may be played next: in its resolved form, and in the form that a scenario file has."""

    step: Step
    plain: dict[str, Any]
    model: Scenario

    @property
    def changes(self) -> bool:
        """Whether the step changes anything; otherwise it only watches or waits."""
        return self.step.kind.setup != "watch"


class OpenTimeline:
    """The timeline of a run so far."""

    def __init__(self, model: Scenario, resolved: Resolved, backend: Backend, first: Sequence[Step]) -> None:
        """`model` is the scenario file, `resolved` the scenario that is played, `first` the initial steps in the form
        of the file."""
        self.backend = backend
        self.first = tuple(stretched(step, resolved.pace) for step in first)
        self.resolved = msgspec.structs.replace(resolved, timeline=self.first)
        """The resolved scenario with all steps so far."""
        self.taken: list[dict[str, Any]] = []
        """The steps after the initial ones, in the form of a scenario file."""
        self._model = model.model_copy(update={"timeline": tuple(first)})

    def plain_first(self) -> list[dict[str, Any]]:
        """The initial steps, which bring a lab up and have no times, in the form of a scenario file."""
        return [{step.verb: _said(step.body) or "all"} for step in self.first]

    def understood(self, asked: Any) -> NextStep:
        """Parse a requested step. Raises `StepRefused`, which lists every fault, if the step is not valid here."""
        if not isinstance(asked, dict):
            raise StepRefused('found no step, expected one as a scenario has it: {"kill": "a"}')
        # After an expected failure the run goes on; after any other its state is unknown.
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
        """Add one host at the end of the scenario's hosts; return it in resolved form. Raises `StepRefused` and leaves
        the scenario unchanged."""
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
        # From here on everything that reads the scenario sees the host.
        self.resolved.hosts[name] = spec
        return spec

    def without_host(self, name: str) -> None:
        """Remove the last host again, because it did not come up."""
        underlay = self._model.underlay
        hosts = {other: spec for other, spec in underlay.hosts.items() if other != name}
        self._model = self._model.model_copy(update={"underlay": underlay.model_copy(update={"hosts": hosts})})
        del self.resolved.hosts[name]

    def take(self, following: NextStep) -> int:
        """Append the step and return its number. No other step may be taken between `understood` and this."""
        self._model = following.model
        self.taken.append(following.plain)
        self.resolved = msgspec.structs.replace(self.resolved, timeline=(*self.resolved.timeline, following.step))
        return len(self.resolved.timeline) - 1

    def conclude(self, run_dir: Path) -> None:
        """Rewrite the first line of the complete history with the steps that were played."""
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

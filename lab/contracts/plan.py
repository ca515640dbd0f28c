"""The plan of a step, made before anything is done: an action, a fault (`lab.contracts.fault`), or a question.

Owns the three forms, and the answer to a question. A verb makes the plan of a step once; the runner executes it, keeps
the schedule and writes the history.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from lab.contracts.fault import Bench, Fault
from lab.records.history import Sample

__all__ = ["Action", "Detail", "Judge", "Judgement", "Plan", "StepQuestion"]

Detail = dict[str, Any]
"""Additional data for the last event of a step."""


class Action(Struct, frozen=True):
    """An action that ends with its step. `do` raises `LabError` when it fails."""

    label: str
    do: Callable[[Bench], Awaitable[Detail]]


class Judgement(Struct, frozen=True):
    """Whether a condition holds; if not, what is missing, and the samples that show it."""

    ok: bool
    missing: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


class Judge(Protocol):
    """Evaluates one question repeatedly, from the time it was asked."""

    @property
    def polls(self) -> bool:
        """Whether judging runs commands, so that it should not happen at every record."""
        ...

    async def judge(self) -> Judgement:
        """Evaluate the question now."""
        ...


class StepQuestion(Struct, frozen=True):
    """A condition that must become true `within` nanoseconds, and then hold for a given time."""

    label: str
    words: str
    within: int
    hold: int
    judge: Callable[[Bench, int], AbstractAsyncContextManager[Judge]]
    """Creates the judge, given the time from which on samples count."""


Plan = Action | Fault | StepQuestion

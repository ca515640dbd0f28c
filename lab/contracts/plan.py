"""What a step comes to before anything is done: an action, a fault (`lab.contracts.fault`), or a question.

Owns the three forms, and what an answer to a question is. A verb makes the plan of a step, once; the runner carries it
out, keeps the schedule and writes the history.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from lab.contracts.fault import Bench, Fault
from lab.records.history import Sample

__all__ = ["Action", "Detail", "Judge", "Judgement", "Plan", "StepQuestion"]

Detail = dict[str, Any]
"""What there is to say in the last event of a step."""


class Action(Struct, frozen=True):
    """Something that is done and is over with its step. `do` raises `LabError` when it cannot be done."""

    label: str
    do: Callable[[Bench], Awaitable[Detail]]


class Judgement(Struct, frozen=True):
    """Whether a condition holds; if not, what is missing, and the samples that say so."""

    ok: bool
    missing: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


class Judge(Protocol):
    """Answers one question again and again, from the moment it was asked."""

    @property
    def polls(self) -> bool:
        """Whether judging runs commands, so that it should not be done at every record."""
        ...

    async def judge(self) -> Judgement:
        """How it is now."""
        ...


class StepQuestion(Struct, frozen=True):
    """Something that must come true `within` nanoseconds, and hold for so long."""

    label: str
    words: str
    within: int
    hold: int
    judge: Callable[[Bench, int], AbstractAsyncContextManager[Judge]]
    """Makes the judge, given the time from which on samples count."""


Plan = Action | Fault | StepQuestion

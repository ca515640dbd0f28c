"""The description of a condition of an `expect`, and the registry of conditions.

Owns `Checker`: what may become true, and how to evaluate it. Each hook has a default for conditions that do not need
it. Knows no condition by name; `lab.verbs.expect` owns a step's deadline.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lab.registry import Registry

if TYPE_CHECKING:
    from lab.contracts.fault import Bench
    from lab.contracts.plan import Judgement
    from lab.scenario.base import Problem
    from lab.scenario.check import Known
    from lab.scenario.resolve import ProbePlan
    from lab.scenario.without_effect import ScenarioReach

__all__ = ["CHECKERS", "Checker"]

B = TypeVar("B")
Where = tuple[str | int, ...]
"""A place in a scenario file: keys and indices from the top."""


class Checker(Generic[B]):
    """One condition: `expect: {NAME: body}`. `B` is the type of its body, usually its model."""

    name: str = ""
    model: Any = None
    """The type of its body, as pydantic takes it."""
    form: str = ""
    """Its syntax, for the reference; Markdown."""
    about: str = ""
    """When it holds, for the reference; Markdown."""
    polls: bool = False
    """Whether judging runs commands, so that it should not happen at every record."""

    def words(self, body: B) -> str:
        """The condition in a few words: `reachable svc1 → svc3`."""
        return f"{self.name} {body}"

    def check(self, where: Where, body: B, known: "Known") -> Iterator["Problem"]:
        """Errors of the condition in this scenario, for example unknown names."""
        return iter(())

    def without_effect(self, where: Where, body: B, world: "ScenarioReach") -> Iterator["Problem"]:
        """Why the condition would check nothing. Unknown names are ignored here."""
        return iter(())

    def commands(self, body: B) -> Iterator[tuple[Sequence[str], bool]]:
        """Commands that it runs: (arguments, whether in a container)."""
        return iter(())

    def urls(self, body: B) -> Iterator[str]:
        """URLs whose response it reads."""
        return iter(())

    def probes(self, body: B, bench: "Bench") -> Iterator["ProbePlan"]:
        """Probes that it needs in addition to the running ones, while the step lasts."""
        return iter(())

    async def judge(self, body: B, bench: "Bench", since: int) -> "Judgement":
        """Evaluate it now. Samples count that were due at `since` or later."""
        raise NotImplementedError


CHECKERS: Registry[Checker[Any]] = Registry(
    "checker",
    Checker,
    "lab.expectations",
    first=("reachable", "unreachable", "converged", "dns", "http", "exec", "status"),
)

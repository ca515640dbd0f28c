"""What a condition of an `expect` says of itself, and the registry of conditions.

Owns `Checker`: what can come true, and how it is seen whether it has. Each hook has a default for a condition that has
nothing to say. Knows no condition by name; a step's deadline is `lab.verbs.expect`'s.
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
    """One condition: `expect: {NAME: body}`. `B` is the type of its body: its model, as a rule."""

    name: str = ""
    model: Any = None
    """The type of its body, as pydantic takes it."""
    form: str = ""
    """How it is written, for the reference; Markdown."""
    about: str = ""
    """When it holds, for the reference; Markdown."""
    polls: bool = False
    """Judging it runs commands, so that it should not be done at every record."""

    def words(self, body: B) -> str:
        """The condition in a few words: `reachable svc1 → svc3`."""
        return f"{self.name} {body}"

    def check(self, where: Where, body: B, known: "Known") -> Iterator["Problem"]:
        """What is wrong with it in this scenario: names that do not exist, say."""
        return iter(())

    def without_effect(self, where: Where, body: B, world: "ScenarioReach") -> Iterator["Problem"]:
        """Why it would ask nothing. Names that do not exist are passed over here."""
        return iter(())

    def commands(self, body: B) -> Iterator[tuple[Sequence[str], bool]]:
        """Commands that it runs: (arguments, whether in a container)."""
        return iter(())

    def urls(self, body: B) -> Iterator[str]:
        """URLs of which it reads the answer."""
        return iter(())

    def probes(self, body: B, bench: "Bench") -> Iterator["ProbePlan"]:
        """Probes that it needs and that do not run: they do as long as the step asks."""
        return iter(())

    async def judge(self, body: B, bench: "Bench", since: int) -> "Judgement":
        """How it is now. Samples count that were due at `since` or later."""
        raise NotImplementedError


CHECKERS: Registry[Checker[Any]] = Registry(
    "checker",
    Checker,
    "lab.expectations",
    first=("reachable", "unreachable", "converged", "dns", "http", "exec"),
)

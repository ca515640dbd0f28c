"""Three-valued results: valid, invalid, unknown, and how they merge (after Jepsen's `merge-valid`). Pure."""

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

__all__ = ["EXIT_CODES", "CheckResult", "Validity", "Verdict", "merge"]

Validity = Literal["valid", "invalid", "unknown"]

_WORST_FIRST: tuple[Validity, ...] = ("invalid", "unknown", "valid")

EXIT_CODES: dict[Validity, int] = {"valid": 0, "invalid": 1, "unknown": 3}


class CheckResult(Struct, frozen=True, kw_only=True):
    """What one checker found."""

    checker: str
    verdict: Validity
    summary: str
    """One sentence."""
    findings: tuple[dict[str, Any], ...] = ()
    """Observations as plain data; each checker's docstring lists the keys. Times in nanoseconds."""


class Verdict(Struct, frozen=True, kw_only=True):
    """The results of all checkers, merged to the worst."""

    verdict: Validity
    results: tuple[CheckResult, ...]


def merge(verdicts: Iterable[Validity]) -> Validity:
    """The worst: invalid before unknown before valid. Unknown for no verdicts."""
    found = list(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), "unknown")

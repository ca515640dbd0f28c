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
    """Single observations, as plain data; each checker's docstring says their keys. Times in nanoseconds."""


class Verdict(Struct, frozen=True, kw_only=True):
    """All checkers together: the worst of them."""

    verdict: Validity
    results: tuple[CheckResult, ...]


def merge(verdicts: Iterable[Validity]) -> Validity:
    """The worst: invalid before unknown before valid. Nothing at all is unknown."""
    found = list(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), "unknown")

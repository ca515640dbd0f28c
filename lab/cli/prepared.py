"""A scenario that is ready to play, as passed between commands. Owns only this type."""

from typing import NamedTuple

from lab.contracts.lab import Backend
from lab.scenario.model import Scenario
from lab.scenario.resolve import Resolved

__all__ = ["Prepared"]


class Prepared(NamedTuple):
    """The scenario's file, its resolved form, and its backend."""

    model: Scenario
    resolved: Resolved
    backend: Backend
    text: str
    """Content of the file."""

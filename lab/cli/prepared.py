"""A scenario that can be played, as the commands that play one hand it on. Owns the form alone."""

from typing import NamedTuple

from lab.contracts.lab import Backend
from lab.scenario.model import Scenario
from lab.scenario.resolve import Resolved

__all__ = ["Prepared"]


class Prepared(NamedTuple):
    """Its file, what is played of it, and on what."""

    model: Scenario
    resolved: Resolved
    backend: Backend
    text: str
    """What the file holds."""

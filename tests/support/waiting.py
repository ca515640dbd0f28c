"""How tests wait for something real: until it is so, with a bound that only what is broken reaches."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds. What takes one on an idle machine may take twenty on a small one that is busy with others."""


def eventually(condition: Callable[[], T], within: float = PATIENCE, what: str = "condition") -> T:
    """The first true value of `condition()`; looks again every 20 ms."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within:g} s"
        time.sleep(0.02)
    return value

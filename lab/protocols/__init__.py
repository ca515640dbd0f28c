"""Protocols as plain Python classes, which the simulator runs: the contract, and four published ones as examples.

Everything that a user's own protocol imports is here (docs/protocols.md).
"""

from lab.protocols.contract import (
    Believe,
    Broken,
    Delivered,
    Farewell,
    HangUp,
    Joined,
    Measure,
    Published,
    Received,
    Send,
)
from overlay.effects import Effect, Log
from overlay.env import MILLISECOND, SECOND, Random
from overlay.inputs import Input, Wake

__all__ = [
    "MILLISECOND",
    "SECOND",
    "Believe",
    "Broken",
    "Delivered",
    "Effect",
    "Farewell",
    "HangUp",
    "Input",
    "Joined",
    "Log",
    "Measure",
    "Published",
    "Random",
    "Received",
    "Send",
    "Wake",
]

"""The overlays of the lab, one file each: its `KIND` (`lab.kinds.overlays`) and its implementation on a lab.

A file that is added here is an overlay of its name; so is an entry point of another package (docs/extending.md).
"""

from lab.contracts.lab import Lab
from lab.contracts.overlay import Overlay
from lab.kinds.overlays import OVERLAYS
from lab.scenario.resolve import Resolved


def make_overlay(lab: Lab, scenario: Resolved) -> Overlay:
    """The overlay of the scenario on this lab; nothing is launched yet."""
    return OVERLAYS.get(scenario.overlay).make(lab, scenario)

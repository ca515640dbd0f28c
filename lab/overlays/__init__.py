"""The overlays that a scenario may ask for, each behind `lab.contracts.overlay.Overlay`.

    weave.py   ours, through its own command
    vxlan.py   a hand-configured kernel VXLAN
    plain.py   none: the engine's network and published ports

To add one: a class with the protocol's methods, and a line here and in `lab.scenario.model.Overlay`.
"""

from lab.contracts.lab import Lab
from lab.contracts.overlay import Overlay, OverlayFactory
from lab.overlays.plain import PlainOverlay
from lab.overlays.vxlan import VxlanOverlay
from lab.overlays.weave import WeaveOverlay
from lab.scenario.resolve import Resolved

OVERLAYS: dict[str, OverlayFactory] = {"weave": WeaveOverlay, "vxlan": VxlanOverlay, "none": PlainOverlay}


def make_overlay(lab: Lab, scenario: Resolved) -> Overlay:
    """The overlay that the scenario asks for, on this lab; nothing is launched yet."""
    return OVERLAYS[scenario.overlay](lab, scenario)

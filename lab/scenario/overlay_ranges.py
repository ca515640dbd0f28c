"""Where a scenario names a range of addresses for the overlay to give out. Pure."""

from lab.kinds.overlays import OVERLAYS
from lab.scenario.model import Scenario
from overlay.ranges import Network

__all__ = ["ranges_of"]


def ranges_of(scenario: Scenario) -> list[tuple[tuple[str | int, ...], Network]]:
    """Each place, and the range that it names."""
    kind = OVERLAYS.get(scenario.overlay.kind)
    steps = [
        (("timeline", index, step.verb, "options"), step.kind.options(step.body))
        for index, step in enumerate(scenario.timeline)
    ]
    places = ((("overlay", "options"), scenario.overlay.options), *steps)
    found = [(where, kind.range_of(options)) for where, options in places]
    return [(where, network) for where, network in found if network is not None]

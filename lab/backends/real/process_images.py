"""Which images a backend without Docker Engines has: those whose containers are processes, or simulated ones; and what
this machine lacks for steps wherever hosts are.

Shared by backends so that they refuse the same in the same words. Knows nothing of hosts.
"""

from collections.abc import Iterator

from lab.images import IMAGES, find
from lab.scenario.resolve import Resolved


def foreign_images(scenario: Resolved, host: str) -> Iterator[str]:
    """The services whose image no such `host` (in words) has, one sentence each."""
    for name, service in scenario.services.items():
        if service.archive or find(service.image) is None:
            image = f"{service.image!r} of {service.archive}" if service.archive else repr(service.image)
            yield (
                f"services.{name}: no {host} runs the image {image}; there are {', '.join(IMAGES)}, "
                "`command:` runs any program, and hosts with a Docker Engine (dind, vagrant) run any image"
            )


def lacking_here(scenario: Resolved) -> Iterator[str]:
    """What this machine has not got that steps need, one sentence each."""
    for index, step in enumerate(scenario.timeline):
        for why in step.kind.lacking(step.body, scenario):
            yield f"timeline[{index}].{step.verb}: {why}"

"""Which images are available without Docker Engines (containers are processes or simulated), and what steps need here.

Shared by backends so that they refuse the same features with the same words. Knows nothing of hosts.
"""

from collections.abc import Iterator

from lab.images import IMAGES, find
from lab.scenario.resolve import Resolved


def foreign_images(scenario: Resolved, host: str) -> Iterator[str]:
    """Services whose image such a `host` (in words) does not have, one sentence each."""
    for name, service in scenario.services.items():
        if service.archive or find(service.image) is None:
            image = f"{service.image!r} of {service.archive}" if service.archive else repr(service.image)
            yield (
                f"services.{name}: no {host} runs the image {image}; there are {', '.join(IMAGES)}, "
                "`command:` runs any program, and hosts with a Docker Engine (dind, vagrant) run any image"
            )


def lacking_here(scenario: Resolved) -> Iterator[str]:
    """Things that steps need and this machine lacks, one sentence each."""
    for index, step in enumerate(scenario.timeline):
        for why in step.kind.lacking(step.body, scenario):
            yield f"timeline[{index}].{step.verb}: {why}"

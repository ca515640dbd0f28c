"""Which images a backend without Docker Engines has: those whose containers are processes, or simulated ones.

Shared by such backends so that they refuse the same in the same words. Knows nothing of hosts.
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

"""Labs for benchmarks: scenarios made from parameters, and functions run inside of fresh labs.

Owns how a measurement gets its hosts and how its result comes back out of the lab (as JSON over a pipe). What is
measured, and what it means, stands in the benchmarks.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from lab.backends.netns import NetnsBackend, launch
from lab.backends.netns.backend import NetnsLab
from lab.contracts.overlay import Overlay
from lab.errors import LabError
from lab.overlays import make_overlay
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve


def scenario(text: str, name: str) -> Resolved:
    """The resolved scenario of a YAML text that the benchmark made."""
    return resolve(parse(text, name), question=name, file=name)


def hosts_yaml(number: int) -> str:
    """The underlay part of a scenario: hosts on one network, and every peer dials every other."""
    return f"underlay:\n  generate: {{kind: full_mesh, hosts: {number}}}\n"


def pair_yaml(name: str) -> str:
    """A scenario with a container on each of two hosts, `left` and `right`."""
    return f"""version: 1
name: {name}
{hosts_yaml(2)}
services:
  left: {{command: [sleep, infinity], host: host1, address: 10.0.1.1/24}}
  right: {{command: [sleep, infinity], host: host2, address: 10.0.1.2/24}}
timeline:
  - launch: all
"""


def inside(name: str, measure: Callable[[], Any]) -> Any:
    """Run `measure` inside a fresh lab; what it returns (plain data) comes back. Raises `LabError` when it fails."""
    reading, writing = os.pipe()

    def work() -> int:
        os.close(reading)
        with os.fdopen(writing, "w", encoding="utf-8") as out:
            json.dump(measure(), out)
        return 0

    child = os.fork()
    if child == 0:  # the result is read while the lab runs, or a large one would fill the pipe
        code = 1
        try:
            code = launch(work, name=name)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as result:
        text = result.read()
    _, status = os.waitpid(child, 0)
    if not text:
        raise LabError(f"bench {name}: the lab ended with {os.waitstatus_to_exitcode(status)} and no result")
    return json.loads(text)


def on_lab(text: str, name: str, work: Callable[[NetnsLab, Resolved, Overlay], Awaitable[Any]]) -> Any:
    """Bring up the hosts of a scenario inside a fresh lab (no timeline) and let `work` measure on them."""

    async def play() -> Any:
        resolved = scenario(text, name)
        lab = await NetnsBackend().up(resolved)
        try:
            return await work(lab, resolved, make_overlay(lab, resolved))
        finally:
            await lab.down()

    return inside(name, lambda: asyncio.run(play()))

"""Holds the hosts of a workshop until its parent asks for their end, or dies (`python -m lab.workshop.hold`)."""

import asyncio
import os
import signal
import sys
from typing import Any

from lab.backends.base import Housed
from lab.backends.registry import backend as find_backend
from lab.errors import LabError
from lab.fabric.syscalls import set_parent_death_signal
from lab.scenario import parse
from lab.topology import resolve

HOSTS = """\
version: 1
name: workshop
underlay:
  networks:
    lan: {subnet: 192.168.0.0/24}
  hosts:
    orion.local: {network: lan, address: 192.168.0.2}
    macbook.local: {network: lan, address: 192.168.0.3}
overlay: weave
timeline:
  - wait: 0s
"""
UP = "up"
"""What is said on standard output once all hosts are up."""


def main(argv: list[str]) -> int:
    """`hold BACKEND NAME PARENT`: 0 when ended in good order, 2 with a complaint when there is no lab to hold."""
    backend, name, parent = argv
    set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != int(parent):
        return 3
    scenario = resolve(parse(HOSTS, "workshop"), question="", file="workshop")
    try:
        engine = find_backend(backend)
        if reasons := engine.refuse(scenario):
            raise LabError("\n".join(reasons))
        if not isinstance(engine, Housed):
            raise LabError(f"nobody can type on hosts of the {backend} backend; take dind or netns")

        async def hold() -> None:
            from lab.backends.netns import serve

            lab: Any = await engine.up(scenario)
            try:
                print(UP, flush=True)
                await serve(lab)
            finally:
                await lab.down()

        def work() -> int:
            asyncio.run(hold())
            return 0

        return engine.inside(work, name=name)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

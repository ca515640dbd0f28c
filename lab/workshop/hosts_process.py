"""Holds a workshop's hosts until its parent ends them, or dies (`python -m lab.workshop.hosts_process`)."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from lab.contracts.lab import Housed
from lab.errors import LabError
from lab.fabric.syscalls import set_parent_death_signal
from lab.kinds.backends import backend as find_backend
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

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
_LOOK = 1.0
"""Timeout in seconds for a daemon's view; there may be no daemon."""
UP = "up"
"""Printed on standard output once all hosts are up."""


async def look(hosts: Mapping[str, Any]) -> dict[str, Any]:
    """The state for `lab inspect` of hosts that a learner uses: their daemons and containers, queried now."""
    import aiohttp

    from lab.records.history import View

    peers: dict[str, Any] = {}
    containers: dict[str, Any] = {}
    for name, host in hosts.items():
        view = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK), contextlib.aclosing(host.views()) as views:
                view = await anext(views)
        if isinstance(view, View):
            peers[name] = {"peer": view.peer, "connections": list(view.neighbours)}
        with contextlib.suppress(LabError, OSError, aiohttp.ClientError):
            for container in await host.docker.running():
                shown = container if container not in containers else f"{container}@{name}"
                containers[shown] = {"host": name, "service": shown, "container": container, "address": ""}
    return {"peers": peers, "containers": containers}


def main(argv: list[str]) -> int:
    """`hold BACKEND NAME PARENT`: returns 0 after an orderly end, 2 with an error message if there is no
    lab to hold."""
    backend, name, parent = argv
    set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != int(parent):
        return 3
    scenario = resolve(parse(HOSTS, "workshop"), question="", file="workshop")
    try:
        chosen = find_backend(backend)
        if reasons := chosen.refuse(scenario):
            raise LabError("\n".join(reasons))
        if not isinstance(chosen, Housed):
            raise LabError(f"nobody can type on hosts of the {backend} backend; take dind or netns")

        async def hold() -> None:
            from lab.backends.netns import serve

            lab: Any = await chosen.up(scenario)

            async def status(*, peers: bool = True) -> dict[str, Any]:
                return await look(lab.hosts)

            try:
                print(UP, flush=True)
                await serve(lab, facts={"scenario": scenario.name}, more={"status": status})
            finally:
                await lab.down()

        def work() -> int:
            asyncio.run(hold())
            return 0

        return chosen.inside(work, name=name)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

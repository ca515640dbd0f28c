"""Operations of a running lab on its control socket: inspect, known, exec, host, supervisor, down.

Owns the meaning of each operation; `control` owns the protocol. Runs in the runner, during a timeline or instead of
one. No operation here except `down` changes the lab: changes are steps (`lab.runner.hands`), which the history records.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from lab.backends.netns import runtime
from lab.backends.netns.control import LabServer, Operation
from lab.backends.real.fabric_lab import FabricLab
from lab.cuts import classes
from lab.errors import LabError
from lab.words import MOST_TOLD, few

_LISTED = 2000
"""Most directions of a cut that are told one by one."""


async def serve(lab: FabricLab[Any], *, facts: Mapping[str, Any] = {}, more: Mapping[str, Operation] = {}) -> None:
    """Serve requests of other terminals until one of them is `down`.

    `facts` are added to the answer of `inspect` (scenario, seed …); `more` are the caller's own operations. To serve
    while a timeline runs, make this a task and cancel it.
    """
    operations = Operations(lab, facts)
    server = asyncio.create_task(LabServer(runtime.current().listener, {**operations.table(), **more}).serve())
    ended = asyncio.create_task(operations.ended.wait())
    try:
        await asyncio.wait({server, ended}, return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
    finally:
        server.cancel()
        ended.cancel()


class Operations:
    """The operations of one lab."""

    def __init__(self, lab: FabricLab[Any], facts: Mapping[str, Any]) -> None:
        self._lab = lab
        self._facts = facts
        self.ended = asyncio.Event()

    def table(self) -> dict[str, Operation]:
        """Operations by name."""
        return {
            "inspect": self.inspect,
            "known": self.known,
            "exec": self.exec,
            "host": self.host,
            "supervisor": self.supervisor,
            "down": self.down,
        }

    async def inspect(self, *, each: bool = True) -> dict[str, Any]:
        """The current state of the lab: hosts with their addresses and power, and cuts. Without `each`: how many hosts
        there are, and which are off."""
        machines = self._lab.hosts.values()
        return {
            **self._facts,
            "lab": runtime.current().name,
            "backend": self._lab.backend,
            **(
                {
                    "hosts": [
                        {"name": host.name, "address": host.address, "on": bool(host.pid), "pid": host.pid}
                        for host in machines
                    ],
                    **self._cut(),
                }
                if each
                else {"count": len(machines), "off": [host.name for host in machines if not host.pid]}
            ),
            "up_seconds": round(self._lab.now() / 1e9, 3),
        }

    async def known(self, *, host: str) -> dict[str, Any]:
        """Whether there is a host of this name."""
        return {"known": host in self._lab.hosts}

    async def exec(
        self,
        *,
        host: str,
        argv: Sequence[str],
        container: str = "",
        timeout: float = 30.0,
        env: Mapping[str, str] = {},
    ) -> dict[str, Any]:
        """Run a command on a host and collect its output."""
        result = await self._host(host).exec(argv, container=container, timeout=timeout, env=env)
        return {"code": result.code, "out": result.out, "err": result.err}

    async def host(self, *, host: str, container: str = "") -> tuple[dict[str, Any], int]:
        """Data for entering a host: a pidfd of its init, its environment, and the pid (in the host) of a container."""
        machine = self._host(host)
        if not machine.pid:
            raise LabError(f"host {host} is switched off")
        pid = 0
        if container:
            pid = await machine.docker.pid(container)
            if not pid:
                raise LabError(f"no container {container} runs on {host}")
        if machine.doorway:
            return {"doorway": machine.doorway, "inside": machine.inside}, os.pidfd_open(1)
        return {"environment": machine.environment, "container": pid}, os.pidfd_open(machine.pid)

    async def supervisor(self) -> tuple[dict[str, Any], int]:
        """A pidfd of the lab's PID 1, readable when the lab is gone."""
        return {}, os.pidfd_open(1)

    async def down(self) -> dict[str, Any]:
        """Let `serve` return; the caller then takes the lab down."""
        asyncio.get_running_loop().call_soon(self.ended.set)
        return {}

    def _cut(self) -> dict[str, Any]:
        """What is cut: each direction, or for very many (senders, receivers) instead."""
        if len(self._lab.cut) <= _LISTED:
            return {"cut": sorted(self._lab.cut)}
        return {"cut": [], "cut_classes": classes(self._lab.cut)}

    def _host(self, name: str) -> Any:
        if name not in self._lab.hosts:
            raise LabError(f"no host named {name}; hosts: {few(self._lab.hosts, most=MOST_TOLD)}")
        return self._lab.hosts[name]

"""Labs of bare hosts for system tests: made in this process's children, or held by a script that a test may kill.

Run as a script (`netns_labs.py NAME COUNT [detach] [slow]`) it holds a lab until it is interrupted or taken down; the
links of a slow one are relayed.
"""

import asyncio
import contextlib
import os
import pwd
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
from tiers import cannot_run

from lab.backends.netns import NetnsBackend, launch, ready, serve
from lab.backends.netns.backend import NetnsLab
from lab.backends.netns.control import Operation
from lab.contracts.lab import Backend, Housed, Virtual
from lab.cuts import complete, with_rest
from lab.fabric import features
from lab.fabric.mechanisms import SWITCH
from lab.links import Link, Links
from lab.scenario.model import scenario_model
from lab.scenario.resolve import Resolved, resolve

_FAILED = "the check failed in the lab's runner; its traceback is in the captured output"
ROOT = Path(__file__).resolve().parents[2]


def scenario(count: int, links: Links | None = None, subnets: Sequence[str] = ("192.168.0.0/24",)) -> Resolved:
    """Hosts h1 … hN, each with one interface in each subnet, h1 with the second address of each."""
    nets = {f"net{index}": ip_network(subnet) for index, subnet in enumerate(subnets)}
    hosts = {
        f"h{number}": {"networks": {name: str(subnet[number + 1]) for name, subnet in nets.items()}}
        for number in range(1, count + 1)
    }
    networks = {name: {"subnet": str(subnet)} for name, subnet in nets.items()}
    underlay = {"networks": networks, "hosts": hosts}
    resolved = resolve(
        scenario_model().model_validate(
            {"version": 1, "underlay": underlay, "overlay": "none", "timeline": ({"wait": 0},)}
        )
    )
    return resolved if links is None else msgspec.structs.replace(resolved, links=links)


def require_netns() -> None:
    """Skip where this machine cannot run labs (fail in CI), naming what is missing."""
    missing = [one for one in features.detect_once() if one.required and not one.found]
    if missing:
        text = "; ".join(f"{one.name}: {one.detail} ({one.remedy})" for one in missing)
        cannot_run(f"no netns labs here: {text}")


def in_lab(
    resolved: Resolved, check: Callable[[NetnsLab], Awaitable[None]], *, name: str = "test", within: float = 60
) -> None:
    """Bring up the hosts without engines, run the check in the runner for so many seconds at most, fail with its
    traceback."""

    async def work() -> None:
        lab = await NetnsBackend(engine=False).up(resolved)
        try:
            async with asyncio.timeout(within):
                await check(lab)
        finally:
            await lab.down()

    in_namespaces(work, name=name)


def in_namespaces(work: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
    """Run this in a fresh lab's runner, with no hosts yet; fail with its traceback."""
    assert launch(_main(work), name=name) == 0, _FAILED


def carry_out(backend: Backend, work: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
    """Run this where labs of the backend can be; fail with its traceback."""
    if isinstance(backend, Virtual):
        backend.run(work())
    else:
        assert isinstance(backend, Housed)
        assert backend.inside(_main(work), name=name) == 0, _FAILED


def _main(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], int]:
    def main() -> int:
        try:
            asyncio.run(work())
        except BaseException:
            traceback.print_exc()
            return 1
        return 0

    return main


async def pings(lab: NetnsLab, source: str, target: str, *, wait: float = 30) -> bool:
    """Whether one echo request of a host is answered within these seconds; name fewer where no answer is expected."""
    address = lab.hosts[target].address
    return (await lab.hosts[source].exec(["ping", "-n", "-c1", f"-W{wait}", address])).code == 0


@contextlib.contextmanager
def held(name: str, count: int, *words: str, user: str = "") -> "Iterator[subprocess.Popen[str]]":
    """A lab in a process of its own, which is up; as another user when asked. Killed at the end unless detached."""
    with _start(name, count, *words, user=user) as command:
        try:
            assert command.stdout is not None
            assert command.stdout.readline() == "up\n", "the lab did not come up"
            yield command
        finally:
            command.kill()


def _start(name: str, count: int, *words: str, user: str) -> "subprocess.Popen[str]":
    python = sys.executable
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"}
    identity: dict[str, Any] = {}
    if user:
        python = "/usr/bin/python3"  # ours may be below root's home
        entry = pwd.getpwnam(user)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        environment["HOME"] = "/"
    return subprocess.Popen(
        [python, __file__, name, str(count), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd="/",
        **identity,
    )


def _raw(lab: NetnsLab) -> dict[str, Operation]:
    """Operations that change a lab without a runner; in a lab with a runner, these changes are steps."""

    async def partition(*, groups: Sequence[Sequence[str]]) -> dict[str, Any]:
        await lab.set_cut(complete(with_rest(list(lab.hosts), groups)))
        return {"cut": sorted(lab.cut)}

    async def power(*, host: str, on: bool) -> dict[str, Any]:
        await (lab.hosts[host].start() if on else lab.hosts[host].kill())
        return {}

    return {"partition": partition, "power": power}


def hold(name: str, count: int, *, detach: bool, slow: bool = False) -> int:
    """Bring up a lab and serve its control socket until it is taken down."""
    links = Links(Link(delay=1_000_000)) if slow else None
    os.environ[SWITCH] = "relay" if slow else "auto"

    def main() -> int:
        async def run() -> None:
            lab = await NetnsBackend(engine=False).up(scenario(count, links))
            print("up", flush=True)
            if detach:
                ready()
            await serve(lab, facts={"scenario": "bare"}, more=_raw(lab))
            await lab.down()

        asyncio.run(run())
        return 0

    return launch(main, name=name, detach=detach)


if __name__ == "__main__":
    words = sys.argv[3:]
    sys.exit(hold(sys.argv[1], int(sys.argv[2]), detach="detach" in words, slow="slow" in words))

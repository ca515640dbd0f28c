"""A lab in memory and in virtual time, behind the protocols of `lab.contracts.lab`: for tests of the runner.

Its overlay is ideal: what hosts can reach each other agrees `SETTLE` after every change, containers of one subnet reach
each other unless the underlay is cut, names answer with what is attached in the group. `run_virtual` drives coroutines
on a loop whose clock jumps to the next timer as soon as nothing is left to do.
"""

import asyncio
import heapq
import ipaddress
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from lab.contracts.lab import CommandResult, Probe
from lab.cuts import groups_of
from lab.errors import LabError
from lab.records.history import PeerGone, Sample, View
from lab.scenario.resolve import Resolved

T = TypeVar("T")
MS = 1_000_000
SETTLE = 300 * MS


class _Jump(selectors.SelectSelector):
    """Never waits: tells the loop to put its clock forward instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("deadlock: nothing will ever happen again")
            self.now += max(timeout, 0.0)
        return found


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(work)


class MemoryContainer:
    def __init__(self, host: str, name: str, hostname: str, address: str) -> None:
        self.host, self.name, self.hostname = host, name, hostname
        self.address = ipaddress.ip_interface(address)
        self.running = True


class MemoryHost:
    """One host; `commands` answers what is not the overlay's."""

    def __init__(self, lab: "MemoryLab", name: str, address: str) -> None:
        self.name, self.address = name, address
        self.on = True
        self.daemon = False
        self.disk = 0, False, False
        self._lab = lab

    async def exec(
        self, argv: Sequence[str], *, container: str = "", timeout: float = 30.0, env: Mapping[str, str] = {}
    ) -> CommandResult:
        self._lab.calls.append((self.name, tuple(argv)))
        await asyncio.sleep(0.001)
        if argv[0] == "weave" and not container:
            return self._weave(list(argv[1:]))
        if argv[:2] == ["python3", "-ISc"]:
            return self._engine(argv[3], argv[4].split("/containers/")[1])
        if argv[0] == "ip":
            return CommandResult(0, "3: docker0    inet 172.17.0.1/16 scope global docker0\n", "")
        return self._lab.commands(self.name, container, tuple(argv))

    def _weave(self, words: list[str]) -> CommandResult:
        verb, rest = words[0], words[1:]
        lab = self._lab
        if verb == "launch":
            self.daemon = True
        elif verb == "connect":
            lab.links |= {frozenset((self.address, address)) for address in rest}
        elif verb in ("reset", "stop"):
            self.daemon = False
        elif verb == "run":
            address = rest.pop(0) if "/" in rest[0] else lab.next_address()
            name, hostname = rest[rest.index("--name") + 1], rest[rest.index("-h") + 1]
            lab.containers[name] = MemoryContainer(self.name, name, hostname, address)
        elif verb == "ps":
            return CommandResult(0, f"0123456789ab 02:00:00:00:00:01 {lab.containers[rest[0]].address}\n", "")
        lab.touch()
        return CommandResult(0, "", "")

    def _engine(self, method: str, what: str) -> CommandResult:
        name, _, verb = what.partition("?")[0].partition("/")
        if method == "DELETE":
            self._lab.containers.pop(name, None)
        else:
            self._lab.containers[name].running = verb == "start"
        self._lab.touch()
        return CommandResult(0, "204\n", "")

    async def views(self) -> AsyncIterator[View | PeerGone]:
        seen, up = -1, False
        while True:
            while self._lab.version == seen:
                await self._lab.changed()
            seen = self._lab.version
            if up and not self.daemon:
                up = False
                yield PeerGone(t=self._lab.now(), host=self.name)
            if not self.daemon:
                continue
            await asyncio.sleep(SETTLE / 1e9)
            if self.daemon:
                up = True
                yield self._lab.view(self)

    async def probe(self, probes: Sequence[Probe]) -> AsyncIterator[Sample]:
        lab = self._lab
        queue: list[tuple[int, int, Probe | Sample]] = []
        number = 0
        for probe in probes:
            heapq.heappush(queue, (lab.now() + probe.every - lab.now() % probe.every, number, probe))
            number += 1
        while True:
            due, _, item = heapq.heappop(queue)
            await lab.sleep_until(due)
            if isinstance(item, Sample):
                yield item
                continue
            sample, ready = lab.attempt(item, due)
            number += 2
            heapq.heappush(queue, (ready, number, sample))
            heapq.heappush(queue, (due + item.every, number + 1, item))

    async def signal(self, number: int, *, container: str = "", daemon: bool = False) -> None:
        raise NotImplementedError

    async def kill_daemon(self) -> None:
        self.daemon = False
        self._lab.touch()

    async def set_disk(self, *, latency: int, full: bool, torn: bool = False) -> None:
        await asyncio.sleep(1)
        if not self.on:
            raise LabError(f"{self.name} is off")
        self.disk = latency, full, torn

    async def kill(self) -> None:
        self.on = self.daemon = False
        for container in self._lab.containers.values():
            container.running = container.running and container.host != self.name
        self._lab.touch()

    async def start(self) -> None:
        self.on = True
        self._lab.touch()


class MemoryLab:
    """All hosts, and the truth that probes and views are made of."""

    def __init__(self, scenario: Resolved, commands: Callable[[str, str, tuple[str, ...]], CommandResult]) -> None:
        self.machines = {name: MemoryHost(self, name, spec.address) for name, spec in scenario.hosts.items()}
        self.hosts: Mapping[str, MemoryHost] = self.machines
        self.containers: dict[str, MemoryContainer] = {}
        self.links: set[frozenset[str]] = set()
        self.commands = commands
        self.cuts: list[tuple[int, frozenset[tuple[str, str]]]] = [(0, frozenset())]
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.version = 0
        self.is_down = False
        self._news = asyncio.Event()
        self._next = 1
        self._origin = asyncio.get_running_loop().time()

    def touch(self) -> None:
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def changed(self) -> None:
        await self._news.wait()

    def next_address(self) -> str:
        self._next += 1
        return f"10.32.0.{self._next}/12"

    async def set_cut(self, pairs: frozenset[tuple[str, str]]) -> None:
        self.cuts.append((self.now(), pairs))
        self.touch()

    def now(self) -> int:
        return round((asyncio.get_running_loop().time() - self._origin) * 1e9)

    def wall_clock(self) -> int:
        return self.now()

    async def sleep_until(self, t: int) -> None:
        while (left := t - self.now()) > 0:  # noqa: ASYNC110  # the loop's clock is a float, and rounds
            await asyncio.sleep(left / 1e9)

    async def down(self) -> None:
        self.is_down = True

    def group(self, host: str) -> tuple[str, ...]:
        alive = [name for name, machine in self.machines.items() if machine.on]
        return next((group for group in groups_of(alive, self.cuts[-1][1]) if host in group), ())

    def view(self, host: MemoryHost) -> View:
        peers = tuple(name for name in self.group(host.name) if self.machines[name].daemon)
        digest = ",".join(peers)
        return View(
            t=self.now(), host=host.name, peer=f"02:00:00:00:00:{len(host.name):02x}", topology=digest, ring="r",
            dns=digest, endpoints=digest, reachable=len(peers), neighbours=tuple(n for n in peers if n != host.name),
        )  # fmt: skip

    def attempt(self, probe: Probe, due: int) -> tuple[Sample, int]:
        """The sample of a try, and when it is known."""
        source = self.containers.get(probe.container)
        answers: tuple[str, ...] = ()
        if source is None or not source.running:
            ok = False
        elif probe.probe == "dns":
            group = self.group(source.host)
            found = [
                c for c in self.containers.values() if c.hostname == probe.target and c.host in group and c.running
            ]
            answers = tuple(sorted(str(container.address.ip) for container in found))
            ok = bool(answers)
        else:
            target = self.containers.get(probe.target)
            ok = target is not None and target.running and not self._cut(source.host, target.host)
        failed_at = due + (2 * MS if probe.probe == "dns" else probe.timeout)
        error = "" if ok else "no records" if probe.probe == "dns" else "timeout"
        sample = Sample(
            t=due, probe=probe.probe, source=probe.source, target=probe.target, ok=ok, answers=answers,
            latency=MS if ok else None, error=error,
        )  # fmt: skip
        return sample, due + MS if ok else failed_at

    def _cut(self, one: str, other: str) -> bool:
        cut = self.cuts[-1][1]
        return (one, other) in cut or (other, one) in cut


class MemoryBackend:
    """Implements `Backend`; `lab` is the lab that it brought up."""

    name = "memory"
    virtual = True

    def __init__(self, commands: Callable[[str, str, tuple[str, ...]], CommandResult] | None = None) -> None:
        self.run = run_virtual
        self._commands = commands or (lambda host, container, argv: CommandResult(0, "", ""))
        self.lab: MemoryLab

    def refuse(self, scenario: Any) -> list[str]:
        return []

    async def up(self, scenario: Any) -> MemoryLab:
        self.lab = MemoryLab(scenario, self._commands)
        return self.lab

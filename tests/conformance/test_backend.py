"""One suite for every backend: what `lab.contracts.lab` promises of labs and hosts.

Each check gets a lab of its own with two hosts (on `vagrant`, whose machines take a minute to boot, the same lab swept
clean). A backend passes a check, or says in `LACKS` what it cannot do and why.
"""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from itertools import pairwise
from signal import SIGKILL
from typing import Any, cast

import pytest
from netns_labs import carry_out, require_netns
from vm_labs import require_vms

from lab.contracts.lab import Lab, Obstacle, Obstructed, Probe
from lab.contracts.overlay import Overlay
from lab.contracts.probe import phase_of
from lab.errors import LabError
from lab.kinds.backends import backend as find_backend
from lab.overlays import make_overlay
from lab.records.history import PeerGone, Sample, View
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve

BACKENDS = ("sim", "netns")
LACKS: dict[tuple[str, str], str] = {
    ("vagrant", "disturbed_disks_are_honoured"): "a hypervisor's disks have no such knob",
    ("vagrant", "full_disks_are_honoured"): "minutes where processors are emulated; played by hand",
    ("vagrant", "engines_end_and_come_back"): "minutes where processors are emulated; played by hand",
}
"""(backend, check) -> the capability that is missing, or why it is not played here."""

MS = 1_000_000
SCENARIO = """
version: 1
underlay: {hosts: {a: {}, b: {}}}
services:
  one: {image: ksahnine/dummy-http, args: [one], host: a, address: 10.0.1.1/24}
  two: {image: ksahnine/dummy-http, args: [two], host: b, address: 10.0.1.2/24}
  ask: {image: tutum/curl, host: a, address: 10.0.1.3/24, allow_spoofing: true}
timeline: [{wait: 1s}]
"""
ROUTED = """
version: 1
underlay:
  networks: {x: {subnet: 192.168.1.0/24}, y: {subnet: 192.168.2.0/24}}
  hosts: {a: {network: x}, b: {network: y}}
  routers: {gw: {networks: [x, y]}}
  links: {"b -> a": {mtu: 1000}}
timeline: [{wait: 1s}]
"""


class Bench:
    """What a check works on."""

    def __init__(self, lab: Lab, scenario: Resolved) -> None:
        self.lab, self.scenario = lab, scenario
        self.a, self.b = lab.hosts["a"], lab.hosts["b"]
        self.overlay: Overlay = make_overlay(lab, scenario)

    async def connected(self) -> None:
        """Launch, connect, and start the services."""
        await self.overlay.launch(["a", "b"], {})
        await self.overlay.connect("a", ["b"])
        for replica in self.scenario.replicas():
            await self.overlay.run(replica)

    async def pings(self, source: str, target: str) -> bool:
        address = self.lab.hosts[target].address
        return (await self.lab.hosts[source].exec(["ping", "-n", "-c", "1", "-W", "1", address])).code == 0

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it holds; the whole check has a deadline."""
        while not await condition():
            await self.lab.sleep_until(self.lab.now() + 50 * MS)

    def probe(self, kind: str, **more: Any) -> Probe:
        fields: dict[str, Any] = {
            "address": "10.0.1.2",
            "target": "two",
            "port": 8080,
            "every": 50 * MS,
            "timeout": 400 * MS,
        } | more
        return Probe(probe=kind, container="one", source="one", **fields)


async def commands_end_with_code_and_output(bench: Bench) -> None:
    done = await bench.a.exec(["sh", "-c", "echo said; echo wrong | grep nothing"])
    assert (done.code, done.out) == (1, "said\n")
    assert (await bench.a.exec(["hostname"])).out == "a\n"
    unknown = await bench.a.exec(["sh", "-c", "no-such-command-anywhere"])
    assert unknown.code == 127 and "no-such-command-anywhere" in unknown.err
    slow = await bench.a.exec(["sleep", "20"], timeout=0.2)
    assert slow.code == 124 and "not done after 0.2 s" in slow.err


async def files_stay_over_a_power_cut(bench: Bench) -> None:
    # Where a boot empties no directory; and synced, for a machine's memory goes with its power.
    await bench.a.exec(["sh", "-c", "echo kept > /var/log/note; sync"])
    await bench.a.kill()
    with pytest.raises(LabError, match="switched off"):
        await bench.a.exec(["hostname"])
    assert not await bench.pings("b", "a")
    await bench.a.start()
    with pytest.raises(LabError, match="host a is running already"):
        await bench.a.start()
    assert (await bench.a.exec(["cat", "/var/log/note"])).out == "kept\n"
    await bench.until(lambda: bench.pings("b", "a"))


async def cuts_are_exact_and_replace_each_other(bench: Bench) -> None:
    await bench.until(lambda: bench.pings("a", "b"))
    await bench.lab.set_cut(frozenset({("a", "b")}))
    assert not await bench.pings("a", "b") and not await bench.pings("b", "a"), "an answer needs both directions"
    await bench.lab.set_cut(frozenset({("b", "a")}))
    assert not await bench.pings("a", "b")
    await bench.lab.set_cut(frozenset())
    await bench.until(lambda: bench.pings("a", "b"))
    with pytest.raises(LabError, match="no host named c"):
        await bench.lab.set_cut(frozenset({("a", "c")}))


async def commands_run_inside_containers(bench: Bench) -> None:
    await bench.connected()
    inside = await bench.a.exec(["ifconfig", "ethwe"], container="one")
    assert inside.code == 0 and "10.0.1.1" in inside.out

    async def answers() -> bool:
        return (await bench.a.exec(["curl", "-s", "-m", "1", "10.0.1.2:8080"], container="ask")).code == 0

    await bench.until(answers)
    page = await bench.a.exec(["curl", "-s", "http://two.weave.local:8080/"], container="ask")
    assert page.out.startswith("Hi! I'm [two] service and my Docker container's IP is [172.17.0.")
    ports = (await bench.a.exec(["weave", "ps"])).out.splitlines()
    assert [line.split()[2:] for line in ports] == [["10.0.1.1/24"], ["10.0.1.3/24", "spoofing-allowed"], []]
    with pytest.raises(LabError, match="nobody"):
        await bench.a.exec(["hostname"], container="nobody")


async def views_follow_the_daemon(bench: Bench) -> None:
    seen: list[View | PeerGone] = []
    async with _following(bench.a.views(), seen.append):
        await bench.overlay.launch(["a", "b"], {})
        await bench.overlay.connect("a", ["b"])
        await _seen(
            bench, seen, lambda view: isinstance(view, View) and view.neighbours == ("b",) and view.reachable == 2
        )
        last = next(view for view in reversed(seen) if isinstance(view, View))
        assert last.host == "a" and last.reachable == 2 and 0 < last.t <= bench.lab.now()
        await bench.a.kill_daemon()
        await _seen(bench, seen, lambda view: isinstance(view, PeerGone) and not view.asked)
        with pytest.raises(LabError, match="no overlay daemon runs on a"):
            await bench.a.kill_daemon()
        seen.clear()
        await bench.overlay.relaunch("a")
        await _seen(bench, seen, lambda view: isinstance(view, View) and view.neighbours == ("b",))
        assert (await bench.a.exec(["sh", "-c", "weave stop; sleep 0.1"])).code == 0
        await _seen(bench, seen, lambda view: isinstance(view, PeerGone) and view.asked)


async def probes_keep_their_grid(bench: Bench) -> None:
    await bench.connected()
    samples: list[Sample] = []
    server = await bench.overlay.resolver("a")
    probes = [bench.probe("http"), bench.probe("icmp", port=0)]
    probes.append(bench.probe("dns", target="two.weave.local", address=server, port=53))

    def failed(kind: str) -> set[str]:
        """How tries after the cut failed. A late one says nothing: the machine was too busy to start it in time."""
        tries = [sample for sample in samples if sample.probe == kind and sample.t > cut]
        return {sample.error for sample in tries if not sample.ok and sample.error != "late"}

    async with _following(bench.a.probe(probes), samples.append):
        for kind in ("http", "icmp", "dns"):
            await _seen(bench, samples, lambda sample, kind=kind: sample.probe == kind and sample.ok)
        await bench.lab.set_cut(frozenset({("a", "b"), ("b", "a")}))
        cut = bench.lab.now()
        for kind in ("http", "icmp"):
            await _seen(bench, samples, lambda _, kind=kind: bool(failed(kind)))
    for probe in probes:
        mine = sorted(sample.t for sample in samples if sample.probe == probe.probe)
        gaps = [later - earlier for earlier, later in pairwise(mine)]
        assert gaps and all(gap % probe.every == 0 and gap > 0 for gap in gaps), (probe.probe, gaps)
        assert 0 <= phase_of(probe) < probe.every
    good = [sample for sample in samples if sample.ok]
    assert all(sample.latency is not None and 0 < sample.latency <= 400 * MS for sample in good)
    assert {sample.answers for sample in good if sample.probe == "dns"} == {("10.0.1.2",)}
    assert failed("icmp") == {"timeout"}


async def time_goes_forward_and_down_is_idempotent(bench: Bench) -> None:
    begun = bench.lab.now()
    await bench.lab.sleep_until(begun + 30 * MS)
    assert bench.lab.now() >= begun + 30 * MS
    await bench.lab.sleep_until(begun)
    await bench.overlay.launch(["a"], {})
    await bench.lab.down()
    await bench.lab.down()


async def disturbed_disks_are_honoured(bench: Bench) -> None:
    host: Any = bench.a
    await bench.connected()
    await host.set_disk(latency=300 * MS, full=False)
    begun = bench.lab.now()
    assert (await bench.a.exec(["weave", "run", "ksahnine/dummy-http", "slow"])).code == 0
    assert bench.lab.now() - begun >= 300 * MS
    await host.set_disk(latency=0, full=False)


async def full_disks_are_honoured(bench: Bench) -> None:
    host: Any = bench.a
    await bench.connected()
    await host.set_disk(latency=0, full=True)
    full = await bench.a.exec(["weave", "run", "ksahnine/dummy-http", "full"], timeout=120.0)
    assert full.code == 1 and "space" in full.err
    await host.set_disk(latency=0, full=False)
    assert (await bench.a.exec(["weave", "run", "ksahnine/dummy-http", "again"], timeout=120.0)).code == 0


async def engines_end_and_come_back(bench: Bench) -> None:
    host: Any = bench.a
    await bench.connected()
    await host.end_engine(SIGKILL, live_restore=False)
    assert (await bench.a.exec(["weave", "attach", "ask"], timeout=60.0)).code == 1
    assert (await bench.a.exec(["weave", "status"], timeout=60.0)).code == 0
    await host.start_engine(live_restore=False)
    await bench.overlay.restart(next(one for one in bench.scenario.replicas() if one.name == "ask"))
    answer = await bench.a.exec(["curl", "-s", "-m", "20", "10.0.1.2:8080"], container="ask", timeout=60.0)
    assert answer.code == 0 and "[two]" in answer.out


async def wrong_clocks_are_honoured(bench: Bench) -> None:
    host: Any = bench.a
    await bench.connected()
    await host.set_clock(offset=10_000 * MS, drift=100_000)
    await bench.lab.sleep_until(bench.lab.now() + 5_000 * MS)
    assert (await bench.a.exec(["weave", "status"])).code == 0
    assert (await bench.a.exec(["curl", "-s", "-m", "5", "10.0.1.2:8080"], container="ask")).code == 0
    await host.set_clock(offset=None, drift=0)


async def stress_is_honoured(bench: Bench) -> None:
    host: Any = bench.a
    await bench.connected()
    assert host.cores >= 1
    await host.set_stress(millicores=1500, memory=1 << 20)
    assert (await bench.a.exec(["weave", "status"], timeout=60.0)).code == 0
    await host.set_stress(millicores=500, memory=0)
    assert (await bench.a.exec(["curl", "-s", "-m", "20", "10.0.1.2:8080"], container="ask", timeout=60.0)).code == 0
    await host.set_stress(millicores=0, memory=0)
    if hasattr(host, "weave_socket"):
        left = await bench.a.exec(["sh", "-c", "grep -l overlay-lab-stres[s] /proc/[0-9]*/cmdline; true"])
        assert not left.out, "none goes on"


CHECKS: tuple[Callable[[Bench], Coroutine[Any, Any, None]], ...] = (
    commands_end_with_code_and_output,
    files_stay_over_a_power_cut,
    cuts_are_exact_and_replace_each_other,
    commands_run_inside_containers,
    views_follow_the_daemon,
    probes_keep_their_grid,
    disturbed_disks_are_honoured,
    full_disks_are_honoured,
    engines_end_and_come_back,
    wrong_clocks_are_honoured,
    stress_is_honoured,
    time_goes_forward_and_down_is_idempotent,
)


@contextlib.asynccontextmanager
async def _following(stream: AsyncIterator[Any], take: Callable[[Any], None]) -> AsyncIterator[None]:
    async def follow() -> None:
        async for item in stream:
            take(item)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _seen(bench: Bench, items: list[Any], condition: Callable[[Any], bool]) -> None:
    async def there() -> bool:
        return any(condition(item) for item in list(items))

    await bench.until(there)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", BACKENDS)
def test_backend(name: str, check: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    if name == "netns":
        require_netns()
    if (name, check.__name__) in LACKS:
        pytest.skip(f"{name} lacks it: {LACKS[name, check.__name__]}")
    scenario = resolve(parse(SCENARIO), seed=5)
    backend = find_backend(name)
    assert backend.refuse(scenario) == []

    async def work() -> None:
        lab = await backend.up(scenario)
        try:
            assert list(lab.hosts) == ["a", "b"]
            async with asyncio.timeout(90):
                await check(Bench(lab, scenario))
        finally:
            await lab.down()

    carry_out(backend, work, name="conformance")


async def _sweep_clean(bench: Bench) -> None:
    """Whatever a check has left on a lab that the next one gets too."""
    await bench.lab.set_cut(frozenset())
    for host in (bench.a, bench.b):
        await host.exec(["sh", "-c", "docker ps -aq | xargs -r docker rm -f; weave reset"], timeout=120.0)


@pytest.mark.turn(0)
def test_vagrant() -> None:
    """All checks on one lab, and after each its name: a lab of machines takes longer to boot than a check."""
    require_vms()
    scenario = resolve(parse(SCENARIO), seed=5)
    backend = find_backend("vagrant")
    failed: list[str] = []

    async def work() -> None:
        lab = await backend.up(scenario)
        try:
            for check in CHECKS:
                if ("vagrant", check.__name__) in LACKS:
                    continue
                bench = Bench(lab, scenario)
                try:
                    async with asyncio.timeout(600):
                        await check(bench)
                except Exception:
                    traceback.print_exc()
                    failed.append(check.__name__)
                if check is not CHECKS[-1]:  # which takes the lab down
                    await _sweep_clean(bench)
        finally:
            await lab.down()
        assert not failed, f"these checks failed: {', '.join(failed)}"

    carry_out(backend, work, name="conformance")


@pytest.mark.parametrize("name", BACKENDS)
def test_what_goes_over_a_router_is_cut_and_obstructed(name: str) -> None:
    if name == "netns":
        require_netns()
    backend, scenario = find_backend(name), resolve(parse(ROUTED))
    assert backend.refuse(scenario) == []

    async def passes(lab: Lab, source: str, target: str, size: int = 56) -> bool:
        words = ["ping", "-c", "1", "-W", "1", "-s", str(size), lab.hosts[target].address]
        return (await lab.hosts[source].exec(words)).code == 0

    async def work() -> None:
        lab = await backend.up(scenario)
        try:
            assert await passes(lab, "a", "b") and await passes(lab, "a", "b", 972)
            assert not await passes(lab, "a", "b", 973)  # the answer is as large
            await lab.set_cut(frozenset({("a", "b")}))
            assert not await passes(lab, "a", "b") and not await passes(lab, "b", "a")
            await lab.set_cut(frozenset())
            await cast(Obstructed, lab).set_obstacle(1, Obstacle(("a", "b"), protocol="icmp"))
            assert not await passes(lab, "a", "b")
            await cast(Obstructed, lab).set_obstacle(1, None)
            assert await passes(lab, "b", "a")
        finally:
            await lab.down()

    carry_out(backend, work, name="conformance")


def test_what_a_backend_lacks_it_refuses_by_step() -> None:
    steps = "timeline: [{slow_disk: {host: a}, for: 1s}, {clock: {host: b, offset: 1s}, for: 1s}]"
    reasons = find_backend("vagrant").refuse(resolve(parse(SCENARIO.replace("timeline: [{wait: 1s}]", steps))))
    assert [reason.partition(":")[0] for reason in reasons if "timeline" in reason] == ["timeline[0].slow_disk"]

"""Names and addresses by the hundred thousand: DNS next to dnsmasq, and batches.

One host of a lab, its router, and dnsmasq (`--no-resolv`, the names in a hosts file) in the host's namespace. Both
answer a container of the host at the same address, the engine's bridge, on different ports. The client sends A queries
for random names, in batches, from one socket (`benchmarks.dns_load`). Both are warm, and measured in turn, round by
round. Queries per second of processor time are those of a flood of 64 in flight, by the server's time in `/proc`, which
counts what the kernel does for it; the share of that is a row of its own.
Latency is at a fixed rate, half of what the slower of the two answered in the flood of the same round, in an open loop:
it counts from when a query was due, so it holds the delays of a busy machine too. Loading counts from the command's
start to its end, with all names durable and answered.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.labs import hosts_yaml, on_lab
from benchmarks.rows import Row, asked, row
from lab.backends.netns.backend import NetnsLab
from lab.contracts.overlay import Overlay, must
from lab.errors import LabError
from lab.scenario.resolve import Resolved

_SCENARIO = f"""version: 1
name: bench-names
{hosts_yaml(1)}
services:
  client: {{command: [sleep, infinity], host: host1, address: 10.0.1.1/24}}
timeline:
  - launch: all
"""
_COUNTS = (1_000, 100_000)
_ADDRESSES = 5_000
_PORT = 5353
_LIMIT = 300.0
_LEAST = 20_000
"""Answers of a flood."""
Found = dict[str, list[float]]


def run() -> list[Row]:
    """Rows for both numbers of names. OVERLAY_LAB_BENCH_RUNS: rounds; OVERLAY_LAB_BENCH_SECONDS: of each flood."""
    rounds, seconds = int(asked("RUNS", 5)), asked("SECONDS", 2.0)

    async def work(lab: NetnsLab, resolved: Resolved, overlay: Overlay) -> Any:
        with tempfile.TemporaryDirectory(prefix=".bench-names-", dir=Path.cwd()) as folder:
            return await _measure(lab, resolved, overlay, Path(folder), rounds, seconds)

    result = on_lab(_SCENARIO, "bench-names", work)
    found: dict[str, Found] = result["found"]
    version, rows = result["version"], []
    for metric, unit, goal in (
        ("queries of a second of processor time", "k", "at least 1.0"),
        ("of this in the kernel", "%", ""),
        ("answers in a flood", "k/s", ""),
        ("median at half load", "ms", ""),
        ("p99 at half load", "ms", "under 2 ms"),
    ):
        for count in _COUNTS:
            names = f"{count:,} names"
            base = row(f"dnsmasq, {names}", metric, unit, found[f"dnsmasq {count}"][metric], version=version)
            ours = found[f"weave {count}"][metric]
            rows += [base, row(f"weave, {names}", metric, unit, ours, goal=goal, against=base)]
    for metric, unit, goal, name in (
        ("load", "s", "under 10 s", f"{_COUNTS[-1]:,} names"),
        ("load, processor time of the router", "s", "", f"{_COUNTS[-1]:,} names"),
        ("resident memory of the router", "MB", "", f"with {_COUNTS[-1]:,} names"),
        ("addresses of a second of processor time", "k", "at least 10 k", f"batches of {_ADDRESSES:,}"),
    ):
        rows.append(row(name, metric, unit, found["batches"][metric], goal=goal))
    return rows


async def _measure(
    lab: NetnsLab, resolved: Resolved, overlay: Overlay, folder: Path, rounds: int, seconds: float
) -> Any:
    host = lab.hosts["host1"]
    await must(host, ["weave", "launch", "--ipalloc-init", "consensus=1"])
    for replica in resolved.replicas():
        await overlay.run(replica)
    version = (await must(host, ["dnsmasq", "--version"])).split()
    release = f"{version[2]}, {next(word for word in version if word.startswith('2000-')).partition('-')[2]}"
    address = (await must(host, ["weave", "report", "-f", "{{.DNS.Address}}"])).strip().removesuffix(":53")
    router = json.loads(await must(host, ["weave", "report"]))["driver"]["pid"]
    found: dict[str, Found] = {"batches": {}}
    for count in _COUNTS:
        files = _files(folder, count)
        await _load(host, router, files, found["batches"] if count == _COUNTS[-1] else {}, rounds)
        pid_file = folder / f"pid{count}"
        flags = [f"--port={_PORT}", f"--listen-address={address}", f"--addn-hosts={files['hosts']}"]
        flags += ["--bind-interfaces", "--no-resolv", "--no-hosts", "--user=root", f"--pid-file={pid_file}"]
        await must(host, ["dnsmasq", *flags])
        dnsmasq = int(pid_file.read_text(encoding="utf-8"))
        servers = {f"weave {count}": (53, router), f"dnsmasq {count}": (_PORT, dnsmasq)}
        for number in range(-1, rounds):  # a round before the first, because both have to be warm
            await _round(host, address, servers, files["names"], seconds, found if number >= 0 else {}, number)
        await must(host, ["kill", str(dnsmasq)])
        await must(host, ["weave", "dns-remove", "--from", str(files["hosts"])], timeout=_LIMIT)
    await _addresses(host, router, folder, found["batches"], rounds)
    return {"found": found, "version": release}


async def _round(
    host: Any, address: str, servers: dict[str, tuple[int, int]], names: Path, seconds: float,
    found: dict[str, Found], number: int,
) -> None:  # fmt: skip
    rates = []
    for name, (port, pid) in servers.items():
        before, ticks = await _cpu(host, pid), await _ticks(host, pid)
        more = ("--seed", str(number + 2), "--least", str(_LEAST))
        done = await _client(host, "flood", address, port, names, seconds, *more)
        used, spent = await _cpu(host, pid) - before, await _ticks(host, pid)
        if done["wrong"] or not done["answered"]:
            raise LabError(f"bench names: {name} gave {done['wrong']} wrong answers of {done['answered']}")
        rates.append(done["rate"])
        _add(found, name, "queries of a second of processor time", done["answered"] / used / 1000)
        user, system = spent[0] - ticks[0], spent[1] - ticks[1]
        _add(found, name, "of this in the kernel", 100 * system / max(user + system, 1))
        _add(found, name, "answers in a flood", done["rate"] / 1000)
    for name, (port, _) in servers.items():
        rate = ("--rate", str(min(rates) / 2), "--seed", str(number + 2))
        done = await _client(host, "paced", address, port, names, seconds, *rate)
        _add(found, name, "median at half load", done["p50"])
        _add(found, name, "p99 at half load", done["p99"])


def _add(found: dict[str, Found], name: str, metric: str, value: float) -> None:
    found.setdefault(name, {}).setdefault(metric, []).append(value)


async def _client(host: Any, kind: str, address: str, port: int, names: Path, seconds: float, *more: str) -> Any:
    words = [sys.executable, "-m", "benchmarks.dns_load", kind, address, str(port), str(names)]
    out = await must(host, [*words, "--seconds", str(seconds), *more], container="client", timeout=_LIMIT)
    return json.loads(out)


async def _load(host: Any, router: int, files: dict[str, Path], found: Found, rounds: int) -> None:
    for number in range(rounds):
        if number:
            await must(host, ["weave", "dns-remove", "--from", str(files["hosts"])], timeout=_LIMIT)
        before, begun = await _cpu(host, router), time.monotonic()
        said = await must(host, ["weave", "dns-add", "--from", str(files["hosts"])], timeout=_LIMIT)
        ended = time.monotonic()
        if not said.startswith(f"{len(files['names'].read_text(encoding='utf-8').split())} added"):
            raise LabError(f"bench names: the names were not added: {said.strip()}")
        found.setdefault("load", []).append(ended - begun)
        found.setdefault("load, processor time of the router", []).append(await _cpu(host, router) - before)
    status = await must(host, ["cat", f"/proc/{router}/status"])
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    found["resident memory of the router"] = [int(resident.split()[1]) / 1024]


async def _addresses(host: Any, router: int, folder: Path, found: Found, rounds: int) -> None:
    lines = folder / "addresses"
    lines.write_text("".join(f'{{"container": "bench{n}"}}\n' for n in range(_ADDRESSES)), encoding="utf-8")
    ask = ["curl", "-sS", "--fail", "--unix-socket", "/var/run/weave/router.sock", "--data-binary", f"@{lines}"]
    for _ in range(rounds):
        before = await _cpu(host, router)
        said = await must(host, [*ask, "http://weave/ips"], timeout=_LIMIT)
        used = await _cpu(host, router) - before
        if len({entry["addresses"][0] for entry in json.loads(said)["entries"]}) != _ADDRESSES:
            raise LabError("bench names: the addresses are not all different")
        found.setdefault("addresses of a second of processor time", []).append(_ADDRESSES / used / 1000)
        await must(host, [*ask, "-X", "DELETE", "http://weave/ips"], timeout=_LIMIT)


def _files(folder: Path, count: int) -> dict[str, Path]:
    """The same names as a list, and as a hosts file."""
    files = {"names": folder / f"names{count}", "hosts": folder / f"hosts{count}"}
    names = [f"svc{number}.weave.local" for number in range(count)]
    files["names"].write_text("\n".join(names) + "\n", encoding="utf-8")
    lines = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} {name}\n" for n, name in enumerate(names))
    files["hosts"].write_text("".join(lines), encoding="utf-8")
    return files


async def _cpu(host: Any, pid: int) -> float:
    """Seconds of processor time of a process, all its threads, by the scheduler's count in nanoseconds."""
    text = await must(host, ["sh", "-c", f"cat /proc/{pid}/task/*/schedstat"])
    return sum(int(line.split()[0]) for line in text.splitlines()) / 1e9


async def _ticks(host: Any, pid: int) -> tuple[int, int]:
    """Processor time of a process in its own code and in the kernel, in the kernel's ticks."""
    fields = (await must(host, ["cat", f"/proc/{pid}/stat"])).rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])

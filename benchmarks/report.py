"""Reports of a million samples: how long `lab report` takes for a long run, how much memory, and how large the page is.

The run is played on `sim` with few tries, which gives real events and views; then its history is written again with as
many tries as asked, each due on its probe's schedule and answered as the groups of hosts at that time allow. So the
history is that of a long run, and the same every time. Each report is made by a process of its own, so its peak of
memory is its own.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import structs

from benchmarks.labs import hosts_yaml
from benchmarks.rows import Row, asked, publish, row
from lab.checkers.world import ExpectedState, SeriesKey, series_of
from lab.errors import LabError
from lab.kinds.probes import asks_name
from lab.records.history import AnyRecord, Event, Meta, Sample, Writer, read
from lab.records.store import HISTORY, INDEX

__all__ = ["long_history", "long_run", "run"]

SAMPLES = 1_000_000
_HOSTS = 16
_SECONDS = 400
_LOST = 0.0005
"""Share of tries that fail with no fault in force."""
_HEALING = 180_000_000
"""Nanoseconds after a heal in which tries across the cut still fail."""
_MS = 1_000_000


def run() -> list[Row]:
    """Rows: time, processor time, memory and size of the page; OVERLAY_LAB_BENCH_SAMPLES and …_RUNS change what is
    measured."""
    samples, runs = int(asked("SAMPLES", SAMPLES)), int(asked("RUNS", 3))
    name = f"lab report, {samples:,} samples"
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in _CANDIDATES}
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        run_dir = long_run(Path(folder), samples)
        history = (run_dir / HISTORY).stat().st_size
        for _ in range(runs):
            for kind, code in _CANDIDATES.items():
                found[kind].append(_report(run_dir, code))
        page = (run_dir / INDEX).stat().st_size
    rows: list[Row] = []
    for place, metric, unit, goal in (
        (1, "processor time", "s", "under 5"), (0, "time", "s", ""), (2, "peak memory", "MB", "under 200")
    ):  # fmt: skip
        reference = None
        for kind, each in found.items():
            values = [one[place] for one in each]
            wanted = goal if kind == "columns" else ""
            rows.append(row(f"{name}, {kind}", metric, unit, values, goal=wanted, against=reference))
            reference = reference or rows[-1]
    return [*rows, row(name, "history", "MB", [history / 1e6]), row(name, "page", "MB", [page / 1e6])]


_WRITE = (
    "from pathlib import Path; from lab.report import write_report; write_report(Path(sys.argv[1])); "
    "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
)
"""The peak of the kernel's account of a child (`ru_maxrss`) would begin with the memory of the process that made it."""
_CANDIDATES = {
    "records": f"import sys; import lab.report.write as w; w.recorded.__defaults__ = (1 << 60,); {_WRITE}",
    "columns": f"import sys; {_WRITE}",
}
"""The report as `lab report` makes it from every try as an object, which is the reference, and from columns."""


def _report(run_dir: Path, code: str) -> tuple[float, float, float]:
    """(seconds, seconds of processor time, peak memory in MB) of one report."""
    begun = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code, str(run_dir)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as told:
        kilobytes = told.read().split()[-1:]
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise LabError(f"the report ended with {child.returncode}")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, int(kilobytes[0]) / 1024


def long_run(folder: Path, samples: int) -> Path:
    """A run directory with a history of this many tries."""
    file = folder / "long.yaml"
    file.write_text(_scenario(), encoding="utf-8")
    asked_for = ["run", str(file), "--backend", "sim", "--no-figures", "--out", str(folder / "runs")]
    subprocess.run([sys.executable, "-m", "lab.cli", *asked_for], check=True, stdout=subprocess.DEVNULL)
    run_dir = next((folder / "runs" / "long").iterdir())
    records = list(long_history(list(read(run_dir / HISTORY)), samples))
    with (run_dir / HISTORY).open("wb") as out:
        writer = Writer(out)
        for record in records:
            writer.write(record)
    return run_dir


def long_history(records: list[AnyRecord], samples: int) -> Iterator[AnyRecord]:
    """The same history with this number of tries of the same series, in the order in which they are reported."""
    keys = sorted({series_of(record) for record in records if isinstance(record, Sample)})
    begun = min(record.t for record in records if isinstance(record, Sample))
    end = next(record.t for record in records if isinstance(record, Event) and record.what == "down")
    each = -(-samples // len(keys))
    every = (end - begun) // each
    draw = random.Random(1)
    rest = [record for record in records if not isinstance(record, Sample)]
    made = _tries(rest, keys, begun, every, each, draw)
    del made[samples:]
    made.sort(key=lambda pair: pair[0])
    place = 0
    for record in rest:
        while place < len(made) and made[place][0] < record.t:
            yield made[place][1]
            place += 1
        yield _probed(record, every) if isinstance(record, Meta) else record
    yield from (sample for _, sample in made[place:])


def _tries(
    rest: Sequence[AnyRecord], keys: list[SeriesKey], begun: int, every: int, each: int, draw: random.Random
) -> list[tuple[int, Sample]]:
    """(when it is reported, try) for every try of every series."""
    world, states = ExpectedState(), []
    for record in rest:
        world.feed(record)
        if isinstance(record, Event):
            answers = {key: world.should_answer(*key[1:]) or () for key in keys if asks_name(key[0])}
            states.append((record.t, {key: world.should(key) for key in keys}, answers))
    made = []
    for key in keys:
        phase = draw.randrange(every)
        for number in range(each):
            t = begun + phase + number * every
            state = bisect_right(states, t, key=lambda entry: entry[0]) - 1
            healing = bisect_right(states, t - _HEALING, key=lambda entry: entry[0]) - 1
            good = all(states[place][1][key] is not False for place in (state, healing) if place >= 0)
            probe, source, target = key
            if good and draw.random() >= _LOST:
                latency = round(draw.lognormvariate(0, 0.3) * _MS)
                found = states[state][2].get(key, ())
                sample = Sample(t=t, probe=probe, source=source, target=target, ok=True, latency=latency, answers=found)
                made.append((t + latency, sample))
            else:
                sample = Sample(t=t, probe=probe, source=source, target=target, ok=False, error="timeout")
                made.append((t + 1000 * _MS, sample))
    return made


def _probed(meta: Meta, every: int) -> Meta:
    """The scenario as if it had asked for this number of tries."""
    plans = [plan | {"every": every} for plan in meta.scenario["probes"]]
    return structs.replace(meta, scenario=meta.scenario | {"probes": plans})


def _scenario() -> str:
    names = [f"host{number}" for number in range(1, _HOSTS + 1)]
    services = "\n".join(
        f"  svc{n}: {{image: ksahnine/dummy-http, args: [x], host: {name}}}" for n, name in enumerate(names, 1)
    )
    half = _HOSTS // 2
    cut = f"[[{', '.join(names[:half])}], [{', '.join(names[half:])}]]"
    return f"""version: 1
name: long
{hosts_yaml(_HOSTS)}
overlay: {{kind: weave, options: {{discovery: true}}}}
services:
{services}
probes:
  - {{kind: http, from: all, to: all, every: 20s, timeout: 1s}}
  - {{kind: icmp, from: all, to: all, every: 20s, timeout: 1s}}
  - {{kind: dns, name: svc1.weave.local, from: all, every: 20s}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{converged: all, within: 60s}}
  - at: {_SECONDS // 2}s
    partition: {{groups: {cut}, for: 30s}}
  - at: {_SECONDS - 50}s
    expect: {{converged: all, within: 60s}}
  - at: {_SECONDS}s
    wait: 1s
"""


if __name__ == "__main__":
    print(publish("report", run()))

"""Histories as a lab would record them, made up from a seed: for tests of checkers, plots and the report only."""

import hashlib
from random import Random
from typing import Any

from lab.records.history import AnyRecord, Event, Load, Meta, PeerGone, Sample, View

MS = 1_000_000
S = 1_000_000_000

ORION, MACBOOK = "orion.local", "macbook.local"


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Story:
    """Collects records; `finish` puts them in the order in which a runner would have written them."""

    def __init__(
        self,
        hosts: tuple[str, ...] = (ORION, MACBOOK),
        services: dict[str, str] | None = None,
        *,
        seed: int = 1,
        kind: str = "weave",
        name: str = "partition",
        question: str = "Does each half of a split keep working, and how soon after the heal is everything back?",
        probes: tuple[dict[str, Any], ...] = (
            {"kind": "http", "every": 200 * MS, "timeout": S},
            {"kind": "icmp", "every": 200 * MS, "timeout": S},
        ),
    ) -> None:
        self.random = Random(seed)
        self.hosts = hosts
        self.replicas: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.step = 0
        self._records: list[tuple[int, int, AnyRecord]] = []
        self.meta = Meta(
            t=0,
            scenario={
                "name": name,
                "question": question,
                "underlay": {"hosts": {host: {"address": f"192.168.0.{n + 2}"} for n, host in enumerate(hosts)}},
                "overlay": {"kind": kind, "options": {}},
                "services": {service: {"host": host} for service, host in (services or {}).items()},
                "probes": list(probes),
            },
            backend="netns",
            seed=seed,
            version="0.1.0",
            started="2025-03-04T10:20:30+01:00",
            machine={"cores": 2, "kernel": "6.1.0", "memory": 8 << 30, "python": "3.11.2"},
        )
        self.add(self.meta)

    def add(self, record: AnyRecord, at: int | None = None) -> None:
        """Write a record at its own time, or at another (a late report)."""
        self._records.append((record.t if at is None else at, len(self._records), record))

    def event(self, t: int, what: str, phase: str = "point", *, step: int | None = None, **more: Any) -> int:
        """An event; a new step unless one is given. Returns the step."""
        if step is None:
            self.step += 1
            step = self.step
        groups = more.pop("groups", ())
        ok = more.pop("ok", None)
        self.add(Event(t=t, step=step, what=what, phase=phase, ok=ok, groups=groups, detail=more))  # type: ignore[arg-type]
        return step

    def took(self, start: int, end: int, what: str, **more: Any) -> int:
        """A step with its start and end."""
        step = self.event(start, what, "start", label=more.get("label", what))
        return self.event(end, what, "end", step=step, ok=True, **more)

    def place(self, replicas: dict[str, str], net: int = 1) -> dict[str, Any]:
        """Details of an event that puts replicas in their places."""
        self.replicas = replicas
        for name in replicas:
            self.addresses.setdefault(name, f"10.0.{net}.{len(self.addresses) + 1}")
        return {"replicas": dict(replicas), "addresses": {name: self.addresses[name] for name in replicas}}

    def view(self, t: int, host: str, group: tuple[str, ...], tag: object = "") -> None:
        self.add(
            View(
                t=t,
                host=host,
                peer=digest(host),
                topology=digest("topology", tuple(sorted(group)), tag),
                ring=digest("ring", len(group)),
                dns=digest("dns", tuple(sorted(group)), tuple(sorted(self.replicas)), tag),
                endpoints=digest("endpoints", group),
                reachable=len(group),
                neighbours=tuple(sorted(other for other in group if other != host)),
                ring_share=1 / len(self.hosts),
            )
        )

    def sample(self, t: int, probe: str, source: str, target: str, ok: bool, **more: Any) -> None:
        timeout = more.pop("timeout", S)
        latency = None
        if ok:
            base = {"http": 2.2, "icmp": 0.35, "dns": 0.9}[probe]
            latency = int(base * MS * self.random.lognormvariate(0, 0.35))
        sample = Sample(
            t=t,
            probe=probe,
            source=source,
            target=target,
            ok=ok,
            latency=latency,
            error=more.pop("error", "" if ok else "timeout"),
            late=int(self.random.uniform(0.05, 1.2) * MS),
            **more,
        )
        self.add(sample, at=t + (latency if latency is not None else timeout))

    def finish(self) -> list[AnyRecord]:
        end = max(at for at, _, _ in self._records)
        for t in range(S, end, S):
            cpu = min(1.0, max(0.0, self.random.gauss(0.35, 0.08)))
            self.add(Load(t=t, cpu=round(cpu, 3), loadavg=round(cpu * 2.2, 2)))
        return [record for _, _, record in sorted(self._records, key=lambda entry: entry[:2])]


def partition(seed: int = 1, *, healed: bool = True, cut: int = 10 * S) -> list[AnyRecord]:
    """Two hosts, three services and a name; cut at 15 s for `cut`; back some 0.2 s after the heal."""
    story = Story(seed=seed)
    services = {"svc1": ORION, "svc2": ORION, "svc3": MACBOOK}
    both = (ORION, MACBOOK)
    story.took(0, 400 * MS, "up", label="up 2 hosts")
    story.took(500 * MS, 1300 * MS, "launch", label="launch all", hosts=list(both), groups=(both,))
    story.view(1200 * MS, ORION, (ORION,))
    story.view(1290 * MS, MACBOOK, (MACBOOK,))
    story.took(1400 * MS, 1500 * MS, "connect", label="connect all")
    story.view(1530 * MS, ORION, both)
    story.view(1560 * MS, MACBOOK, both)
    story.event(1700 * MS, "run", "start", label="run all")
    story.event(2300 * MS, "run", "end", step=story.step, ok=True, **story.place(services))
    for n, host in enumerate(both):
        story.view((2310 + 20 * n) * MS, host, both)
    story.event(
        2400 * MS, "expect", "start", label="expect", expect="reachable: all to all", within=10 * S, step=(e := 99)
    )
    story.event(2900 * MS, "expect", "end", step=e, ok=True, took=500 * MS)
    cut_at, heal_at = 15 * S, 15 * S + cut
    fault = story.event(
        cut_at, "partition", "start", label="partition orion.local | macbook.local", groups=((ORION,), (MACBOOK,))
    )
    for n, host in enumerate(both):
        story.view(cut_at + (900 + 240 * n) * MS, host, (host,))
    story.event(cut_at, "expect", "start", step=100, label="expect", expect="unreachable: svc1 to svc3", within=2 * S)
    story.event(cut_at + 1200 * MS, "expect", "end", step=100, ok=True, took=1200 * MS)
    end = 32 * S
    if healed:
        story.event(heal_at, "partition", "end", step=fault, groups=(both,), label="heal")
        for n, host in enumerate(both):
            story.view(heal_at + (60 + 30 * n) * MS, host, both, "again")
        story.event(heal_at, "expect", "start", step=101, label="expect", expect="converged: all", within=5 * S)
        story.event(heal_at + 300 * MS, "expect", "end", step=101, ok=True, took=300 * MS)
    pairs = [(a, b) for a in services for b in services if a != b]
    for n, (source, target) in enumerate(pairs):
        for probe, phase in (("http", 7 * n), ("icmp", 7 * n + 90)):
            for t in range(2450 * MS + phase * MS, end, 200 * MS):
                apart = services[source] != services[target]
                blocked = apart and cut_at <= t < (heal_at + 20 * MS if healed else end)
                story.sample(t, probe, source, target, not blocked)
    for n, source in enumerate(services):
        for t in range(2500 * MS + 31 * n * MS, end, 500 * MS):
            blocked = services[source] != ORION and cut_at + S <= t < (heal_at + 90 * MS if healed else end)
            stale = services[source] != ORION and cut_at <= t < cut_at + S
            answers = () if blocked else (story.addresses["svc1"],)
            story.sample(
                t,
                "dns",
                source,
                "svc1.weave.local",
                bool(answers),
                answers=answers,
                error="NXDOMAIN" if blocked else "",
                timeout=2 * MS,
            )
            assert stale or answers or blocked
    if healed:
        story.event(end + 200 * MS, "down", label="down")
    return story.finish()


def scale(seed: int = 1) -> list[AnyRecord]:
    """A service scaled from 1 to 6 over two hosts and back to 1, found by DNS."""
    both = (ORION, MACBOOK)
    story = Story(
        seed=seed,
        name="scale",
        question="How soon does a name answer with every replica, and how long with the dead ones?",
        probes=({"kind": "dns", "name": "files.weave.local", "every": 200 * MS, "timeout": S},),
    )
    story.took(0, 300 * MS, "launch", label="launch all", groups=(both,))
    story.took(350 * MS, 400 * MS, "connect", label="connect all")
    for host in both:
        story.view(500 * MS, host, both)
    small = {"files-1": ORION, "client": MACBOOK}
    large = {f"files-{n}": both[n % 2 - 1] for n in range(1, 7)} | {"client": MACBOOK}
    first = story.place(small)
    story.took(600 * MS, 900 * MS, "run", label="run all", **first)
    second = story.place(large)
    story.took(5 * S, 7 * S, "scale", label="scale files to 6", **second)
    story.took(12 * S, 12500 * MS, "scale", label="scale files to 1", **first)
    for t in range(S, 20 * S, 200 * MS):
        count = 1 if t < 5 * S else min(6, 1 + (t - 5 * S) // (400 * MS)) if t < 12600 * MS else 1
        answers = tuple(sorted(story.addresses[f"files-{n}"] for n in range(1, count + 1)))
        story.sample(t, "dns", "client", "files.weave.local", True, answers=answers)
    story.event(20 * S, "down", label="down")
    return story.finish()


def crash(seed: int = 1) -> list[AnyRecord]:
    """Five hosts of a ring of services; one host dies and comes back; the last expectation fails."""
    hosts = tuple(f"host{n}" for n in range(1, 6))
    services = {f"svc{n}": f"host{n}" for n in range(1, 6)}
    story = Story(
        hosts,
        services,
        seed=seed,
        name="crash",
        question="Does the rest go on when a host dies, and does it come back?",
    )
    story.took(0, 900 * MS, "launch", label="launch all", groups=(hosts,))
    story.took(S, 1100 * MS, "connect", label="connect all")
    for n, host in enumerate(hosts):
        story.view((1200 + 15 * n) * MS, host, hosts)
    story.took(1300 * MS, 1800 * MS, "run", label="run all", **story.place(services))
    rest = hosts[:-1]
    fault = story.event(
        8 * S,
        "kill",
        "start",
        label="kill host5",
        hosts=["host5"],
        groups=(rest,),
        **story.place({k: v for k, v in services.items() if v != "host5"}),
    )
    story.add(PeerGone(t=8 * S + 2 * MS, host="host5"))
    for n, host in enumerate(rest):
        story.view(9 * S + 40 * n * MS, host, rest)
    story.event(
        14 * S, "kill", "end", step=fault, label="kill host5", hosts=["host5"], groups=(hosts,), **story.place(services)
    )
    for n, host in enumerate(hosts):
        story.view(14 * S + (300 + 12 * n) * MS, host, hosts, "back")
    story.event(14 * S, "expect", "start", step=50, label="expect", expect="reachable: all to all", within=S)
    last = [{"probe": "http", "source": "svc2", "target": "svc5", "ok": False, "error": "refused", "t": 15 * S}]
    story.event(
        15 * S, "expect", "end", step=50, ok=False, samples=last, error="svc2 → svc5: refused for 1.0 s", took=S
    )
    for n, (source, target) in enumerate((a, b) for a in services for b in services if a != b):
        for t in range(2 * S + 9 * n * MS, 20 * S, 200 * MS):
            if source == "svc5" and 8 * S <= t < 14 * S + 200 * MS:
                continue
            dead = target == "svc5" and 8 * S <= t < 14 * S + 1400 * MS
            story.sample(t, "http", source, target, not dead, error="refused" if dead and t > 14 * S else None or "")
    story.event(20 * S, "down", label="down")
    return story.finish()

"""`pause`: SIGSTOP of the overlay's daemon, of a whole host, or of the containers of a service; SIGCONT at its end.

A stopped process is there and does nothing: the kernel answers pings and takes connections for it, and forwards its
packets. So nothing is demanded of what is paused, neither that it answers nor that it does not. A kill ends what it
hits, paused or not, and what is started after that is not paused.
"""

from collections.abc import Iterator, Sequence
from signal import SIGCONT, SIGSTOP

from lab.contracts.fault import Bench, Fault, Mark
from lab.errors import LabError
from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import Chance, Drawn, Planning, Verb, Where
from lab.records.history import PeerGone
from lab.scenario.base import Problem
from lab.scenario.check import Known
from lab.scenario.resolve import Replica
from lab.verbs.kill import Victim, check_victim

Stopped = tuple[str, str, str]
"""What has no turns: kind (host, daemon, container), name, and the host on which it is."""


class PauseFault(Fault):
    """One victim without turns. Several may hold one thing: it goes on when the last of them ends."""

    what = "pause"
    frees = True
    mark = Mark("paused", "#6b7a8f")

    def __init__(self, body: Victim) -> None:
        self._kind = next(kind for kind in ("daemon", "host", "service") if getattr(body, kind) is not None)
        self._name: str = getattr(body, self._kind)
        self.victim = (f"paused {self._kind}", self._name)
        self.hosts = () if self._kind == "service" else (self._name,)
        self.label = f"pause daemon of {self._name}" if self._kind == "daemon" else f"pause {self._kind} {self._name}"
        self._stopped: list[Stopped] = []

    def works_on(self, bench: Bench) -> Sequence[str]:
        """See `Fault`."""
        return self.hosts or [replica.host for replica in bench.live.placed.values() if self._hits(replica)]

    async def inject(self, bench: Bench, step: int) -> None:
        """Stop it; on a host all that is on it is held too."""
        live = bench.live
        for host in self.hosts:
            if host in live.hosts_down:
                raise LabError(f"host {host} is switched off")
            if self._kind == "daemon" and host not in live.daemons and not live.may_return(host):
                raise LabError(f"no overlay daemon runs on {host}")
        replicas = [replica for replica in live.running.values() if self._hits(replica)]
        if self._kind == "service" and not replicas:
            raise LabError(f"no container of {self._name} runs")
        self._stopped = [
            *(("host", host, host) for host in self.hosts if self._kind == "host"),
            *(("daemon", host, host) for host in self.hosts if host in live.daemons or live.may_return(host)),
            *(("container", replica.name, replica.host) for replica in replicas),
        ]
        for host in self.hosts:
            if host in live.daemons:
                # From here on its silence is nothing to wonder about, and its view is not what others should believe.
                bench.record(PeerGone(t=bench.lab.now(), host=host, asked=True))
        covered = {host for _, _, host in self._stopped if bench.upkeep.is_held(("turns of host", host))}
        for one in self._stopped:
            bench.upkeep.hold(_turns(one), step)
        for one in self._stopped:
            if one[0] == "container":
                live.stopped[one[1]] = None
            if one[2] not in covered and (self._kind != "host" or one[0] == "host"):
                await _signal(bench, SIGSTOP, one)

    async def heal(self, bench: Bench, step: int) -> None:
        """Let it go on, but for what another pause holds."""
        live, upkeep = bench.live, bench.upkeep
        for one in self._stopped:
            upkeep.let_go(_turns(one), step)
        for one in self._stopped:
            kind, name, host = one
            held = upkeep.is_held(_turns(one))
            with_host = self._kind == "host" and kind != "host"
            turns = kind == "host" or not upkeep.is_held(("turns of host", host))
            if host not in live.hosts_down and turns and (held or not with_host):
                # All of a host goes on with it, so what is held by itself is stopped again.
                await _signal(bench, SIGSTOP if held else SIGCONT, one)
            if kind == "daemon" and not held and live.may_return(host):
                live.daemon_runs(host)
            elif kind == "container" and not held:
                live.stopped.pop(name, None)

    def _hits(self, replica: Replica) -> bool:
        return self._name in ((replica.host,) if self._kind == "host" else (replica.service, replica.name))


def _turns(one: Stopped) -> tuple[str, str]:
    return f"turns of {one[0]}", one[1]


async def _signal(bench: Bench, number: int, one: Stopped) -> None:
    kind, name, host = one
    container = name if kind == "container" else ""
    if not hasattr(bench.lab.hosts[host], "signal"):
        raise LabError("processes on hosts of this backend cannot be paused")
    await bench.lab.hosts[host].signal(number, container=container, daemon=kind == "daemon")


class _Pause(Verb[Victim]):
    name = "pause"
    model = Victim
    form = "`pause: {daemon: a}`, `{host: a}`, `{service: s}`"
    about = (
        "SIGSTOP to the overlay's daemon (also `pause: a`), to all processes of a host, or to containers; with `for` "
        "they continue by themselves. The kernel is not paused: it forwards and answers pings. Whether a paused "
        "container or peer answers is not judged"
    )
    takes_for = "lasts"
    needs = ("signals",)
    changes = "both"
    moves = True
    removes = True
    launches = "again"
    odds = 3

    def check(self, where: Where, body: Victim, known: Known) -> Iterator[Problem]:
        yield from check_victim(self.name, where, body, known)
        kind = OVERLAYS.get(known.scenario.overlay.kind)
        if body.daemon is not None and kind.has_daemons and not kind.has_views:
            yield Problem(where, f"a daemon to pause on overlay {kind.name}", "a host or a service")

    def plan(self, body: Victim, planning: Planning) -> Fault:
        return PauseFault(body)

    def draw(self, chance: Chance) -> Drawn | None:
        rng = chance.rng
        kind = rng.choice(("daemon", "host", "service"))
        if kind != "service":
            return Drawn({kind: rng.choice(chance.hosts)})
        return Drawn({"service": rng.choice(list(chance.services))}) if chance.services else None


KIND = _Pause()

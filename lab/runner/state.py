"""The current state of a run, updated record by record: containers, daemons, partitions, the latest samples.

Owns the live state that steps and expectations read. No I/O: records come in through `feed`, other facts through the
methods that faults and steps call. `lab.checkers.convergence` defines agreement.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from lab.checkers.convergence import ConvergenceTracker
from lab.cuts import Groups, groups_of, union
from lab.records.history import AnyRecord, PeerGone, Sample, View
from lab.scenario.base import ALL
from lab.scenario.resolve import Replica, Resolved

_SHOWN = 4

Series = tuple[str, str, str]
"""(probe, source, target)."""


class LiveState:
    """The current state of a run."""

    def __init__(self, scenario: Resolved) -> None:
        self.scenario = scenario
        self.tracker = ConvergenceTracker()
        self.placed: dict[str, Replica] = {}
        """Containers that were started and not removed, dead or alive, by name."""
        self.running: dict[str, Replica] = {}
        """Containers that should be alive."""
        self.stopped: dict[str, None] = {}
        """Running containers whose processes received SIGSTOP: they cannot be expected to answer."""
        self.daemons: dict[str, None] = {}
        """Hosts whose daemon should be alive."""
        self._asked: dict[str, None] = {}
        """Hosts whose daemon a command of the scenario's author stopped; a later command may start it again."""
        self.hosts_down: dict[str, None] = {}
        self.cuts: dict[int, frozenset[tuple[str, str]]] = {}
        self.addresses: dict[int, tuple[str, str, str]] = {}
        """Step -> (host, network, address), for faults in force that changed a host's address."""
        self.latest: dict[Series, Sample] = {}
        """Series -> the sample with the latest due time."""
        self.recent: dict[Series, deque[Sample]] = {}
        """Series -> the last few samples in order of arrival, for display."""
        self.crashed: PeerGone | None = None
        """The first daemon that stopped without a request."""

    def feed(self, record: AnyRecord) -> None:
        """Take the next record of the history."""
        self.tracker.feed(record)
        if isinstance(record, Sample):
            if record.error == "late":
                return  # an error of the prober, which says nothing about the network
            key = (record.probe, record.source, record.target)
            self.recent.setdefault(key, deque(maxlen=_SHOWN)).append(record)
            if key not in self.latest or self.latest[key].t <= record.t:
                self.latest[key] = record
        elif isinstance(record, PeerGone) and record.host in self.daemons:
            if record.asked:
                self.daemon_stops(record.host)
                self._asked[record.host] = None
            elif self.crashed is None:
                self.crashed = record
        elif isinstance(record, View) and record.host in self._asked:
            self.daemon_runs(record.host)

    def groups(self) -> Groups:
        """Live hosts that can reach each other now."""
        alive = [name for name in self.scenario.hosts if name not in self.hosts_down]
        return groups_of(alive, union(self.cuts))

    def chosen(self, names: Sequence[str], *, alive: bool) -> list[Replica]:
        """Replicas for names of services or replicas. `all` selects those that run; a name does too if `alive`."""
        pool: Mapping[str, Replica] = self.running if alive or tuple(names) == (ALL,) else self.placed
        if tuple(names) == (ALL,):
            return list(pool.values())
        return [replica for replica in pool.values() if replica.service in names or replica.name in names]

    def fresh(self, key: Series, since: int) -> Sample | None:
        """The latest sample of a series, if it was due at `since` or later."""
        sample = self.latest.get(key)
        return sample if sample is not None and sample.t >= since else None

    # Reported by steps and faults

    def daemon_stops(self, host: str) -> None:
        """From now on the host's daemon is not expected to run."""
        self.daemons.pop(host, None)
        self._asked.pop(host, None)

    def crash_survived(self) -> None:
        """The run continues without the crashed daemon, which may be started again."""
        if self.crashed is not None:
            host, self.crashed = self.crashed.host, None
            self.daemon_stops(host)
            self._asked[host] = None

    def may_return(self, host: str) -> bool:
        """Whether a command or a fault stopped the host's daemon, so that it may start again."""
        return host in self._asked

    def daemon_runs(self, host: str) -> None:
        """The host's daemon has started."""
        self._asked.pop(host, None)
        self.daemons[host] = None

    def host_stops(self, host: str) -> None:
        """The host is being switched off, its containers with it."""
        self.daemon_stops(host)
        self.hosts_down[host] = None
        for name in [name for name, replica in self.running.items() if replica.host == host]:
            self.container_stops(name)

    def host_runs(self, host: str) -> None:
        """The host is on again; none of its containers runs yet."""
        self.hosts_down.pop(host, None)

    def container_runs(self, name: str) -> None:
        """A placed container has started."""
        self.running[name] = self.placed[name]

    def container_stops(self, name: str) -> None:
        """The container is being killed."""
        self.running.pop(name, None)
        self.stopped.pop(name, None)

    def awake(self) -> Mapping[str, Replica]:
        """Containers that should be alive and are not paused."""
        return {name: replica for name, replica in self.running.items() if name not in self.stopped}

    def container_placed(self, replica: Replica) -> None:
        """A container was started for the first time."""
        self.placed[replica.name] = self.running[replica.name] = replica

    def container_removed(self, name: str) -> None:
        """The container is gone for good."""
        self.container_stops(name)
        self.placed.pop(name, None)

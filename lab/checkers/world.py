"""What should be true at a moment of a run: which hosts and containers run, which containers can reach each other,
which probe should succeed. Pure.

`ExpectedState` follows the events of a history and answers for the current moment; it judges nothing. Groups of hosts
come from the events themselves, services from their `replicas` detail (see `lab.records.history.Event`).
"""

from typing import Any

from lab.checkers.losses import ExpectedLoss
from lab.kinds.overlays import DEFAULT, OVERLAYS
from lab.kinds.probes import asks_name, port_of, protocol_of, says_reach
from lab.kinds.verbs import verb_of
from lab.records.history import AnyRecord, Event, Meta, PeerGone, Sample, View
from lab.scenario.names import domain_of, full_name
from lab.scenario.policies import Hearsay, judged
from overlay.policy.directory import Member

__all__ = ["HEAL", "ExpectedState", "SeriesKey", "heals", "is_change", "label_of", "name_of", "series_of"]

SeriesKey = tuple[str, str, str]
"""(probe, source replica, target): samples with the same key form one series."""

JOIN = "join"
"""The event of a host whose peer is back while a fault goes on."""
HEAL = "heal"
"""Name of the end of a partition, in labels and among the events of a sweep."""


def is_change(event: Event) -> bool:
    """Whether the expected state changes with this event."""
    changes = verb_of(event.what).changes
    if not changes or event.ok is False:
        return False
    return event.phase != "start" or changes == "both"


def heals(event: Event) -> bool:
    """Whether it connects hosts that were partitioned."""
    verb = verb_of(event.what)
    return verb.heals and (not verb.lasts or event.phase == "end")


def label_of(event: Event) -> str:
    """An event in a few words; the end of a fault reads as its healing."""
    label = str(event.detail.get("label") or event.what)
    verb = verb_of(event.what)
    if event.phase != "end" or not verb.lasts:
        return label
    return HEAL if verb.heals else f"end of {label}"


def series_of(sample: Sample) -> SeriesKey:
    """The key of a sample's series."""
    return (sample.probe, sample.source, sample.target)


def name_of(series: SeriesKey) -> str:
    """The name of a series in a report: `http svc1 → svc3`."""
    return f"{series[0]} {series[1]} → {series[2]}"


class ExpectedState:
    """The expected state at the current moment, advanced by `feed`."""

    def __init__(self) -> None:
        self.kind = DEFAULT
        """The overlay's kind."""
        self._has_views = True
        self.hosts: tuple[str, ...] = ()
        self.groups: tuple[tuple[str, ...], ...] = ()
        """Hosts that can reach each other; a host in none of them is down."""
        self.replicas: dict[str, str] = {}
        """Running service replica -> host."""
        self.addresses: dict[str, str] = {}
        """Running service replica -> overlay address, where known."""
        self.removed: set[str] = set()
        """Replicas that were removed; other replicas that do not run are dead, and should not answer."""
        self.views: dict[str, View] = {}
        """Host -> the view of its peer."""
        self.gone: set[str] = set()
        """Hosts whose peer stopped and has not been seen or started since."""
        self.launched: set[str] = set()
        """Hosts whose peer was launched, including those whose peer is gone."""
        self.churning: dict[int, str] = {}
        """Step -> verb, for faults in force that keep changing things until they end."""
        self._losses = ExpectedLoss()
        self._policies = Hearsay()
        self._closed = False
        self._services: dict[str, Any] = {}
        self._domain = domain_of({})
        self._named: dict[str, list[str]] = {}
        """DNS name -> services with that name."""
        self._plans: list[dict[str, Any]] = [{}]
        self._group_of: dict[str, int] = {}

    @property
    def has_views(self) -> bool:
        """Whether this overlay has peers that report views."""
        return self._has_views or (self.kind not in OVERLAYS and bool(self.views or self.gone))

    def feed(self, record: AnyRecord) -> None:
        """Take one record, in the order of the history."""
        if isinstance(record, Event):
            self._event(record)
        elif isinstance(record, View):
            self.views[record.host] = record
            self.gone.discard(record.host)
            self.launched.add(record.host)
        elif isinstance(record, PeerGone):
            self.views.pop(record.host, None)
            self.gone.add(record.host)
        elif isinstance(record, Meta):
            self._meta(record)
        if self._policies and not isinstance(record, Sample):
            self._policies.talked([self.members(group) for group in self.groups])

    def members(self, group: tuple[str, ...]) -> list[str]:
        """Hosts of a group that should have a running peer, in the group's order."""
        return [host for host in group if host in self.launched and host not in self.gone]

    def owners(self, name: str) -> list[str]:
        """Running replicas with a DNS name: `files.weave.local` -> files, files-1, files-2 …"""
        if name not in self._named:
            full = full_name(name, self._domain).lower()
            known = self._services or {self._service_of(replica): {} for replica in self.replicas}
            said = {service: str(spec.get("hostname") or service) for service, spec in known.items()}
            self._named[name] = [
                service for service, own in said.items() if full_name(own, self._domain).lower() == full
            ]
        return sorted(replica for replica in self.replicas if self._service_of(replica) in self._named[name])

    def _service_of(self, replica: str) -> str:
        service, _, number = replica.rpartition("-")
        return service if replica not in self._services and service and number.isdecimal() else replica

    def should(self, series: SeriesKey) -> bool | None:
        """Whether a try of this series should succeed now; None if unknown.

        Unknown if the probing container does not run, if the target was removed, and, between hosts, while the peer of
        one of them is down, because its data path may stay in the kernel for a while.
        """
        probe, source, target = series
        here = self.replicas.get(source)
        if here is None or here not in self._group_of:
            return None
        if asks_name(probe):
            if self._down(here):
                return None
            return any(self._told(here, owner) for owner in self.owners(target))
        if not says_reach(probe):
            return None
        there = self.replicas.get(target)
        if there is None:
            return None if target in self.removed else False
        if here != there and (self._down(here) or self._down(there)) and there in self._group_of:
            return None
        return self._joined(here, there) and self._permitted(probe, source, target)

    def _permitted(self, probe: str, source: str, target: str) -> bool:
        """Whether policies let a probe pass, according to what the hosts of both ends know of them."""
        if not self._policies and not self._closed:
            return True
        ends = self._member(source), self._member(target)
        service = self._services.get(self._service_of(target)) or {}
        protocol = protocol_of(probe)
        port = 0 if protocol == "icmp" else self._own_port(probe) or int(service.get("port") or 80)
        for member in ends:
            verdict = judged(protocol, port, *ends, self._policies.policies(member.nickname))
            if not (not self._closed if verdict is None else verdict):
                return False
        return True

    def _own_port(self, probe: str) -> int:
        plan = next((plan for plan in self._plans if plan.get("kind") == probe), {})
        return port_of(probe, plan.get("options") or {})

    def _member(self, replica: str) -> Member:
        """A container in the form that policies use."""
        service = self._service_of(replica)
        spec = self._services.get(service) or {}
        names = tuple(dict.fromkeys((replica, str(spec.get("hostname") or service).partition(f".{self._domain}")[0])))
        labels = tuple((str(key), str(value)) for key, value in (spec.get("labels") or {}).items())
        address = self.addresses.get(replica, "").partition("/")[0]
        return Member("", self.replicas[replica], replica, names, labels, (address,) if address else ())

    def denies(self, series: SeriesKey) -> bool:
        """Whether policies keep these two containers apart although their hosts can reach each other."""
        probe, source, target = series
        here, there = self.replicas.get(source), self.replicas.get(target)
        if here is None or there is None or asks_name(probe) or self._permitted(probe, source, target):
            return False
        return self._joined(here, there)

    def row(self, series: SeriesKey) -> int | None:
        """How many failed tries in a row are wrong; see `ExpectedLoss.row`."""
        probe, source, target = series
        here, there = self.replicas.get(source), self.replicas.get(target)
        # A name is resolved on the container's own host.
        return 1 if here is None or there is None else self._losses.row(probe, here, there)

    def demands(self, series: SeriesKey) -> bool | None:
        """Like `should`, but also None if the series is not probed continuously, so that another try may never come:
        its target does not run, or no plan of the scenario contains it (an expectation resolves a name by itself)."""
        probe, _, target = series
        if not asks_name(probe) and target not in self.replicas:
            return None
        return self.should(series) if any(_plans(plan, series) for plan in self._plans) else None

    def should_answer(self, source: str, name: str) -> tuple[str, ...] | None:
        """The addresses that a name should resolve to from a replica, sorted; None when they are not known."""
        here = self.replicas.get(source)
        if here is None:
            return None
        owners = [owner for owner in self.owners(name) if self._told(here, owner)]
        if any(owner not in self.addresses for owner in owners):
            return None
        return tuple(sorted(self.addresses[owner] for owner in owners))

    def good(self, sample: Sample) -> bool | None:
        """Whether a sample has the expected result now; None if unknown."""
        if sample.error == "late":
            return None
        should = self.should(series_of(sample))
        if should is None:
            return None
        if should and asks_name(sample.probe) and sample.ok:
            answer = self.should_answer(sample.source, sample.target)
            return answer is None or sample.answers == answer
        return sample.ok == should

    def _joined(self, one: str, other: str) -> bool:
        group = self._group_of.get(one)
        return group is not None and group == self._group_of.get(other)

    def _told(self, here: str, owner: str) -> bool:
        """Whether the peer of `here` should know a replica's name: a peer that is gone withdraws its names."""
        there = self.replicas[owner]
        return self._joined(here, there) and not self._down(there)

    def _down(self, host: str) -> bool:
        return self.has_views and host in self.gone

    def _meta(self, meta: Meta) -> None:
        scenario = meta.scenario
        overlay = scenario.get("overlay") or {}
        self.kind = str(overlay.get("kind", DEFAULT) if isinstance(overlay, dict) else overlay)
        self._has_views = self.kind in OVERLAYS and OVERLAYS.get(self.kind).has_views
        self.hosts = tuple((scenario.get("underlay") or {}).get("hosts") or ())
        plans = scenario.get("probes")
        self._plans = [{}] if plans is None else [plan for plan in plans if isinstance(plan, dict)]
        self._services = dict(scenario.get("services") or {})
        options = overlay.get("options") if isinstance(overlay, dict) else None
        self._domain = domain_of(options or {})
        self._closed = str((options or {}).get("default-deny", "")).lower() == "true"
        self._named.clear()
        self._losses.meta(scenario)
        self._regroup((self.hosts,))

    def _event(self, event: Event) -> None:
        if event.groups:
            self._regroup(event.groups)
        detail, verb = event.detail, verb_of(event.what)
        self._losses.event(event)
        if isinstance(detail.get("replicas"), dict):
            before = self.replicas
            self.replicas = {str(replica): str(host) for replica, host in detail["replicas"].items()}
            if verb.removes or detail.get("unjudged"):
                self.removed.update(before)
            self.removed.difference_update(self.replicas)
            self.addresses = {str(name): str(where) for name, where in (detail.get("addresses") or {}).items()}
        if event.ok and "policy" in detail:
            self._policies.typed(str(detail["host"]), str(detail["policy"]), removed=bool(detail["removed"]))
        elif verb.forgets and event.ok and self._policies:
            for host in self._hosts_of(event):
                self._policies.forgotten(host)
        if verb.lasts and verb.restless:
            if event.phase == "start":
                self.churning[event.step] = event.what
            else:
                self.churning.pop(event.step, None)
        # The start of a step does not yet name the hosts that it affects.
        restarted = verb.launches and event.phase != "start"
        if (restarted or event.what == JOIN) and event.ok is not False:
            for host in self._hosts_of(event):
                if verb.launches == "first" or host in self.gone:
                    self.launched.add(host)
                    self.gone.discard(host)

    def _hosts_of(self, event: Event) -> tuple[str, ...]:
        hosts = event.detail.get("hosts")
        return tuple(str(host) for host in hosts) if isinstance(hosts, list | tuple) else self.hosts

    def _regroup(self, groups: tuple[tuple[str, ...], ...]) -> None:
        self.groups = groups
        self._group_of = {host: index for index, group in enumerate(groups) for host in group}


def _plans(plan: dict[str, Any], series: SeriesKey) -> bool:
    """Whether a plan of the resolved scenario contains this series; a missing key of a plan restricts nothing."""
    probe, source, target = series
    if plan.get("kind", probe) != probe or not _names(plan.get("sources"), source):
        return False
    if asks_name(probe):
        return bool(plan.get("name", target) == target)
    return _names(plan.get("targets"), target)


def _names(names: Any, replica: str) -> bool:
    """Whether one of these names of services or replicas selects this replica."""
    if not isinstance(names, list | tuple):
        return True
    service, _, number = replica.rpartition("-")
    return replica in names or (number.isdecimal() and service in names)

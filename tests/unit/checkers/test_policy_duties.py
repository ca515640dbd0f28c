"""What should be true of probes once policies are set: by name, label, host and port, as far as each half has heard."""

from typing import Any

from lab.checkers.run import RecordedRun
from lab.checkers.world import ExpectedState
from lab.records.history import Event, Meta, Sample

HOSTS = ("a", "b", "c")
SCENARIO: dict[str, Any] = {
    "underlay": {"hosts": {name: {} for name in HOSTS}},
    "overlay": {"kind": "weave", "options": {}},
    "services": {
        "web": {"host": "a", "port": 8080, "labels": {"role": "front"}, "hostname": "shop.weave.local"},
        "db": {"host": "b", "port": 80},
        "guest": {"host": "c", "port": 8080},
    },
}


def event(what: str, groups: Any = (), **detail: Any) -> Event:
    return Event(t=0, step=0, what=what, phase="end", ok=True, groups=groups, detail=detail)


def world(**options: Any) -> ExpectedState:
    made = ExpectedState()
    scenario = {**SCENARIO, "overlay": {"kind": "weave", "options": options}}
    made.feed(Meta(t=0, scenario=scenario, backend="sim", seed=1, version="1", started="", machine={}))
    made.feed(event("launch", (HOSTS,), hosts=list(HOSTS)))
    addresses = {"web": "10.32.0.1/12", "db": "10.32.0.2/12", "guest": "10.40.0.3/12"}
    made.feed(event("run", replicas={"web": "a", "db": "b", "guest": "c"}, addresses=addresses))
    return made


def typed(made: ExpectedState, host: str, text: str, *, removed: bool = False) -> None:
    made.feed(event("policy", host=host, policy=text, removed=removed))


def may(made: ExpectedState, source: str, target: str, probe: str = "http") -> bool | None:
    return made.should((probe, source, target))


def test_probes_are_to_fail_where_policies_say_so() -> None:
    made = world()
    assert may(made, "guest", "db") is True
    typed(made, "c", "deny from all to db")
    typed(made, "a", "allow from role=front to db:80/tcp")
    assert (may(made, "guest", "db"), may(made, "web", "db")) == (False, True)
    assert may(made, "web", "db", "icmp") is False, "which is no port of TCP"
    typed(made, "b", "deny from 10.40.0.0/16 to shop")
    typed(made, "b", "deny from peer:b to guest")
    assert (may(made, "guest", "web"), may(made, "db", "guest"), may(made, "web", "guest")) == (False, False, True)
    typed(made, "a", "deny from all to db", removed=True)
    assert may(made, "guest", "db") is True


def test_what_a_policy_denies_is_no_outage() -> None:
    """A run in which db is denied from the second to the fifth second, and cut off from the seventh to the eighth."""
    records: list[Any] = [Meta(t=0, scenario=SCENARIO, backend="sim", seed=1, version="1", started="")]
    S = 1_000_000_000

    def said(t: int, what: str, groups: Any = (), phase: Any = "end", **detail: Any) -> None:
        records.append(Event(t=t * S, step=len(records), what=what, phase=phase, ok=True, groups=groups, detail=detail))

    said(0, "launch", (HOSTS,), hosts=list(HOSTS))
    said(0, "run", replicas={"guest": "c", "db": "b"})
    said(2, "policy", host="c", policy="deny from all to db", removed=False)
    said(5, "policy", host="c", policy="deny from all to db", removed=True)
    said(7, "partition", (("a", "b"), ("c",)), "start")
    said(8, "heal", (HOSTS,))
    for tenth in range(1, 100):
        ok = not (20 <= tenth < 50 or 70 <= tenth < 80)
        sample = Sample(t=tenth * S // 10, probe="http", source="guest", target="db", ok=ok, latency=S // 100)
        records.append(sample)
    run = RecordedRun(sorted(records, key=lambda record: record.t))
    assert not run.epochs[0].denied and any(("http", "guest", "db") in epoch.denied for epoch in run.epochs)
    (outages,) = run.outages.values()
    assert [outage.start // S for outage in outages] == [7]


def test_each_half_goes_by_what_it_has_heard_until_they_meet() -> None:
    made = world()
    made.feed(event("partition", (("a",), ("b", "c"))))
    typed(made, "a", "deny from guest to db")
    assert may(made, "guest", "db") is True
    made.feed(event("heal", (HOSTS,)))
    assert may(made, "guest", "db") is False
    made.feed(event("partition", (("a", "b"), ("c",))))
    typed(made, "a", "deny from guest to db", removed=True)
    made.feed(event("partition", (("a",), ("b", "c"))))
    assert may(made, "guest", "db") is True, "b has told c"


def test_a_closed_network_passes_what_is_allowed() -> None:
    made = world(**{"default-deny": True})
    assert may(made, "web", "db") is False
    typed(made, "c", "allow from shop to all")
    assert (may(made, "web", "db"), may(made, "db", "web"), may(made, "guest", "db")) == (True, False, False)
    typed(made, "c", "allow from guest to db:443")
    assert may(made, "guest", "db") is False

"""The history of a lab of hosts `a` and `b` with a container each, `x` and `y`, up to when they agree."""

from lab.records.history import AnyRecord, Event, Meta, Sample, View

S = 10**9
META = Meta(
    t=0,
    scenario={
        "underlay": {"hosts": {"a": {}, "b": {}}},
        "overlay": {"kind": "weave", "options": {}},
        "services": {"x": {}, "y": {}},
        "probes": [{"kind": "http", "every": S}],
    },
    backend="sim",
    seed=1,
    version="1",
    started="",
)
RAN = Event(
    t=1, step=1, what="run", phase="end", ok=True, detail={"label": "run all", "replicas": {"x": "a", "y": "b"}}
)
LAUNCHED = Event(t=1, step=0, what="launch", phase="end", ok=True, detail={"label": "launch all"})


def view(host: str, *neighbours: str) -> View:
    return View(
        t=2, host=host, peer=host, topology="1", ring="1", dns="1", endpoints="1", reachable=2, neighbours=neighbours
    )


def sample(t: int, *, ok: bool) -> Sample:
    return Sample(t=t, probe="http", source="x", target="y", ok=ok, latency=3_000_000 if ok else None)


def records() -> tuple[AnyRecord, ...]:
    """What there is once the lab is up."""
    return (META, LAUNCHED, RAN, view("a", "b"), view("b", "a"))


CUT = Event(t=3 * S, step=2, what="partition", phase="start", ok=True, detail={"label": "cut"}, groups=(("a",), ("b",)))
JOINED = Event(t=9 * S, step=2, what="partition", phase="end", ok=True, groups=(("a", "b"),))

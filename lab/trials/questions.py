"""The questions of `lab league`: what happens to containers when the network below an overlay changes.

Owns the questions, their limits and about how long each takes. What is measured in a run is `lab.league.measures`'.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.trials.trial import LeagueQuestion, OverlayFacts, hosts, spread
from lab.trials.usage import REMEMBER, USAGE

__all__ = ["QUESTIONS", "REACHED_WITHIN"]

REACHED_WITHIN = 60
"""Seconds that pairs get to be reached again; longer is only known to be longer."""
_WEB: Mapping[str, Any] = {"image": "ksahnine/dummy-http", "args": ["web"], "publish": ["8080"]}
_REACH: Mapping[str, Any] = {"expect": {"reachable": "all", "within": f"{REACHED_WITHIN}s", "for": "1s"}}
_ROUNDS, _FEW, _LONG = 5, 3, 15.0
"""Repeats that one lab plays, of short questions and of those that take longer than this: starting a lab costs more
than a short repeat, and labs that differ are worth more than the few seconds which long ones would save."""
_RUN: Mapping[str, Any] = {"run": "all"}
_PINGS = ({"kind": "icmp", "every": "50ms", "timeout": "1s"},)
_AFTER_A_FAULT = ("outage", "lost")


def _ready(facts: OverlayFacts) -> Sequence[Mapping[str, Any]]:
    """What comes before the first repeat: all containers run and are reached."""
    return (_RUN, _REACH)


def _steps(*steps: Mapping[str, Any]) -> Any:
    return lambda index: steps


def _broken(fault: Mapping[str, Any], seconds: float) -> Any:
    """A fault that ends by itself after so long; then every pair must be reached."""
    ((verb, body),) = fault.items()
    return _steps({verb: {**body, "for": f"{seconds:g}s"}}, {"wait": f"{seconds:g}s"}, _REACH, {"wait": "500ms"})


def _each(number: int) -> Any:
    """A container on each host."""

    def services(facts: OverlayFacts) -> Mapping[str, Any]:
        if facts.routed:
            return spread(number)(facts)
        return {"web": {**_WEB, "replicas": number}}

    return services


def _asked_by_one(number: int) -> Any:
    """A container on each host, and one more that asks them all: every pair would be number² of them."""
    return lambda facts: {
        "asker": {**_WEB, "host": "host1"} if not facts.routed else _plain(host="host1"),
        **_each(number)(facts),
    }


def _plain(**more: Any) -> Mapping[str, Any]:
    return {"image": "ksahnine/dummy-http", "args": ["web"], **more}


def _cold(number: int, seconds: float) -> LeagueQuestion:
    probe = {**_PINGS[0], "every": "100ms", "from": "asker", "to": "web"}
    reached = {"reachable": {"from": "asker", "to": "web"}, "within": f"{REACHED_WITHIN}s"}
    return LeagueQuestion(
        name=f"cold-{number}",
        asks=f"{number} hosts start at once: how soon after the start does a container reach one on every host?",
        hosts=number,
        services=_asked_by_one(number),
        probes=(probe,),
        steps=lambda facts: [_RUN, {"expect": reached}, {"wait": "500ms"}],
        event="launch",
        measures=("first",),
        seconds=seconds,
    )


def _cut(seconds: int) -> LeagueQuestion:
    return LeagueQuestion(
        name=f"cut-{seconds}",
        asks=f"One host of three is cut off for {seconds} s: how long after the heal are containers apart?",
        hosts=3,
        services=_each(3),
        probes=_PINGS,
        steps=_ready,
        once=_broken({"partition": {"groups": [["host1"], ["host2", "host3"]]}}, seconds),
        event="partition",
        since="end",
        measures=_AFTER_A_FAULT,
        seconds=seconds + 4,
        each=seconds + 2,
        rounds=_ROUNDS if seconds < _LONG else _FEW,
        quiet=True,
    )


def _no_daemon(facts: OverlayFacts) -> str:
    return "" if facts.daemon else "no process of it runs on hosts, so none can be killed"


def _outlives(facts: OverlayFacts) -> str:
    return facts.leaves


def _ports_only(facts: OverlayFacts) -> str:
    return "" if facts.routed else "its containers are reached at published ports only"


def _no_move(facts: OverlayFacts) -> str:
    if not facts.routed:
        return _ports_only(facts)
    if facts.addresses != "chosen":
        return "its containers' addresses cannot be chosen"
    return "" if facts.moves else "an address cannot move to another host, its driver says"


def _used(*hosts_: str) -> list[Mapping[str, Any]]:
    return [{"exec": {"host": host, "command": ["sh", "-c", USAGE]}} for host in hosts_]


def _remember(number: int) -> list[Mapping[str, Any]]:
    return [{"exec": {"host": host, "command": ["sh", "-c", REMEMBER]}} for host in hosts(number)]


_IDLE_HOSTS = 8
# The first host is one that all others reach: some overlays have their one manager, supernode or reflector there.
_TWO_NETWORKS = {
    "networks": {"home": {"subnet": "10.1.0.0/24"}, "wan": {"subnet": "192.168.0.0/24"}},
    "hosts": {"outside1": {"network": "wan"}, "outside2": {"network": "wan"}, "inside": {"network": "home"}},
    "routers": {"gateway": {"networks": ["home", "wan"], "nat": "home"}},
}

QUESTIONS: Sequence[LeagueQuestion] = (
    _cold(2, 3),
    _cold(8, 5),
    _cold(32, 16),
    _cut(5),
    _cut(20),
    _cut(70),
    LeagueQuestion(
        name="one-way",
        asks="One direction between two of three hosts is cut for 20 s: how long are containers apart?",
        hosts=3,
        services=_each(3),
        probes=_PINGS,
        steps=_ready,
        once=_broken({"partition": {"one_way": {"from": "host1", "to": "host2"}}}, 20),
        event="partition",
        measures=_AFTER_A_FAULT,
        seconds=24,
        quiet=True,
    ),
    LeagueQuestion(
        name="lossy",
        asks="Links lose 5 % of packets, delay them by 50 ms and carry 5 Mbit/s for 10 s: what gets through?",
        services=_each(2),
        probes=_PINGS,
        steps=_ready,
        once=_broken({"link": {"loss": "5%", "delay": "50ms", "rate": "5mbit"}}, 10),
        event="link",
        until="event",
        measures=("lost", "rtt"),
        seconds=15,
        each=12,
        rounds=_FEW,
        quiet=True,
    ),
    LeagueQuestion(
        name="flapping",
        asks="The path between two of three hosts is cut for 1.5 s of every 3 s: how long are containers apart?",
        hosts=3,
        services=_each(3),
        probes=_PINGS,
        steps=_ready,
        once=_broken({"flap": {"between": ["host1", "host2"], "every": "3s", "down": "1500ms"}}, 12),
        event="flap",
        measures=_AFTER_A_FAULT,
        seconds=16,
        quiet=True,
    ),
    LeagueQuestion(
        name="killed",
        asks="The overlay's process on one of three hosts is killed and started again 3 s later: how long is it felt?",
        hosts=3,
        services=_each(3),
        probes=_PINGS,
        steps=_ready,
        once=_steps(
            {"kill": {"daemon": "host2"}},
            {"wait": "3s"},
            {"restart": {"daemon": "host2"}},
            _REACH,
            {"wait": "1s"},
            _REACH,
        ),
        event="kill",
        measures=_AFTER_A_FAULT,
        not_for=_no_daemon,
        wrong_for=_outlives,
        seconds=10,
        each=6,
        rounds=_ROUNDS,
        quiet=True,
    ),
    LeagueQuestion(
        name="readdressed",
        asks="One host of three has another address for 15 s: how long are containers apart?",
        underlay={
            "networks": {"lan": {"subnet": "192.168.0.0/24"}},
            "hosts": {f"host{n}": {"network": "lan", "address": f"192.168.0.{n + 1}"} for n in (1, 2, 3)},
        },
        services=_each(3),
        probes=_PINGS,
        steps=_ready,
        once=_broken({"address": {"host": "host2", "to": "192.168.0.77"}}, 15),
        event="address",
        measures=_AFTER_A_FAULT,
        seconds=19,
        each=17,
        rounds=_FEW,
        quiet=True,
    ),
    LeagueQuestion(
        name="nat",
        asks="One host of three is behind a NAT and dials out: how soon after the start is everybody reached?",
        underlay=_TWO_NETWORKS,
        connect=(
            {"connect": {"from": "inside", "to": ["outside1"]}},
            {"connect": {"from": "outside1", "to": ["outside2"]}},
        ),
        services=lambda facts: {
            name: _plain(host=host) for name, host in (("hidden", "inside"), ("one", "outside1"), ("two", "outside2"))
        },
        probes=({**_PINGS[0], "every": "100ms"},),
        steps=lambda facts: [_RUN, _REACH, {"wait": "500ms"}],
        event="launch",
        measures=("first",),
        not_for=_ports_only,
        seconds=4,
    ),
    LeagueQuestion(
        name="mtu",
        asks="Packets above 1200 bytes vanish between hosts for 15 s: how long does bulk TCP not pass?",
        services=_each(2),
        probes=(
            {"kind": "throughput", "every": "500ms", "timeout": "2s", "options": {"size_kb": 64}},
            {"kind": "icmp", "every": "500ms"},
        ),
        steps=_ready,
        once=_broken({"mtu": {"to": 1200}}, 15),
        event="mtu",
        measures=_AFTER_A_FAULT,
        not_for=_ports_only,
        seconds=20,
        each=17,
        rounds=_FEW,
        quiet=True,
    ),
    LeagueQuestion(
        name="scaled",
        asks="A service grows from 2 to 8 containers on 4 hosts: how soon after the order are all reached?",
        hosts=4,
        services=lambda facts: {"asker": _plain(host="host1"), "web": _plain(replicas=2)},
        probes=({**_PINGS[0], "from": "asker", "to": "web"},),
        steps=_ready,
        once=_steps(
            {"scale": {"service": "web", "to": 8}}, _REACH, {"scale": {"service": "web", "to": 2}}, _REACH,
        ),
        event="scale",
        measures=("first",),
        not_for=_ports_only,
        seconds=6,
        each=4,
        rounds=_ROUNDS,
    ),
    LeagueQuestion(
        name="moved",
        asks="A container moves to another host and keeps its address: how soon after the order is it reached?",
        hosts=3,
        services=lambda facts: {
            "asker": _plain(host="host1", address="10.32.1.1/24"),
            "mobile": _plain(host="host2", address="10.32.1.2/24"),
        },
        probes=({**_PINGS[0], "from": "asker", "to": "mobile"},),
        steps=_ready,
        once=lambda index: (
            {"move": {"service": "mobile", "to": "host2" if index % 2 else "host3"}}, _REACH, {"wait": "500ms"},
        ),
        event="move",
        measures=("first", "lost"),
        not_for=_no_move,
        seconds=6,
        each=3,
        rounds=_ROUNDS,
        quiet=True,
    ),
    LeagueQuestion(
        name="idle",
        asks="What do 8 hosts without containers send and use?",
        hosts=_IDLE_HOSTS,
        services=lambda facts: {},
        probes=(),
        before=_remember(_IDLE_HOSTS),
        steps=lambda facts: [{"wait": "5s"}, *_used(*hosts(_IDLE_HOSTS))],
        once=_steps({"wait": "10s"}, *_used(*hosts(_IDLE_HOSTS))),
        event="wait",
        until="event",
        measures=("control", "cpu", "memory"),
        seconds=21,
        each=11,
        rounds=_ROUNDS,
    ),
    LeagueQuestion(
        name="path",
        asks="How long is a round trip between two quiet hosts?",
        services=_each(2),
        probes=_PINGS,
        steps=_ready,
        once=_steps({"wait": "1500ms"}),
        event="wait",
        until="event",
        measures=("rtt", "lost"),
        not_for=_ports_only,
        seconds=5,
        each=1.5,
        rounds=_ROUNDS,
    ),
    LeagueQuestion(
        name="bulk",
        asks="How much bulk TCP passes between two hosts, and what does it cost them?",
        services=_each(2),
        probes=(
            {"kind": "throughput", "every": "1s", "timeout": "5s", "from": "web-1", "to": "web-2",
             "options": {"size_kb": 20_000}},
            {"kind": "icmp", "every": "500ms"},
        ),
        before=_remember(2),
        steps=lambda facts: [*_ready(facts), *_used(*hosts(2))],
        once=_steps({"wait": "8s"}, *_used(*hosts(2))),
        event="wait",
        until="event",
        measures=("throughput", "cpu"),
        not_for=_ports_only,
        seconds=15,
        each=9,
        rounds=_ROUNDS,
    ),
)  # fmt: skip

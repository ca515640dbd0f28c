"""The trials of `lab overlay check`: requirements on every container overlay, whatever its kind.

Owns the questions and their limits. A limit is what a user would still call working on a busy machine. It does not
measure speed; the league does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.trials.trial import OverlayFacts, OverlayTrial, spread

__all__ = ["TRIALS"]

_REACH = {"expect": {"reachable": "all", "within": "60s", "for": "2s"}}
_END = {"expect": {"converged": "all", "within": "60s"}}
"""Bounds the last change; without it the run allows 10 s."""
_STATUS = {"expect": {"status": "all", "within": "60s"}}
_RUN = {"run": "all"}


def _steps(*steps: Mapping[str, Any]) -> Any:
    return lambda facts: [_RUN, _REACH, *steps, _END]


def _apart(facts: OverlayFacts) -> Mapping[str, Any]:
    one = {"image": "ksahnine/dummy-http"}
    return {
        "red": {**one, "args": ["red"], "host": "host1", "address": "10.32.1.1/24"},
        "also-red": {**one, "args": ["also-red"], "host": "host2", "address": "10.32.1.2/24"},
        "blue": {**one, "args": ["blue"], "host": "host2", "address": "10.32.2.1/24"},
    }


def _isolation(facts: OverlayFacts) -> Sequence[Mapping[str, Any]]:
    # By its address, because probes skip pairs that the overlay isolates.
    asked = ["sh", "-c", "! wget -q -T 2 -t 1 -O - http://10.32.2.1/"]
    return [
        _RUN,
        {"expect": {"reachable": {"from": "red", "to": "also-red"}, "within": "60s", "for": "2s"}},
        {"exec": {"service": "red", "command": asked}},
        _END,
    ]


def _honest(facts: OverlayFacts) -> Sequence[Mapping[str, Any]]:
    stop = [
        {"kill": {"daemon": "host2", "farewell": True}},
        _STATUS,
        {"restart": {"daemon": "host2"}},
        _REACH,
        {"kill": {"daemon": "host2"}},
        _STATUS,
        {"restart": {"daemon": "host2"}},
        _REACH,
        _STATUS,
    ]
    return [_RUN, _REACH, _STATUS, *(stop if facts.daemon else ()), _END]


def _daemon(facts: OverlayFacts) -> str:
    return "" if facts.daemon else "no process of it runs on hosts"


TRIALS: Sequence[OverlayTrial] = (
    OverlayTrial(
        name="reach",
        asks="Do containers on two hosts, and on one, reach each other?",
        services=spread(4),
        steps=_steps(),
    ),
    OverlayTrial(
        name="isolation",
        asks="Are containers in two subnets kept apart?",
        services=_apart,
        steps=_isolation,
        not_for=lambda facts: (
            "" if facts.addresses == "chosen" and facts.routed else "its addresses are not chosen by subnet"
        ),
    ),
    OverlayTrial(
        name="large",
        asks="Does bulk TCP pass between hosts, in packets of full size?",
        services=spread(2),
        probes=({"kind": "http", "every": "200ms"}, {"kind": "throughput", "every": "2s", "timeout": "5s"}),
        steps=_steps({"wait": "4s"}, {"expect": {"reachable": "all", "within": "30s", "for": "2s"}}),
    ),
    OverlayTrial(
        name="container",
        asks="Is a container that is killed and started again reached as before?",
        services=spread(2),
        steps=_steps({"kill": {"service": "web-2"}}, {"wait": "1s"}, {"restart": {"service": "web-2"}}, _REACH),
    ),
    OverlayTrial(
        name="replaced",
        asks="Are containers that come later reached, and others after one was removed?",
        services=spread(2),
        steps=_steps({"scale": {"service": "web", "to": 6}}, _REACH, {"scale": {"service": "web", "to": 3}}, _REACH),
    ),
    OverlayTrial(
        name="daemon",
        asks="Does everything come back when the overlay's process was killed and started again?",
        services=spread(3),
        hosts=3,
        steps=_steps({"kill": {"daemon": "host2"}}, {"wait": "2s"}, {"restart": {"daemon": "host2"}}, _REACH),
        not_for=_daemon,
    ),
    OverlayTrial(
        name="status",
        asks="Is what it says of itself true, and does nothing of it run after a stop or a kill?",
        services=spread(2),
        connect=({"expect": {"status": "all", "within": "10s"}}, {"connect": "all"}),
        steps=_honest,
        not_for=lambda facts: "" if facts.reports else "it is not asked: it has no driver",
    ),
    OverlayTrial(
        name="power",
        asks="Does a host come back after a power cut, with its containers?",
        services=spread(3),
        hosts=3,
        steps=_steps({"kill": {"host": "host2"}}, {"wait": "2s"}, {"restart": {"host": "host2"}}, _REACH),
    ),
    OverlayTrial(
        name="cut",
        asks="Do containers reach each other again after 10 s of partition?",
        services=spread(3),
        hosts=3,
        steps=_steps(
            {"partition": {"groups": [["host1"], ["host2", "host3"]]}},
            {"expect": {"unreachable": {"from": "web-1", "to": "web-2"}, "within": "10s"}},
            {"wait": "10s"},
            {"heal": "all"},
            {"expect": {"reachable": "all", "within": "2m", "for": "2s"}},
        ),
    ),
    OverlayTrial(
        name="many",
        asks="Does a lab of eight hosts become whole?",
        services=spread(8),
        hosts=8,
        probes=({"kind": "icmp", "every": "1s"},),
        steps=_steps(),
    ),
)

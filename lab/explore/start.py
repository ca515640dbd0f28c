"""Random beginnings of a case: the hosts, their options, and when they join. Pure.

Owns the beginnings (as in the scenario; faults during the first consensus; hosts that join late; two networks that
merge), a small address range that makes peers ask each other for addresses, and timers that are short, or rounds that
are rare, enough to matter in a short run. Says which verb leads where chance alone would hardly draw it, or not at the
right moment. `schedule` draws the faults.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lab.explore.case import Case, with_faults
from lab.explore.limits import Limits
from lab.explore.lone import lone_case
from lab.explore.schedule import Lead
from lab.kinds.overlays import OVERLAYS, OverlayKind
from lab.kinds.verbs import verbs
from lab.scenario.base import chosen
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve
from lab.scenario.values import UNITS, format_duration, parse_duration
from overlay.env import Random

__all__ = ["Ground", "ground"]

_S, _MS = UNITS["s"], UNITS["ms"]
_CROWD = "crowd"
"""A service that is scaled up and down, so that addresses are claimed and released all the time."""
_CROWD_MOST = 4
"""The largest number that a crowd of one is scaled to (`lab/verbs/scale.py`)."""
_PAIR = "pair"
"""A second such service on another host: each host may ask the other for space while it has holes itself."""
_MET = 45 * _S
"""By then faults are over, and the networks have merged."""
_QUIET = 65 * _S
"""Longer than the simulator waits before it compares views."""
_MEET = 2 * _S
"""By then peers that were told to connect have met, whatever their links' delay."""
_BUSY = 10 * _S
_LONG = 400 * _S
"""Longer than any timer of a peer (`hold` is 5 minutes)."""
_MODES = (
    ("settled",) * 5 + ("cold",) * 4 + ("interrupted",) * 2 + ("late",) * 2 + ("islands",) * 3 + ("lone",) * 5
    + ("long",) + ("members",) * 4 + ("busy",) * 3
)  # fmt: skip


class Ground(Struct, frozen=True):
    """The base of cases: the unchanged scenario, and one in which addresses are scarce."""

    base: Case
    scenario: Resolved
    scarce: tuple[tuple[Case, Resolved], ...]
    """With fewer addresses; empty: the scenario's overlay does not allocate from a range, or the scenario sets the
    range."""
    plain_start: bool
    """The scenario launches and connects all hosts, so a case may begin in another way."""

    def draw(self, seed: int, most: int, limits: Limits | None) -> Case:
        """The case of a seed."""
        rng = Random(f"explore start {seed}")
        mode = rng.choice(_MODES)
        if mode == "lone":
            if limits is not None:
                return lone_case(self.base, self.scenario, seed, limits)
            mode = "settled"
        case, scenario = self.base, self.scenario
        if self.scarce and rng.randrange(3):
            case, scenario = rng.choice(self.scarce)
        if mode not in ("members", "busy"):
            case = self._options(case, scenario, rng)
        case = _slowed(case, rng, {"interrupted": 100, "islands": 80}.get(mode, 25))
        lead = Lead(tuple(verb.name for verb in verbs().values() if verb.estranges)) if mode == "members" else None
        if self.plain_start:
            case = _begin(case, scenario, mode, rng)
            if mode == "interrupted":
                case, lead = _interrupted(case, scenario, rng)
        if mode == "busy":
            case = replace(case, quiet=_QUIET)
            return with_faults(case, scenario, seed, most=2 * most, length=_BUSY, calm=True)
        if mode == "long":
            return with_faults(replace(case, quiet=_QUIET, long=True), scenario, seed, most=most, length=_LONG)
        if rng.randrange(4) == 0:
            case = replace(case, quiet=_QUIET)
        length = rng.choice((2, 6, 20)) * _S if case.start else 20 * _S
        if not case.start and mode != "members" and rng.randrange(3) == 0:
            case = replace(case, bold=True)
        return with_faults(case, scenario, seed, most=most, length=length, lead=lead)

    def _options(self, case: Case, scenario: Resolved, rng: Random) -> Case:
        """Timers that expire within this run."""
        if not _is_ours(OVERLAYS.get(scenario.overlay)):
            return case
        drawn: dict[str, Any] = {}
        if rng.randrange(4) == 0:
            drawn["hold"] = rng.choice(("3s", "10s"))
        if rng.randrange(3) == 0:
            drawn["gossip-interval"] = "10m"
        return _with_options(case, scenario, drawn)


def ground(base: Case, scenario: Resolved, file: str) -> Ground:
    """The base of the cases of a scenario."""
    launches = [step["launch"] for step in base.setup if "launch" in step]
    connects = [step["connect"] for step in base.setup if "connect" in step]
    plain = launches == ["all"] and connects == ["all"] and not scenario.routers and len(scenario.hosts) > 1
    overlay = OVERLAYS.get(scenario.overlay)
    given = {key.replace("_", "-") for key in scenario.options}
    plain = plain and _is_ours(overlay)
    ranged = given & {"iprange", "ipalloc-range", "subnet", "ipalloc-default-subnet"}
    if not _is_ours(overlay) or ranged or _CROWD in scenario.services or not base.setup:
        return Ground(base, scenario, (), plain)
    hosts = list(scenario.hosts)
    containers = sum(service.replicas for service in scenario.services.values())
    # A few more addresses than containers, on one host; or as many as the crowd may ever have, on two; or as many as
    # two crowds may ever have, one on a host that has a container already.
    one_host = _scarce(base, scenario, {_CROWD: {"host": hosts[-1], "replicas": 2}}, 2 * containers + 6)
    crowd = {"hosts": [hosts[0], hosts[-1]], "replicas": 1}
    two_hosts = _scarce(base, scenario, {_CROWD: crowd}, containers + _CROWD_MOST)
    worlds = [one_host, two_hosts]
    if len(hosts) > 1 and _PAIR not in scenario.services:
        there = next((service.hosts[0] for service in scenario.services.values() if service.hosts), hosts[0])
        crowds = {
            _CROWD: {"host": next(name for name in reversed(hosts) if name != there), "replicas": 3},
            _PAIR: {"host": there, "replicas": 2},
        }
        worlds += [_scarce(base, scenario, crowds, containers + 2 * _CROWD_MOST + 3)] * 2
    resolved = {case.text(): resolve(parse(case.text(), file), file=file) for case in worlds}
    return Ground(base, scenario, tuple((case, resolved[case.text()]) for case in worlds), plain)


def _scarce(base: Case, scenario: Resolved, crowds: dict[str, dict[str, Any]], addresses: int) -> Case:
    """The scenario with crowds, and a range of at least this many addresses."""
    named = {name: {"image": "ksahnine/dummy-http", "args": [name], **where} for name, where in crowds.items()}
    size = 32 - (addresses + 1).bit_length()
    tree = {**base.tree, "services": {**(base.tree.get("services") or {}), **named}}
    if "probes" not in tree and "steady" not in tree:
        tree["probes"] = [
            {"kind": "http", "from": "all", "to": "all", "every": "500ms"},
            {"kind": "dns", "name": f"{_CROWD}.weave.local", "from": "all", "every": "500ms"},
        ]
    setup = base.setup
    if not any(step.get("run") == "all" for step in setup):
        last = max(index for index, step in enumerate(setup) if "launch" in step or "connect" in step)
        setup = (*setup[: last + 1], {"run": list(crowds)}, *setup[last + 1 :])
    return _with_options(replace(base, tree=tree, setup=setup, plain=setup), scenario, {"iprange": f"10.32.0.0/{size}"})


def _is_ours(overlay: OverlayKind) -> bool:
    """Whether its peers divide a range, and so have the options, commands and first agreement that are varied here."""
    return overlay.has_daemons and {"iprange", "init", "hold"} <= set(overlay.options())


def _with_options(case: Case, scenario: Resolved, drawn: dict[str, Any]) -> Case:
    """Add these overlay options, except those that the scenario sets."""
    given = {key.replace("_", "-") for key in scenario.options}
    more = {key: value for key, value in drawn.items() if key not in given}
    if not more:
        return case
    said = case.tree.get("overlay") or "weave"
    overlay: dict[str, Any] = {"kind": said} if isinstance(said, str) else dict(said)
    overlay["options"] = {**(overlay.get("options") or {}), **more}
    return replace(case, tree={**case.tree, "overlay": overlay}, added=(*case.added, *more))


def _slowed(case: Case, rng: Random, percent: int) -> Case:
    """Links with a delay in some of the cases, so that what takes some messages is often interrupted."""
    underlay = case.tree.get("underlay") or {}
    if "hosts" not in underlay or underlay.keys() & {"links", "topology", "file", "generate"}:
        return case
    if rng.randrange(100) >= percent:
        return case
    links = {"default": {"delay": format_duration(rng.choice((30, 150)) * _MS)}}
    return replace(case, tree={**case.tree, "underlay": {**underlay, "links": links}}, slow=True)


def _begin(case: Case, scenario: Resolved, mode: str, rng: Random) -> Case:
    hosts = list(scenario.hosts)
    if mode == "cold":
        return _cold(case, scenario, rng.randrange(10) * 100 * _MS, rng)
    if mode == "late" and scenario.edges is None:
        spare = len(hosts) - (len(hosts) // 2 + 1)  # the first consensus needs a majority
        late = rng.sample(hosts, rng.randint(1, min(2, spare))) if spare else []
        if not late:
            return case
        return _late(case, scenario, [name for name in hosts if name not in late], late, rng)
    if mode == "islands" and scenario.edges is None:
        return _islands(case, scenario, rng)
    return case


def _cold(case: Case, scenario: Resolved, at: int, rng: Random) -> Case:
    """Faults occur while the peers meet for the first time and agree on the owners of address ranges."""
    start: list[tuple[int, dict[str, Any]]] = [(at, {"connect": "all"})]
    start += [(at + rng.randrange(60) * 100 * _MS, {"run": [name]}) for name in _run(case, scenario)]
    return replace(case, setup=({"launch": "all"},), start=_sorted(start), bold=True)


def _turn(case: Case) -> int:
    """The delay of its links (ns): events between two of its multiples hit the same messages under way."""
    return parse_duration(((case.tree["underlay"].get("links") or {}).get("default") or {}).get("delay", "1ms"))


def _severing() -> tuple[str, ...]:
    """The verbs whose faults take peers away from others at once."""
    return tuple(verb.name for verb in verbs().values() if verb.lasts and (verb.heals or verb.launches == "again"))


def _interrupted(case: Case, scenario: Resolved, rng: Random) -> tuple[Case, Lead]:
    """The same, and a fault begins in the middle of the first agreement: a user asks for it, and gives up after some
    messages."""
    case = _cold(case, scenario, _MEET + rng.randrange(20) * 100 * _MS, rng)
    patience = format_duration(rng.randrange(1, 14) * _turn(case) // 2)
    asked = {"host": rng.choice(list(scenario.hosts)), "command": "weave prime; sleep 60", "expect": {"code": 124}}
    start: list[tuple[int, dict[str, Any]]] = [
        (0, {"connect": "all"}),
        (_MEET, {"exec": {**asked, "timeout": patience}}),
    ]
    start += [(time, step) for time, step in case.start if "connect" not in step]
    return replace(case, start=_sorted(start)), Lead(_severing(), _MEET)


def _late(case: Case, scenario: Resolved, there: list[str], late: list[str], rng: Random) -> Case:
    """Some hosts join during faults."""
    now, later = _split(_run(case, scenario), scenario, there)
    setup = [{"launch": there}, *_connected(there), *_running(now), case.agreed()]
    start: list[tuple[int, dict[str, Any]]] = []
    for name in late:
        at = rng.randrange(100) * 100 * _MS
        start += [(at, {"launch": [name]}), (at, {"connect": {"from": name, "to": [rng.choice(there)]}})]
    last = max(at for at, _ in start)
    start += [(last + rng.randrange(40) * 100 * _MS, {"run": [name]}) for name in later]
    return replace(case, setup=tuple(setup), start=_sorted(start), bold=True)


def _islands(case: Case, scenario: Resolved, rng: Random) -> Case:
    """Two networks that have each divided the range merge. Only one has allocated addresses by then, so that no two
    containers can have the same one."""
    hosts = rng.sample(list(scenario.hosts), len(scenario.hosts))
    cut = rng.randint(1, len(hosts) - 1)
    sides = [sorted(side, key=list(scenario.hosts).index) for side in (hosts[:cut], hosts[cut:])]
    late = rng.randrange(3) > 0
    if late:
        sides.sort(key=len, reverse=True)
    setup: list[dict[str, Any]] = []
    for side in sides:
        setup.append({"launch": {"hosts": side, "options": {"init": f"consensus={len(side)}"}}})
        setup += _connected(side)
    primes = [{"exec": {"host": side[0], "command": "weave prime"}} for side in sides]
    used, unused = _split(_run(case, scenario), scenario, sides[0])
    meet = rng.randrange(30) * 100 * _MS
    start: list[tuple[int, dict[str, Any]]] = [(0, step) for step in _running(used)]
    start.append((meet, {"connect": {"from": sides[0][-1], "to": [sides[1][0]]}}))
    if late:  # the smaller network, whose ring loses, divides the range in the moment in which it hears of the other
        start.append((meet, {"wait": format_duration(rng.randrange(6, 15) * _turn(case) // 2)}))
        start.append((meet, primes.pop()))
    setup += primes
    if unused:  # only when faults are over and there is one ring; earlier, two hosts could allocate the same address
        start.append((meet + _MET, case.agreed()))
        start += [(meet + _MET, step) for step in _running(unused)]
    return replace(case, setup=tuple(setup), start=_sorted(start), bold=True)


def _run(case: Case, scenario: Resolved) -> list[str]:
    """The services that the scenario's own setup runs."""
    found: dict[str, None] = {}
    for step in case.plain:
        said = step.get("run")
        names = said.get("services", "all") if isinstance(said, dict) else said
        if names is not None:
            found |= dict.fromkeys(chosen((names,) if isinstance(names, str) else tuple(names), scenario.services))
    return list(found)


def _split(names: Sequence[str], scenario: Resolved, there: Sequence[str]) -> tuple[list[str], list[str]]:
    """Services that run on these hosts only, and the other services."""
    here = [name for name in names if set(scenario.services[name].hosts) <= set(there)]
    return here, [name for name in names if name not in here]


def _connected(hosts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"connect": {"from": hosts[0], "to": list(hosts[1:])}}] if len(hosts) > 1 else []


def _running(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"run": list(names)}] if names else []


def _sorted(steps: list[tuple[int, dict[str, Any]]]) -> tuple[tuple[int, dict[str, Any]], ...]:
    return tuple(sorted(steps, key=lambda each: each[0]))

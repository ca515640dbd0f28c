"""Random beginnings of a case: the hosts, their options, and when they join. Pure.

Owns the beginnings (as in the scenario; faults during the first consensus; hosts that join late; two networks that
merge), a small address range that makes peers ask each other for addresses, and timers that are short, or rounds that
are rare, enough to matter in a short run. `schedule` draws the faults.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lab.explore.case import Case, with_faults
from lab.explore.limits import Limits
from lab.explore.lone import lone_case
from lab.kinds.overlays import OVERLAYS, OverlayKind
from lab.scenario.base import chosen
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve
from lab.scenario.values import UNITS, format_duration
from overlay.env import Random

__all__ = ["Ground", "ground"]

_S, _MS = UNITS["s"], UNITS["ms"]
_CROWD = "crowd"
"""A service that is scaled up and down, so that addresses are claimed and released all the time."""
_CROWD_MOST = 4
"""The largest number that a crowd of one is scaled to (`lab/verbs/scale.py`)."""
_MET = 45 * _S
"""By then faults are over, and the networks have merged."""
_QUIET = 65 * _S
"""Longer than the simulator waits before it compares views."""
_LONG = 400 * _S
"""Longer than any timer of a peer (`hold` is 5 minutes)."""
_MODES = ("settled",) * 6 + ("cold",) * 5 + ("late",) * 3 + ("islands",) * 3 + ("lone",) * 5 + ("long",)


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
        case = _slowed(self._options(case, scenario, rng), rng)
        if self.plain_start:
            case = _begin(case, scenario, mode, rng)
        if mode == "long":
            return with_faults(replace(case, quiet=_QUIET, long=True), scenario, seed, most=most, length=_LONG)
        if rng.randrange(4) == 0:
            case = replace(case, quiet=_QUIET)
        length = rng.choice((2, 6, 20)) * _S if case.start else 20 * _S
        if not case.start and rng.randrange(3) == 0:
            case = replace(case, bold=True)
        return with_faults(case, scenario, seed, most=most, length=length)

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
    # A few more addresses than containers, on one host; or as many as the crowd may ever have, on two.
    one_host = _scarce(base, scenario, {"host": hosts[-1], "replicas": 2}, 2 * containers + 6)
    two_hosts = _scarce(base, scenario, {"hosts": [hosts[0], hosts[-1]], "replicas": 1}, containers + _CROWD_MOST)
    found = ((case, resolve(parse(case.text(), file), file=file)) for case in (one_host, two_hosts))
    return Ground(base, scenario, tuple(found), plain)


def _scarce(base: Case, scenario: Resolved, where: dict[str, Any], addresses: int) -> Case:
    """The scenario with a crowd, and a range of at least this many addresses."""
    crowd = {"image": "ksahnine/dummy-http", "args": [_CROWD], **where}
    size = 32 - (addresses + 1).bit_length()
    tree = {**base.tree, "services": {**(base.tree.get("services") or {}), _CROWD: crowd}}
    if "probes" not in tree and "steady" not in tree:
        tree["probes"] = [
            {"kind": "http", "from": "all", "to": "all", "every": "500ms"},
            {"kind": "dns", "name": f"{_CROWD}.weave.local", "from": "all", "every": "500ms"},
        ]
    setup = base.setup
    if not any(step.get("run") == "all" for step in setup):
        last = max(index for index, step in enumerate(setup) if "launch" in step or "connect" in step)
        setup = (*setup[: last + 1], {"run": [_CROWD]}, *setup[last + 1 :])
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


def _slowed(case: Case, rng: Random) -> Case:
    """Now and then links with a delay, so that what takes some messages is often interrupted."""
    underlay = case.tree.get("underlay") or {}
    if "hosts" not in underlay or underlay.keys() & {"links", "topology", "file", "generate"} or rng.randrange(4):
        return case
    links = {"default": {"delay": format_duration(rng.choice((30, 150)) * _MS)}}
    return replace(case, tree={**case.tree, "underlay": {**underlay, "links": links}}, slow=True)


def _begin(case: Case, scenario: Resolved, mode: str, rng: Random) -> Case:
    hosts = list(scenario.hosts)
    if mode == "cold":
        return _cold(case, scenario, rng)
    if mode == "late" and scenario.edges is None:
        spare = len(hosts) - (len(hosts) // 2 + 1)  # the first consensus needs a majority
        late = rng.sample(hosts, rng.randint(1, min(2, spare))) if spare else []
        if not late:
            return case
        return _late(case, scenario, [name for name in hosts if name not in late], late, rng)
    if mode == "islands" and scenario.edges is None:
        return _islands(case, scenario, rng)
    return case


def _cold(case: Case, scenario: Resolved, rng: Random) -> Case:
    """Faults occur while the peers meet for the first time and agree on the owners of address ranges."""
    at = rng.randrange(10) * 100 * _MS
    start: list[tuple[int, dict[str, Any]]] = [(at, {"connect": "all"})]
    start += [(at + rng.randrange(60) * 100 * _MS, {"run": [name]}) for name in _run(case, scenario)]
    return replace(case, setup=({"launch": "all"},), start=_sorted(start), bold=True)


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
    setup: list[dict[str, Any]] = []
    for side in sides:
        setup.append({"launch": {"hosts": side, "options": {"init": f"consensus={len(side)}"}}})
        setup += _connected(side)
    setup += [{"exec": {"host": side[0], "command": "weave prime"}} for side in sides]
    used, unused = _split(_run(case, scenario), scenario, sides[0])
    meet = rng.randrange(30) * 100 * _MS
    start: list[tuple[int, dict[str, Any]]] = [(0, step) for step in _running(used)]
    start.append((meet, {"connect": {"from": sides[0][-1], "to": [sides[1][0]]}}))
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

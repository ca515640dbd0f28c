"""Smaller cases of a case: fewer faults, hosts, services or probes, or shorter durations. Pure.

Owns what may be left out of a case so that a scenario remains. `shrink` decides which of them still fail.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from lab.explore.case import Case
from lab.explore.schedule import ScheduledFault
from lab.kinds.verbs import verb_of
from lab.scenario.values import UNITS

__all__ = ["plainer", "shorter", "simpler_faults", "without_hosts", "without_services", "without_setup"]

_SHORTEST = 100 * UNITS["ms"]
_PLAIN = (UNITS["s"], 500 * UNITS["ms"], 100 * UNITS["ms"])


def without_hosts(case: Case) -> Iterator[Case]:
    """Cases with fewer hosts: a smaller generated topology, or one named host less, without everything
    that needs it."""
    underlay = case.tree["underlay"]
    if "generate" in underlay:
        hosts = underlay["generate"]["hosts"]
        for fewer in dict.fromkeys((hosts // 4, hosts // 2, 3 * hosts // 4, hosts - 1)):
            if 0 < fewer < hosts:
                changed = {**underlay, "generate": {**underlay["generate"], "hosts": fewer}}
                yield replace(case, tree={**case.tree, "underlay": changed})
        return
    for name in reversed(list(underlay.get("hosts") or {})):
        rest = {key: value for key, value in underlay["hosts"].items() if key != name}
        if not rest:
            return
        services = {
            key: value
            for key, value in (case.tree.get("services") or {}).items()
            if (value or {}).get("host") != name and name not in _listed((value or {}).get("hosts"))
        }
        tree = {**case.tree, "underlay": {**underlay, "hosts": rest}, "services": services}
        gone = [key for key in case.tree.get("services") or {} if key not in services]
        kept = [
            fault
            for fault in case.faults
            if not any(_of_service(fault, key) for key in gone)
            and not (fault.undo and _mentions((fault.body, fault.ending()), name))
        ]
        setup, plain = _without_name(case.setup, name), _without_name(case.plain, name)
        start = tuple((at, left[0]) for at, step in case.start if (left := _without_name((step,), name)))
        bodies = [(fault, verb_of(fault.verb).without_host(fault.body, name)) for fault in kept]
        faults = tuple(replace(fault, body=body) for fault, body in bodies if body is not None)
        yield replace(case, tree=tree, faults=faults, setup=setup, plain=plain, start=start)


def _without_name(steps: Sequence[dict[str, Any]], name: str) -> tuple[dict[str, Any], ...]:
    """Steps without a host: it is removed from lists, and steps about it alone are removed."""
    kept = []
    for step in steps:
        left = {key: _left(value, name) for key, value in step.items()}
        if None not in left.values():
            kept.append(left)
    return tuple(kept)


def _left(said: Any, name: str) -> Any:
    """A value without a name; None if nothing is left."""
    if isinstance(said, list):
        return [other for other in said if other != name] or None
    if isinstance(said, dict):
        found = {key: _left(value, name) for key, value in said.items()}
        return None if None in found.values() else found
    return None if said == name else said


def without_services(case: Case) -> Iterator[Case]:
    """Cases with one service or one probe less."""
    services = case.tree.get("services") or {}
    for name in reversed(list(services)):
        rest = {key: value for key, value in services.items() if key != name}
        faults = tuple(fault for fault in case.faults if not _of_service(fault, name))
        setup = tuple(step for step in (_without_service(step, name, rest) for step in case.setup) if step)
        plain = tuple(step for step in (_without_service(step, name, rest) for step in case.plain) if step)
        start = tuple((at, step) for at, said in case.start if (step := _without_service(said, name, rest)))
        tree = {**case.tree, "services": rest}
        if "probes" in tree:
            asked = tree["probes"]
            tree["probes"] = [probe for probe in asked if not str(probe.get("name", "")).startswith(f"{name}.")]
        yield replace(case, tree=tree, faults=faults, setup=setup, start=start, plain=plain)
    probes = case.tree.get("probes") or []
    for index in range(len(probes)):
        yield replace(case, tree={**case.tree, "probes": [*probes[:index], *probes[index + 1 :]]})


def _without_service(step: dict[str, Any], name: str, rest: Mapping[str, Any]) -> dict[str, Any] | None:
    """A setup step without a service; None if nothing is left of it."""
    said = step.get("run")
    if said is None or not rest:
        return None if said is not None else step
    names = said.get("services", "all") if isinstance(said, dict) else said
    if names == "all":
        return step
    left = [other for other in _listed(names) if other != name]
    if not left:
        return None
    return {**step, "run": {**said, "services": left} if isinstance(said, dict) else left}


def plainer(case: Case) -> Iterator[Case]:
    """Cases that begin as the scenario does, have none of the added options, and no final wait."""
    if case.start or case.setup != case.plain:
        yield replace(case, start=(), setup=case.plain)
    for key in case.added:
        overlay = case.tree["overlay"]
        options = {name: value for name, value in overlay["options"].items() if name != key}
        tree = {**case.tree, "overlay": {**overlay, "options": options}}
        yield replace(case, tree=tree, added=tuple(other for other in case.added if other != key))
    if case.slow:
        underlay = {key: value for key, value in case.tree["underlay"].items() if key != "links"}
        yield replace(case, tree={**case.tree, "underlay": underlay}, slow=False)
    if case.quiet:
        yield replace(case, quiet=0)


def without_setup(case: Case) -> Iterator[Case]:
    """Cases with one setup step less, except the steps that bring the lab up and expect it to be up."""
    last = max((index for index, step in enumerate(case.setup) if "expect" in step), default=-1)
    for index, step in enumerate(case.setup):
        if index != last and not any(verb_of(key).setup == "up" for key in step):
            yield replace(case, setup=(*case.setup[:index], *case.setup[index + 1 :]))


def simpler_faults(case: Case) -> Iterator[Case]:
    """Cases in which one fault names fewer hosts or is of a simpler kind."""
    for index, fault in enumerate(case.faults):
        for body in verb_of(fault.verb).simpler(fault.body):
            yield _with(case, index, replace(fault, body=body))


def shorter(case: Case) -> Iterator[Case]:
    """Cases in which one fault is shorter, or begins earlier (together with those after it)."""
    for index, fault in enumerate(case.faults):
        for lasts in _less(fault.lasts):
            yield _with(case, index, replace(fault, lasts=lasts))
        before = case.faults[index - 1].at if index else 0
        for gap in _less(fault.at - before, least=0):
            by = fault.at - before - gap
            moved = tuple(replace(one, at=one.at - by) for one in case.faults[index:])
            yield replace(case, faults=(*case.faults[:index], *moved))


def _less(value: int, least: int = _SHORTEST) -> Iterator[int]:
    """Smaller durations to try, the smallest first: zero, half, and the round values below."""
    tried = [least, value // 2 // _SHORTEST * _SHORTEST]
    tried += [value // unit * unit if value % unit else value - unit for unit in _PLAIN]
    return iter(dict.fromkeys(one for one in tried if least <= one < value))


def _with(case: Case, index: int, fault: ScheduledFault) -> Case:
    return replace(case, faults=(*case.faults[:index], fault, *case.faults[index + 1 :]))


def _of_service(fault: ScheduledFault, name: str) -> bool:
    return fault.body.get("service") == name or name in (fault.body.get("services") or ()) or name in fault.touched


def _mentions(said: Any, name: str) -> bool:
    """Whether a name occurs anywhere in steps."""
    if isinstance(said, dict):
        return any(_mentions(value, name) for value in said.values())
    return any(_mentions(value, name) for value in said) if isinstance(said, list | tuple) else bool(said == name)


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())

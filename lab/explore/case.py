"""A scenario with a schedule of faults in it: its file's text, and the smaller cases of it. Pure.

The timeline is the scenario's own up to its first disturbance, then the faults, then the demand that everything agrees
again. A smaller case lacks faults, hosts, services or probes, or lets things last shorter.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from lab.errors import LabError
from lab.explore.schedule import Schedule, ScheduledFault, draw
from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import verb_of
from lab.scenario.files import make_portable
from lab.scenario.loops import write_out
from lab.scenario.resolve import Resolved
from lab.scenario.values import UNITS, format_duration
from lab.scenario.yaml import bare, editor, flow
from lab.words import count

__all__ = ["Case", "first_case", "with_faults"]

_BACK = 2 * UNITS["s"]
"""What was killed needs a while to start again: until then it is not there to agree with anybody."""
_SHORTEST = 100 * UNITS["ms"]
_PLAIN = (UNITS["s"], 500 * UNITS["ms"], 100 * UNITS["ms"])


class Case(Struct, frozen=True, kw_only=True):
    """One scenario to be played. `tree` is the file without timeline, as plain data; treat it as frozen."""

    tree: dict[str, Any]
    setup: tuple[dict[str, Any], ...]
    """Steps before anything is broken."""
    faults: Schedule
    deadline: int
    """How long after the last heal all may take to agree (ns)."""
    seed: int

    def timeline(self) -> list[dict[str, Any]]:
        """All steps, as a file has them."""
        steps = list(self.setup)
        now = 0
        due = [(fault.at, fault.step()) for fault in self.faults]
        due += [(fault.end, fault.undo) for fault in self.faults if fault.undo]
        for time, step in sorted(due, key=lambda each: each[0]):
            if time > now:
                steps.append({"wait": format_duration(time - now)})
            steps.append(step)
            now = max(now, time)
        left = max((fault.end + _BACK for fault in self.faults), default=0) - now
        if left > 0:
            steps.append({"wait": format_duration(left)})
        closing = (verb_of(verb).closing() for verb in dict.fromkeys(fault.verb for fault in self.faults))
        steps += [step for step in closing if step is not None]
        return [*steps, {"expect": {"converged": "all", "within": format_duration(self.deadline)}}]

    def text(self, *comments: str) -> str:
        """The file; each comment becomes a line before it."""
        tree = CommentedMap(self.tree)
        tree["seed"] = self.seed
        tree["timeline"] = CommentedSeq([flow(step) for step in self.timeline()])
        for key in ("services", "probes"):
            if not tree.get(key):
                tree.pop(key, None)
        out = io.StringIO()
        editor(110).dump(tree, out)
        return "".join(f"# {line}".rstrip() + "\n" for line in comments) + out.getvalue()

    @property
    def needs_relays(self) -> bool:
        """Whether two hosts may be apart that others join: by a single fault, or because two overlap."""
        bypassed = [(fault, verb_of(fault.verb).bypassed(fault.body)) for fault in self.faults]
        if any(when == "always" for _, when in bypassed):
            return True
        cuts = [fault for fault, when in bypassed if when == "together"]
        return any(one.at < other.end and other.at < one.end for one, other in combinations(cuts, 2))

    @property
    def size(self) -> str:
        """In words, for the user who watches."""
        hosts = len(self.tree["underlay"].get("hosts") or ()) or self.tree["underlay"].get("generate", {}).get(
            "hosts", 0
        )
        return f"{count(len(self.faults), 'fault')} on {count(hosts, 'host')}"


def first_case(text: str, name: str, folder: Path, *, deadline: int, hosts: Sequence[str] = ()) -> Case:
    """The case without faults of a valid scenario file in `folder`; cases can be played from anywhere. `hosts`: all
    that the scenario has.

    Raises `LabError` for one that never gets anything up.
    """
    tree = bare(editor(110).load(io.StringIO(text)))
    tree.setdefault("name", name)
    make_portable(tree, folder)
    steps = bare(write_out(tree.pop("timeline"), hosts).steps)
    tree.pop("seed", None)
    setup: list[dict[str, Any]] = []
    for step in steps:
        verb = next((key for key in step if key not in ("at", "for", "on_failure")), "")
        if not verb_of(verb).setup:
            break
        setup.append({key: value for key, value in step.items() if key != "at"})
    if not any("launch" in step for step in setup):
        raise LabError("there is nothing to explore: the scenario launches nothing before it disturbs something")
    if not any("converged" in step.get("expect", {}) for step in setup):
        # Faults of a lab that is not up yet would be faults of the start.
        setup.append({"expect": {"converged": "all", "within": format_duration(deadline)}})
    return Case(tree=tree, setup=tuple(setup), faults=(), deadline=deadline, seed=0)


def with_faults(case: Case, scenario: Resolved, seed: int, *, most: int) -> Case:
    """The case with the faults and everything random of a seed."""
    services = scenario.services
    single = {name: service.replica(1).host for name, service in services.items() if service.replicas == 1}
    elastic = {name: service.replicas for name, service in services.items() if not service.publish and service.replicas}
    overlay = OVERLAYS.get(scenario.overlay)
    attachable = tuple(single) if overlay.can("attach") else ()
    hosts = tuple(scenario.hosts)
    policed = tuple(services) if overlay.can("policy") else ()
    faults = draw(hosts, single, seed, elastic=elastic, attachable=attachable, policed=policed, most=most)
    return replace(case, faults=faults, seed=seed)


def without_hosts(case: Case) -> Iterator[Case]:
    """Cases with fewer hosts: a smaller generated topology, or one named host less with all that needs it."""
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
        kept = [fault for fault in case.faults if not any(_of_service(fault, key) for key in gone)]
        bodies = [(fault, verb_of(fault.verb).without_host(fault.body, name)) for fault in kept]
        faults = tuple(replace(fault, body=body) for fault, body in bodies if body is not None)
        yield replace(case, tree=tree, faults=faults)


def without_services(case: Case) -> Iterator[Case]:
    """Cases with one service, or one probe, less."""
    services = case.tree.get("services") or {}
    for name in reversed(list(services)):
        rest = {key: value for key, value in services.items() if key != name}
        faults = tuple(fault for fault in case.faults if not _of_service(fault, name))
        setup = case.setup if rest else tuple(step for step in case.setup if "run" not in step)
        yield replace(case, tree={**case.tree, "services": rest}, faults=faults, setup=setup)
    probes = case.tree.get("probes") or []
    for index in range(len(probes)):
        yield replace(case, tree={**case.tree, "probes": [*probes[:index], *probes[index + 1 :]]})


def without_setup(case: Case) -> Iterator[Case]:
    """Cases with one step of the beginning less, except what brings the lab up and says that it is."""
    last = max((index for index, step in enumerate(case.setup) if "expect" in step), default=-1)
    for index, step in enumerate(case.setup):
        if index != last and not any(verb_of(key).setup == "up" for key in step):
            yield replace(case, setup=(*case.setup[:index], *case.setup[index + 1 :]))


def simpler_faults(case: Case) -> Iterator[Case]:
    """Cases in which one fault names fewer hosts or is of a plainer kind."""
    for index, fault in enumerate(case.faults):
        for body in verb_of(fault.verb).simpler(fault.body):
            yield _with(case, index, replace(fault, body=body))


def shorter(case: Case) -> Iterator[Case]:
    """Cases in which one fault lasts shorter, or begins sooner (those behind it come along)."""
    for index, fault in enumerate(case.faults):
        for lasts in _less(fault.lasts):
            yield _with(case, index, replace(fault, lasts=lasts))
        before = case.faults[index - 1].at if index else 0
        for gap in _less(fault.at - before, least=0):
            by = fault.at - before - gap
            moved = tuple(replace(one, at=one.at - by) for one in case.faults[index:])
            yield replace(case, faults=(*case.faults[:index], *moved))


def _less(value: int, least: int = _SHORTEST) -> Iterator[int]:
    """Smaller durations to try, the boldest first: none at all, half, and the round ones below."""
    tried = [least, value // 2 // _SHORTEST * _SHORTEST]
    tried += [value // unit * unit if value % unit else value - unit for unit in _PLAIN]
    return iter(dict.fromkeys(one for one in tried if least <= one < value))


def _with(case: Case, index: int, fault: ScheduledFault) -> Case:
    return replace(case, faults=(*case.faults[:index], fault, *case.faults[index + 1 :]))


def _of_service(fault: ScheduledFault, name: str) -> bool:
    return fault.body.get("service") == name or name in (fault.body.get("services") or ())


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())

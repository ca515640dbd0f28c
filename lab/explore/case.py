"""A scenario with a schedule of faults, and its file's text. Pure.

The timeline is the scenario's own up to its first disturbance, then the faults, then the expectation that everything
agrees again. `smaller` makes smaller cases of it.
"""

import io
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from lab.errors import LabError
from lab.explore.schedule import Lead, Schedule, draw
from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import verb_of, verbs
from lab.scenario.files import make_portable
from lab.scenario.loops import write_out
from lab.scenario.resolve import Resolved
from lab.scenario.values import UNITS, format_duration
from lab.scenario.yaml import bare, editor, flow
from lab.words import count

__all__ = ["Case", "first_case", "with_faults"]

_BACK = 2 * UNITS["s"]
"""Time that a killed process needs to start again; until then it cannot agree with other peers."""
UNLIMITED = 18 * UNITS["s"]
"""As long is waited where limits are learned."""
HELD = 6 * UNITS["s"]
"""What all agree about after a fault, and after its end, has to stay so for this time."""


class Case(Struct, frozen=True, kw_only=True):
    """One scenario to play. `tree` is the file without timeline, as plain data; treat it as frozen."""

    tree: dict[str, Any]
    setup: tuple[dict[str, Any], ...]
    """Steps before the first fault."""
    faults: Schedule
    deadline: int
    """Time from the last heal within which all must agree (ns)."""
    seed: int
    start: tuple[tuple[int, dict[str, Any]], ...] = ()
    """Steps that bring the lab up during the faults: (time from the end of `setup`, step)."""
    plain: tuple[dict[str, Any], ...] = ()
    """The scenario's own steps, which `setup` and `start` replace."""
    added: tuple[str, ...] = ()
    """Overlay options that are not in the scenario."""
    bold: bool = False
    """Commands are given during faults, so a failed command is not a violation."""
    one_by_one: bool = False
    """Each fault begins when all have recovered from the one before, within the fault's own limits of time."""
    slow: bool = False
    """Its links have a delay that the scenario does not say."""
    long: bool = False
    """It lasts longer than peers remember each other."""
    quiet: int = 0
    """Duration of the final wait without steps (ns): views are compared only after a time without changes."""

    def timeline(self) -> list[dict[str, Any]]:
        """All steps, as in a file."""
        return self._one_by_one() if self.one_by_one else self._together()

    def _one_by_one(self) -> list[dict[str, Any]]:
        steps = list(self.setup)
        for fault in self.faults:
            steps += fault.steps()
            if fault.noticed_within:
                steps.append(self._kept(fault.noticed_within))
            steps += [{"wait": format_duration(fault.lasts)}, self._kept(fault.over_within)]
        return [*steps, self.agreed()]

    def is_notice(self, number: int) -> bool:
        """Whether the step of this number asks that a fault in force has been noticed."""
        steps = self.timeline()
        return self.one_by_one and number > 1 and any(steps[number - 2] == fault.step() for fault in self.faults)

    def _together(self) -> list[dict[str, Any]]:
        steps = list(self.setup)
        now = 0
        due: list[tuple[int, tuple[dict[str, Any], ...], int]] = [(at, (step,), 0) for at, step in self.start]
        due += [(fault.at, fault.steps(), fault.lead) for fault in self.faults]
        due += [(fault.end, fault.ending(), 0) for fault in self.faults if fault.undo]
        for time, more, lead in sorted(due, key=lambda each: each[0]):
            if time > now:
                steps.append({"wait": format_duration(time - now)})
            steps += more
            now = max(now, time) + lead
        left = max((fault.end + _BACK for fault in self.faults), default=0) - now
        if left > 0:
            steps.append({"wait": format_duration(left)})
        closing = (verb_of(verb).closing() for verb in dict.fromkeys(fault.verb for fault in self.faults))
        steps += [step for step in closing if step is not None]
        steps.append(self.agreed())
        return [*steps, {"wait": format_duration(self.quiet)}] if self.quiet else steps

    def agreed(self, within: int = 0) -> dict[str, Any]:
        """The step that expects all to agree; 0: within the deadline."""
        return {"expect": {"converged": "all", "within": format_duration(within or self.deadline)}}

    def _kept(self, within: int) -> dict[str, Any]:
        """The step that expects all to agree, and to go on doing so: a fault that nobody has noticed yet is none that
        all agree about. Without a limit yet, a failure ends nothing."""
        step = {**self.agreed(within), "for": format_duration(HELD)}
        return step if within != UNLIMITED else {**step, "on_failure": "continue"}

    def bears(self, verb: str) -> bool:
        """Whether a verb may be drawn. Verbs that make peers forget each other are excluded where peers time out early
        or have not all met, because then no peer keeps dialling and two may correctly never find each other."""
        return not verb_of(verb).estranges or not (self.start or "hold" in self.added or self.long)

    def text(self, *comments: str) -> str:
        """The text of the file; each comment becomes a line before it."""
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
        """Whether two hosts may be cut off from each other while both reach a third one: by one fault, or by two that
        overlap."""
        bypassed = [(fault, verb_of(fault.verb).bypassed(fault.body)) for fault in self.faults]
        if any(when == "always" for _, when in bypassed):
            return True
        cuts = [fault for fault, when in bypassed if when == "together"]
        return any(one.at < other.end and other.at < one.end for one, other in combinations(cuts, 2))

    @property
    def size(self) -> str:
        """Size in words, for progress lines."""
        hosts = len(self.tree["underlay"].get("hosts") or ()) or self.tree["underlay"].get("generate", {}).get(
            "hosts", 0
        )
        return f"{count(len(self.faults), 'fault')} on {count(hosts, 'host')}"


def first_case(text: str, name: str, folder: Path, *, deadline: int, hosts: Sequence[str] = ()) -> Case:
    """The case without faults of a valid scenario file in `folder`; cases can be played from any folder. `hosts`: all
    hosts of the scenario.

    Raises `LabError` for a scenario that never brings the lab up.
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
        # Faults before the lab is up would be faults of the start.
        setup.append({"expect": {"converged": "all", "within": format_duration(deadline)}})
    return Case(tree=tree, setup=tuple(setup), faults=(), deadline=deadline, seed=0, plain=tuple(setup))


def with_faults(
    case: Case,
    scenario: Resolved,
    seed: int,
    *,
    most: int,
    length: int = 20 * UNITS["s"],
    only: str = "",
    calm: bool = False,
    lead: Lead | None = None,
) -> Case:
    """The case with the faults and all random choices of a seed; the faults begin within `length`. `only`: a verb;
    `calm`: nothing breaks, commands only; `lead`: the first one."""
    services = scenario.services
    single = {name: service.replica(1).host for name, service in services.items() if service.replicas == 1}
    elastic = {name: service.replicas for name, service in services.items() if not service.publish and service.replicas}
    overlay = OVERLAYS.get(scenario.overlay)
    attachable = tuple(single) if overlay.can("attach") else ()
    hosts = tuple(scenario.hosts)
    policed = tuple(services) if overlay.can("policy") else ()
    if case.start:  # their start times are not fixed
        single, elastic, attachable = {}, {}, ()
    launched = [step["launch"] for step in case.setup if "launch" in step]
    same = all(not isinstance(said, dict) or not said.get("options") for said in launched)
    at = {host: [service for service in services.values() if host in service.hosts] for host in hosts}
    replaceable = {
        host: tuple(service.name for service in there)
        for host, there in at.items()
        if same and all(service.name in single for service in there)
    }
    faults = draw(
        hosts, single, seed, elastic=elastic, attachable=attachable, policed=policed, replaceable=replaceable,
        allowed=[
            verb.name
            for verb in verbs().values()
            if verb.allowed(overlay) and case.bears(verb.name) and only in ("", verb.name) and not (calm and verb.lasts)
        ],
        most=most, length=length,
        bold=case.bold, lead=lead,
    )  # fmt: skip
    return replace(case, faults=faults, seed=seed)

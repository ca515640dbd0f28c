"""A session in a running lab as a scenario with its times: what was done by hand, when, and who did it. Pure.

Owns which steps of a session a scenario keeps, their order and their times. Changes stand at the time at which they
were begun. Questions stand where they were answered, for a timeline is in order and others went on while they waited.
What failed, was refused or asked in vain is left out. A fault that somebody undid is ended by a step, or else after
the time that it lasted.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from lab.kinds.verbs import Verb, verb_of, verbs
from lab.records.history import Event
from lab.scenario.load import parse
from lab.scenario.loops import write_out
from lab.scenario.resolve import host_names
from lab.scenario.values import UNITS, format_duration
from lab.scenario.yaml import bare, editor, flow
from lab.words import count
from overlay.clean import clean

__all__ = ["SavedSession", "own_steps", "saved"]

_GRAIN = UNITS["ms"]
"""Times are written in milliseconds."""


class PlayedMove(Struct):
    """What a history says of one step."""

    begun: int
    what: str
    asked: dict[str, Any] | None = None
    by: str = ""
    ok: bool | None = None
    ended: int | None = None
    """When the question was answered, or the fault healed."""
    undone_by: str = ""
    """Who ended the fault by hand; empty: nobody did."""

    @property
    def verb(self) -> Verb[Any]:
        """What kind of step it is."""
        return verb_of(self.what)

    @property
    def watches(self) -> bool:
        """Whether it changes nothing."""
        return self.verb.setup == "watch"


class SavedStep(Struct, frozen=True):
    """A step of the scenario, and where it stands."""

    order: int
    """From the beginning of the timeline, in the run's time; below 0: it brings the lab up."""
    number: int
    plain: dict[str, Any]
    by: str


class SessionClock(Struct, frozen=True):
    """When the timeline began, and how many times as slowly as the file says it was played."""

    origin: int
    pace: int

    def time(self, t: int) -> int:
        """A time of the run as a scenario has it."""
        return max(t - self.origin, 0) // self.pace // _GRAIN * _GRAIN

    def said(self, t: int) -> str:
        """The same in the words of a file."""
        return format_duration(self.time(t))


class SavedSession(Struct, frozen=True):
    """The scenario's text, and what of the session is in it."""

    text: str
    moves: int
    left_out: int


def own_steps(text: str) -> list[dict[str, Any]]:
    """The steps of a valid scenario's text, its loops written out, as a file has them."""
    tree = bare(editor(4096).load(io.StringIO(text)))
    found: list[dict[str, Any]] = bare(write_out(tree["timeline"], host_names(parse(text).underlay)).steps)
    return found


def saved(tree: Any, first: Iterable[dict[str, Any]], events: Iterable[Event], *, pace: int, now: int) -> SavedSession:
    """The scenario of a session. `tree`: its file, `first`: the steps that are the scenario's own, `now`: when it
    ended, or the present."""
    events = list(events)
    own = dict(enumerate(_with_later_hosts(tree, first, events)))
    origin, played = _sorted_out(events)
    clock = SessionClock(origin, pace)
    setup = all(verb_of(next(iter(step))).setup in ("up", "more") for step in own.values())
    steps: list[SavedStep] = []
    kept = left_out = 0
    for number, move in sorted(played.items()):
        plain = own.get(number) if move.asked is None else move.asked
        if plain is None or (move.asked is None and move.verb.only_time):
            continue
        if move.ok is False or (move.watches and move.ok is None):
            left_out += 1
            continue
        kept += move.asked is not None
        place = number - len(own) if setup and move.asked is None else None
        steps += _replayed(plain, number, played, clock, place)
    last_own = max((move.begun for move in played.values() if move.asked is None), default=0)
    if any(move.asked is not None for move in played.values()) and clock.time(now) > clock.time(last_own):
        steps.append(SavedStep(now - origin, len(played), {"at": clock.said(now), "wait": "0s"}, "the end"))
    head = f"# Saved from a running lab after {format_duration(clock.time(now) // UNITS['s'] * UNITS['s'])}: "
    head += f"{count(kept, 'step')} by hand.\n"
    return SavedSession(_written(tree, steps, head), kept, left_out)


def _replayed(
    plain: dict[str, Any], number: int, played: Mapping[int, PlayedMove], clock: SessionClock, place: int | None
) -> Iterator[SavedStep]:
    """A step as the scenario has it, and the one that ends its fault. `place`: of one that brings the lab up, without
    a time."""
    move = played[number]
    step = {key: value for key, value in plain.items() if key not in ("at", "on_failure")}
    if move.undone_by and move.ended is not None:
        ending = _ending(step, number, played)
        if ending is None:
            step = _lasting(step, move.what, (move.ended - move.begun) // clock.pace)
        else:
            step = {key: value for key, value in _without(step, move.what, "for").items() if key != "for"}
            yield SavedStep(move.ended - clock.origin, number, {"at": clock.said(move.ended), **ending}, move.undone_by)
    if move.verb.file_data:
        step = _without(step, move.what, move.verb.file_data)
    if move.watches:
        answered = move.ended if move.ended is not None else move.begun
        yield SavedStep(answered - clock.origin, number, step, move.by)
    elif place is not None:
        yield SavedStep(place, number, step, move.by)
    else:
        yield SavedStep(move.begun - clock.origin, number, {"at": clock.said(move.begun), **step}, move.by)


def _written(tree: Any, steps: Iterable[SavedStep], head: str) -> str:
    """The text of a scenario with these steps, and a line that says where it is from."""
    tree["timeline"] = flow([])
    tree["timeline"].fa.set_block_style()
    for index, step in enumerate(sorted(steps, key=lambda each: (each.order, each.number))):
        tree["timeline"].append(flow(step.plain))
        if step.by:
            tree["timeline"].yaml_add_eol_comment(clean(step.by), index)
    out = io.StringIO()
    editor(4096).dump(tree, out)
    text = out.getvalue()
    first_line, newline, rest = text.partition("\n")
    return f"{first_line}{newline}{head}{rest}" if first_line.startswith("#") else head + text


def _with_later_hosts(tree: Any, first: Iterable[dict[str, Any]], events: Iterable[Event]) -> list[dict[str, Any]]:
    """The scenario's own steps; the hosts that joined are in its file from the start."""
    added = [event.detail["added"] for event in events if event.what == "host" and "added" in event.detail]
    own = list(_without_later_hosts(tree, first, [str(one["host"]) for one in added]))
    for one in added:
        network = str(one.get("network") or "")
        tree["underlay"]["hosts"][str(one["host"])] = flow({"networks": {network: None}} if network else {})
    return own


def _without_later_hosts(tree: Any, first: Iterable[dict[str, Any]], added: list[str]) -> Iterator[dict[str, Any]]:
    """The scenario's own steps, where `all` hosts are those that were there from the start."""
    names = [str(name) for name in tree["underlay"].get("hosts") or ()]
    for step in first:
        if added and step.get("launch", "") in ("all", {}):
            yield {**step, "launch": names}
        elif added and step.get("connect", "") in ("all", {}) and len(names) > 1:
            yield {**step, "connect": {"from": names[0], "to": names[1:]}}
        else:
            yield step


def _sorted_out(events: Iterable[Event]) -> tuple[int, dict[int, PlayedMove]]:
    """(when the timeline began, what became of each step)."""
    origin = 0
    played: dict[int, PlayedMove] = {}
    for event in events:
        if event.what == "up" and event.phase == "end":
            origin = event.t
        if event.step < 0:
            continue
        move = played.get(event.step)
        if move is None:
            asked = event.detail.get("asked")
            move = PlayedMove(
                begun=event.t,
                what=event.what,
                asked=dict(asked) if isinstance(asked, Mapping) else None,
                by=str(event.detail.get("by") or ""),
            )
            played[event.step] = move
        if event.ok is not None and move.ok is not False:
            move.ok = event.ok
        if event.phase == "end":
            move.ended = event.t
            move.undone_by = str(event.detail.get("by") or "") if verb_of(event.what).lasts else ""
    return origin, played


def _ending(step: dict[str, Any], number: int, played: Mapping[int, PlayedMove]) -> dict[str, Any] | None:
    """The step that ends just this fault, if there is one: then questions that were answered before are so again,
    however long they take. None where its time must say it."""
    move = played[number]
    assert move.ended is not None
    for verb in verbs().values():
        if move.what not in verb.ends or verb.launches == "first":
            continue
        if verb.model is verb_of(move.what).model:
            body = _without(step, move.what, "for")[move.what]
            return {verb.name: body}
        others = (other for key, other in played.items() if key != number and other.what in verb.ends)
        if any(other.begun < move.ended and (other.ended or move.ended + 1) > move.ended for other in others):
            return None
        return {verb.name: "all"}
    return None


def _lasting(step: dict[str, Any], verb: str, lasted: int) -> dict[str, Any]:
    """The step with the time that its fault lasted."""
    return {**_without(step, verb, "for"), "for": format_duration(max(lasted // _GRAIN * _GRAIN, _GRAIN))}


def _without(step: dict[str, Any], verb: str, key: str) -> dict[str, Any]:
    """The step without something that is said to its verb."""
    body = step.get(verb)
    inner = {name: value for name, value in body.items() if name != key} if isinstance(body, Mapping) else body
    return {**step, verb: inner}

"""A session in a running lab as a scenario with its times: what was done by hand, when, and by whom. Pure.

Owns which steps of a session a scenario keeps, their order and their times. Changes stand at the time at which they
were begun. Questions stand where they were answered, for a timeline is in order and others went on while they waited.
What failed, was refused or asked in vain is left out. A fault that somebody undid is ended by a step, or else after
the time that it lasted.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from lab.kinds.verbs import verb_of, verbs
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
    def undone(self) -> bool:
        """Whether somebody ended the fault by hand."""
        return bool(self.undone_by)


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
    origin, played = _sorted_out(events)
    added = [event.detail["added"] for event in events if event.what == "host" and "added" in event.detail]
    own = dict(enumerate(_without_later_hosts(tree, first, [str(one["host"]) for one in added])))
    for one in added:
        network = str(one.get("network") or "")
        tree["underlay"]["hosts"][str(one["host"])] = flow({"networks": {network: None}} if network else {})
    by_hand = any(move.asked is not None for move in played.values())
    last_own = max((move.begun for number, move in played.items() if move.asked is None), default=0)
    setup = all(verb_of(next(iter(step))).setup in ("up", "more") for step in own.values())
    steps: list[tuple[int, int, dict[str, Any], str]] = []
    kept = left_out = 0
    for number, move in sorted(played.items()):
        plain = own.get(number) if move.asked is None else move.asked
        verb = verb_of(move.what)
        watches = verb.setup == "watch"
        if plain is None or (move.asked is None and verb.only_time):
            continue
        if move.ok is False or (watches and move.ok is None):
            left_out += 1
            continue
        kept += move.asked is not None
        step = {key: value for key, value in plain.items() if key not in ("at", "on_failure")}
        at = (move.ended if watches and move.ended is not None else move.begun) - origin
        if move.undone and move.ended is not None:
            ending = _ending(step, number, played)
            if ending is None:
                step = _lasting(step, move.what, (move.ended - move.begun) // pace)
            else:
                step = {key: value for key, value in _without(step, move.what, "for").items() if key != "for"}
                then = {"at": format_duration(max(move.ended - origin, 0) // pace // _GRAIN * _GRAIN), **ending}
                steps.append((move.ended - origin, number, then, move.undone_by))
        if verb.file_data:
            step = _without(step, move.what, verb.file_data)
        timed = not watches and not (setup and move.asked is None)
        when = {"at": format_duration(max(at // pace, 0) // _GRAIN * _GRAIN)} if timed else {}
        steps.append((at if timed or watches else number - len(own), number, {**when, **step}, move.by))
    ended = max(now - origin, 0) // pace // _GRAIN * _GRAIN
    if by_hand and ended > max(last_own - origin, 0) // pace:
        steps.append((max(now - origin, 0), len(played), {"at": format_duration(ended), "wait": "0s"}, "the end"))
    tree["timeline"] = flow([])
    tree["timeline"].fa.set_block_style()
    for index, (_, _, step, by) in enumerate(sorted(steps, key=lambda each: each[:2])):
        tree["timeline"].append(flow(step))
        if by:
            tree["timeline"].yaml_add_eol_comment(clean(by), index)
    out = io.StringIO()
    editor(4096).dump(tree, out)
    text = out.getvalue()
    said = f"# Saved from a running lab after {format_duration(ended // UNITS['s'] * UNITS['s'])}: "
    said += f"{count(kept, 'step')} by hand.\n"
    first_line, newline, rest = text.partition("\n")
    text = f"{first_line}{newline}{said}{rest}" if first_line.startswith("#") else said + text
    return SavedSession(text, kept, left_out)


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

"""A session in a running lab as a scenario with its times: what was done by hand, when, and by whom. Pure.

Owns which steps of a session a scenario keeps, their order and their times. Changes stand at the time at which they
were begun. Questions stand where they were answered, for a timeline is in order and others went on while they waited.
What failed, was refused or asked in vain is left out; a fault that somebody undid ends after the time that it lasted.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from lab.kinds.verbs import verb_of
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
_FILES = {"trace": "data", "link": "table"}
"""What stands for the content of a file that a step names."""


class PlayedMove(Struct):
    """What a history says of one step."""

    begun: int
    what: str
    asked: dict[str, Any] | None = None
    by: str = ""
    ok: bool | None = None
    ended: int | None = None
    """When the question was answered, or the fault healed."""
    undone: bool = False
    """Somebody ended the fault by hand."""


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
    origin, played = _sorted_out(events)
    own = dict(enumerate(first))
    by_hand = any(move.asked is not None for move in played.values())
    last_own = max((move.begun for number, move in played.items() if move.asked is None), default=0)
    setup = all(verb_of(next(iter(step))).setup in ("up", "more") for step in own.values())
    steps: list[tuple[int, int, dict[str, Any], str]] = []
    kept = left_out = 0
    for number, move in sorted(played.items()):
        plain = own.get(number) if move.asked is None else move.asked
        verb = verb_of(move.what)
        watches = verb.setup == "watch"
        if plain is None or (move.asked is None and move.what == "wait"):
            continue
        if move.ok is False or (watches and move.ok is None):
            left_out += 1
            continue
        kept += move.asked is not None
        step = {key: value for key, value in plain.items() if key not in ("at", "on_failure")}
        at = (move.ended if watches and move.ended is not None else move.begun) - origin
        if move.undone and move.ended is not None:
            step = _lasting(step, move.what, (move.ended - move.begun) // pace)
        if name := _FILES.get(move.what):
            step = _without(step, move.what, name)
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
            move.undone = verb_of(event.what).lasts and bool(event.detail.get("by"))
    return origin, played


def _lasting(step: dict[str, Any], verb: str, lasted: int) -> dict[str, Any]:
    """The step with the time that its fault lasted."""
    return {**_without(step, verb, "for"), "for": format_duration(max(lasted // _GRAIN * _GRAIN, _GRAIN))}


def _without(step: dict[str, Any], verb: str, key: str) -> dict[str, Any]:
    """The step without something that is said to its verb."""
    body = step.get(verb)
    inner = {name: value for name, value in body.items() if name != key} if isinstance(body, Mapping) else body
    return {**step, verb: inner}

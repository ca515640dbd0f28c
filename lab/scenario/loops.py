"""Loops of a timeline, `repeat` and `for_each`: written out as plain steps before the model reads them.

Owns the form of a loop, its variable, the times of its rounds, the bound on the whole, and where in the file each
written-out step stands. Knows no verb: what is in a loop is checked like any other step, once it is written out. Pure.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from lab.scenario.base import ALL, Problem, Written, listed, show
from lab.scenario.check import nearest
from lab.scenario.values import format_duration, parse_duration

__all__ = ["LOOPS", "MOST", "SCHEMA", "WrittenOut", "inside_loops", "is_loop", "loop_keys", "write_out"]

Where = tuple[str | int, ...]

REPEAT, FOR_EACH = "repeat", "for_each"
LOOPS = (REPEAT, FOR_EACH)
MOST = 10_000
"""Steps of a timeline when its loops are written out."""
_DEEPEST = 8
_KEYS = {REPEAT: ("count", "every", "as", "steps"), FOR_EACH: ("as", "in", "every", "steps")}
_NEEDED = {REPEAT: ("count", "steps"), FOR_EACH: ("as", "in", "steps")}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_NOTHING = {"wait": Written(0, "0")}
"""Stands for a loop that cannot be written out, so that the rest can be checked."""


class WrittenOut(Struct, frozen=True):
    """A timeline without loops, and where each of its steps stands in the file."""

    steps: tuple[Any, ...]
    origins: tuple[Where, ...]
    problems: tuple[Problem, ...] = ()

    def in_file(self, where: Where) -> Where:
        """The place in the file of a place in the scenario without loops."""
        if where[:1] != ("timeline",) or len(where) < 2 or not isinstance(where[1], int):
            return where
        return (*self.origins[where[1]], *where[2:]) if where[1] < len(self.origins) else where


def write_out(timeline: Sequence[Any], hosts: Sequence[str]) -> WrittenOut:
    """The timeline without its loops; a loop with faults becomes a problem and a step that does nothing.

    `hosts` are those that patterns choose from.
    """
    steps: list[Any] = []
    origins: list[Where] = []
    problems: list[Problem] = []
    left = MOST
    scope = _Scope(tuple(hosts))
    for index, step in enumerate(timeline):
        where: Where = ("timeline", index)
        if not is_loop(step):
            steps.append(step)
            origins.append(where)
            left -= 1
            continue
        faults = list(_faults(step, where, scope))
        if not faults and (size := _size(step, scope)) > left:
            found = f"{size:,} steps when it is written out"
            most = f"at most {MOST:,} in the whole timeline"
            faults = [Problem((*where, _kind(step)), found, most, at_key=True)]
        if faults:
            problems += faults
            written: list[tuple[Any, Where]] = [(_NOTHING, where)]
        else:
            written = list(_write(step, where, scope, None))
        left -= len(written)
        steps += (one for one, _ in written)
        origins += (origin for _, origin in written)
    return WrittenOut(tuple(steps), tuple(origins), tuple(problems))


def inside_loops(where: Where) -> Where:
    """A place in the file as if the step in a loop stood in the timeline itself."""
    while where[:1] == ("timeline",) and len(where) > 4 and where[2] in LOOPS and where[3] == "steps":
        where = ("timeline", *where[4:])
    return where


def loop_keys(where: Where) -> tuple[str, ...]:
    """The keys that loops add at a place of the file."""
    where = inside_loops(where)
    if where[:1] == ("timeline",) and len(where) == 2:
        return LOOPS
    return _KEYS.get(str(where[2]), ()) if where[:1] == ("timeline",) and len(where) == 3 else ()


class _Scope(Struct, frozen=True):
    """What is known where a step stands."""

    hosts: tuple[str, ...]
    values: dict[str, Any] = {}
    """Of the variables of the loops around it."""
    names: tuple[str, ...] = ()
    """Of the same, where no value is known yet."""
    begun: int | None = None
    """When its round began, if that is known: its `at` counts from there."""
    timed: bool = True
    """Whether that can be known at all: outside of loops, and in loops with `at` and `every`."""
    depth: int = 0


def is_loop(step: Any) -> bool:
    """Whether a step of the file is a loop."""
    return isinstance(step, dict) and any(kind in step for kind in LOOPS)


def _kind(loop: Mapping[str, Any]) -> str:
    return REPEAT if REPEAT in loop else FOR_EACH


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Written) else value


def _text(value: Any) -> str:
    return value.text if isinstance(value, Written) else str(value)


def _duration(value: Any) -> int:
    """Nanoseconds; raises ValueError."""
    return 0 if _plain(value) == 0 and not isinstance(value, str) else parse_duration(_text(value).strip())


# --- what is wrong with a loop ------------------------------------------------------------------------------------


def _faults(loop: Mapping[str, Any], where: Where, scope: _Scope) -> Iterator[Problem]:
    kind = _kind(loop)
    for key in loop:
        if key not in (kind, "at"):
            yield Problem((*where, key), f"the key {key!r} next to `{kind}`", "`at`, or no other key", at_key=True)
    yield from _at_faults(loop, where, scope)
    body, place = loop[kind], (*where, kind)
    if not isinstance(body, dict):
        yield Problem(place, show(body), f"a mapping of {', '.join(_NEEDED[kind])}")
        return
    if scope.depth >= _DEEPEST:
        yield Problem(place, f"a loop in {_DEEPEST} others", f"at most {_DEEPEST} in each other", at_key=True)
        return
    for key in body:
        if key not in _KEYS[kind]:
            known = _KEYS[kind]
            found = f"the key {key!r}"
            yield Problem((*place, key), found, f"one of {', '.join(known)}", nearest(key, known), at_key=True)
    for key in _NEEDED[kind]:
        if key not in body:
            yield Problem(place, f"no {key!r}", f"the key {key!r}")
    if kind == REPEAT and "count" in body:
        count = _plain(body["count"])
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
            yield Problem((*place, "count"), show(body["count"]), f"a whole number from 1 to {MOST:,}")
    if "as" in body:
        yield from _name_faults(body["as"], (*place, "as"), scope)
    if kind == FOR_EACH and "in" in body:
        yield from _items_faults(body["in"], (*place, "in"), scope)
    if "every" in body:
        yield from _every_faults(loop, body["every"], (*place, "every"))
    steps = body.get("steps", (_NOTHING,))
    if not isinstance(steps, list | tuple) or not steps:
        yield Problem((*place, "steps"), show(steps) if steps else "no steps", "a list of at least one step")
        return
    names = (*scope.names, str(body["as"])) if "as" in body else scope.names
    timed = "at" in loop and "every" in body
    inner = _Scope(scope.hosts, names=names, timed=timed, depth=scope.depth + 1)
    for index, step in enumerate(steps):
        at = (*place, "steps", index)
        if is_loop(step):
            yield from _faults(step, at, inner)
        elif isinstance(step, dict):
            yield from _at_faults(step, at, inner)


def _at_faults(step: Mapping[str, Any], where: Where, scope: _Scope) -> Iterator[Problem]:
    """Of a loop's `at`, and of that of a step in a loop."""
    if "at" not in step:
        return
    if not scope.timed:
        expected = "`at` and `every` at the loop: `at` of a step in it counts from the start of each round"
        yield Problem((*where, "at"), "`at` in a loop whose rounds have no times", expected, at_key=True)
        return
    try:
        _duration(step["at"])
    except ValueError as error:
        yield Problem((*where, "at"), show(step["at"]), str(error).removeprefix("expected "))


def _every_faults(loop: Mapping[str, Any], every: Any, where: Where) -> Iterator[Problem]:
    if "at" not in loop:
        expected = "`at` next to the loop, from which the rounds count; or a `wait` among its steps"
        yield Problem(where, "`every` without `at`", expected, at_key=True)
    try:
        if _duration(every) == 0:
            yield Problem(where, show(every), "a duration above 0")
    except ValueError as error:
        yield Problem(where, show(every), str(error).removeprefix("expected "))


def _name_faults(name: Any, where: Where, scope: _Scope) -> Iterator[Problem]:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        yield Problem(where, show(name), "a name of letters, digits and _, as host (then $host stands in the steps)")
    elif name in scope.names:
        yield Problem(where, f"{name!r}, which a loop around it has", "a name of its own")


def _items_faults(items: Any, where: Where, scope: _Scope) -> Iterator[Problem]:
    if isinstance(items, str):
        if not _matching(items, scope.hosts):
            yield Problem(where, f"{items!r}, which no host matches", f"hosts: {listed(scope.hosts)}; or a list")
    elif not isinstance(items, list | tuple) or not items:
        found = show(items) if items else "an empty list"
        yield Problem(where, found, f"a list, `{ALL}`, or a pattern of host names as edge-*")
    else:
        for index, item in enumerate(items):
            if item is None or isinstance(item, list | tuple | dict):
                yield Problem((*where, index), show(item), "text or a number")


def _matching(pattern: str, hosts: Sequence[str]) -> list[str]:
    return [host for host in hosts if pattern == ALL or fnmatchcase(host, pattern)]


# --- writing a sound loop out -------------------------------------------------------------------------------------


def _rounds(body: Mapping[str, Any], kind: str, scope: _Scope) -> Sequence[Any]:
    """The value of the variable in each round."""
    if kind == REPEAT:
        return range(1, int(_plain(body["count"])) + 1)
    items = body["in"]
    return _matching(items, scope.hosts) if isinstance(items, str) else items


def _size(step: Any, scope: _Scope) -> int:
    if not is_loop(step):
        return 1
    kind = _kind(step)
    body = step[kind]
    return len(_rounds(body, kind, scope)) * sum(_size(one, scope) for one in body["steps"])


def _write(step: Any, where: Where, scope: _Scope, start: int | None) -> Iterator[tuple[Any, Where]]:
    """Every step that this one stands for, with its place. `start`: when it may begin, unless it says so itself."""
    at = None if not isinstance(step, dict) or "at" not in step else (scope.begun or 0) + _duration(step["at"])
    start = start if at is None else at
    if not is_loop(step):
        written = _put_in(step, scope.values)
        if start is not None and isinstance(written, dict):
            written = {**written, "at": format_duration(start)}
        yield written, where
        return
    kind = _kind(step)
    body = step[kind]
    every = _duration(body["every"]) if "every" in body else None
    for number, value in enumerate(_rounds(body, kind, scope)):
        values = scope.values
        if "as" in body:
            values = {**values, str(body["as"]): Written(value, str(value)) if kind == REPEAT else value}
        begun = start + number * every if start is not None and every is not None else None
        inner = _Scope(scope.hosts, values, begun=begun, depth=scope.depth + 1)
        first = start if not number else begun
        for index, one in enumerate(body["steps"]):
            yield from _write(one, (*where, kind, "steps", index), inner, first if not index else None)


def _put_in(value: Any, values: Mapping[str, Any]) -> Any:
    """A step with the values of the variables in it; a text that is a variable and no more becomes its value."""
    if isinstance(value, str):
        whole = _USE.fullmatch(value)
        if whole and whole[1] in values:
            return values[whole[1]]
        return _USE.sub(lambda use: _text(values[use[1]]) if use[1] in values else use[0], value) if values else value
    if isinstance(value, dict):
        return {key: _put_in(item, values) for key, item in value.items()}
    return tuple(_put_in(item, values) for item in value) if isinstance(value, list | tuple) else value


_STEPS = {"type": "array", "minItems": 1, "items": {"anyOf": [{"$ref": "#/$defs/Step"}, {"$ref": "#/$defs/Loop"}]}}
_DURATION = {"type": "string", "pattern": r"^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$", "examples": ["5s"]}
_NAME = {"type": "string", "pattern": rf"^{_VARIABLE.pattern}$"}
SCHEMA = {
    "description": "Steps that are written out several times before the scenario is played.",
    "type": "object",
    "additionalProperties": False,
    "oneOf": [{"required": [REPEAT]}, {"required": [FOR_EACH]}],
    "properties": {
        "at": {**_DURATION, "description": "When the first round begins."},
        REPEAT: {
            "description": "Rounds of the same steps, a number of times.",
            "type": "object",
            "additionalProperties": False,
            "required": list(_NEEDED[REPEAT]),
            "properties": {
                "count": {"description": "How many rounds.", "type": "integer", "minimum": 1, "maximum": MOST},
                "every": {**_DURATION, "description": "From the start of a round to that of the next; needs `at`."},
                "as": {**_NAME, "description": "A variable with the number of the round, from 1."},
                "steps": _STEPS,
            },
        },
        FOR_EACH: {
            "description": "A round of the same steps for each value of a variable.",
            "type": "object",
            "additionalProperties": False,
            "required": list(_NEEDED[FOR_EACH]),
            "properties": {
                "as": {**_NAME, "description": "The variable: `$name` in the steps stands for the value."},
                "in": {
                    "description": "The values, or a pattern of host names.",
                    "anyOf": [
                        {"type": "string", "examples": ["all", "edge-*"]},
                        {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}},
                    ],
                },
                "every": {**_DURATION, "description": "From the start of a round to that of the next; needs `at`."},
                "steps": _STEPS,
            },
        },
    },
}
"""`Loop` in the JSON schema of scenarios; `Step` is the model's."""

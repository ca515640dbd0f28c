"""YAML in, a validated and frozen `Scenario` out, or every problem of the file with its line and column.

Owns the wording of problems, what of a faulty file can still be checked, and the JSON schema. YAML itself is
`lab.scenario.yaml`'s, the model `lab.scenario.model`'s, rules between its parts `lab.scenario.check`'s, notes are
`lab.scenario.notes`'. Starts nothing.
"""

import hashlib
import io
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from pydantic import ValidationError

from lab.kinds.checkers import CHECKERS
from lab.kinds.verbs import VERBS
from lab.named_file import read_named
from lab.registry import Registry
from lab.scenario.base import Problem, Written, frozen, listed, model_of, options_of, show
from lab.scenario.check import check, nearest
from lab.scenario.files import with_files
from lab.scenario.link_files import with_link_files
from lab.scenario.loops import SCHEMA, WrittenOut, inside_loops, is_loop, loop_keys, write_out
from lab.scenario.model import Scenario, UnderlayModel, scenario_model
from lab.scenario.notes import notes_on
from lab.scenario.resolve import Resolved, host_names, resolve
from lab.scenario.steps import step_model
from lab.scenario.yaml import Diagnostic, locate, read_yaml
from overlay.clean import LINES, clean

__all__ = [
    "Diagnostic",
    "Reading",
    "Scenario",
    "ScenarioError",
    "json_schema",
    "load",
    "load_resolved",
    "one_more",
    "parse",
    "question",
    "read",
]

LONGEST_NAME = 63
"""Of a scenario, which is also its lab's (at most 64) and a directory's."""

_PRUNABLE = {"underlay": 4, "services": 3}
"""How long the path to a faulty value must be for the rest to make sense without it."""

_STEP = re.compile(r"timeline\[(\d{1,6})\]")

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "string_too_short": "some text",
}


class ScenarioError(Exception):
    """The file is not a scenario; `problems` says why, all of it. Its text has one line per problem."""

    def __init__(self, file: str, problems: list[Diagnostic]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        lines = [f"{file}:{p.line}:{p.column}: {p}" for p in self.problems]
        super().__init__(clean("\n".join(lines), keep=LINES))


class Reading(Struct, frozen=True):
    """A file read as far as it goes: all that is wrong with it and all that is worth knowing, with places."""

    file: str
    scenario: Scenario | None
    """The whole scenario, or, next to problems, what is left of it without its faulty parts; None: too little."""
    resolved: Resolved | None
    """The concrete form of that."""
    problems: tuple[Diagnostic, ...]
    notes: tuple[Diagnostic, ...] = ()
    tree: Any = None
    loops: WrittenOut = WrittenOut((), ())

    def refused(self, reason: str) -> Diagnostic:
        """A backend's sentence, which may begin with a path (`timeline[3].exec: …`), with its place in the file."""
        head, colon, text = reason.partition(": ")
        if step := _STEP.match(head):  # backends know the timeline without its loops
            head = dotted(self.loops.in_file(("timeline", int(step[1])))) + head[step.end() :]
        where = _path(self.tree, head) if colon else ()
        return Diagnostic(*locate(self.tree, where), head if where else "", text if where else reason)

    def told(self, found: Diagnostic, word: str = "") -> str:
        """One line: file, line, column, what."""
        return clean(f"{self.file}:{found.line}:{found.column}: {word}{found}", keep=LINES)


def load(path: Path) -> Scenario:
    """The scenario of a file; raises `ScenarioError`, also when it cannot be read. A missing name is the file's."""
    return parse(text_of(path), str(path))


def parse(text: str, file: str = "scenario") -> Scenario:
    """The scenario of a text; raises `ScenarioError`."""
    _, scenario, problems, _, _ = _checked(text, file)
    if scenario is None or problems:
        raise ScenarioError(file, problems)
    return scenario


def load_resolved(path: Path, seed: int | None = None, *, text: str | None = None) -> Resolved:
    """The concrete form of a file's scenario; raises `ScenarioError`. `text`: what it holds, if that was read."""
    found = read(path, seed, text=text)
    if found.resolved is None or found.problems:
        raise ScenarioError(str(path), list(found.problems))
    return found.resolved


def read(path: Path, seed: int | None = None, *, text: str | None = None) -> Reading:
    """All that is to be said of a file. Raises `ScenarioError` only when it cannot be read."""
    text, file = text_of(path) if text is None else text, str(path)
    tree, scenario, problems, notes, loops = _checked(text, file)
    ordered = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    name, shortened = _name_of(path)
    if scenario is None:
        return Reading(file, None, None, ordered, tuple(notes), tree, loops)
    if shortened and scenario.name is None:
        notes = [Diagnostic(1, 1, "name", shortened), *notes]
    said = tuple(str(note) for note in notes)
    resolved = resolve(scenario, file=file, name=name, question=question(text), seed=seed, notes=said)
    return Reading(file, scenario, resolved, ordered, tuple(notes), tree, loops)


def one_more(scenario: Scenario, step: dict[str, Any]) -> tuple[Scenario, list[str]]:
    """A sound scenario with one more step at its end, and what is wrong with that step: then it is as it was."""
    place = ("timeline", len(scenario.timeline))
    read, unread = with_link_files({"timeline": (frozen(step),)}, Path.cwd())
    if unread:
        return scenario, [str(Diagnostic(0, 0, dotted(problem.where[2:]), problem.said)) for problem in unread]
    step = read["timeline"][0]
    try:
        found = step_model([step]).model_validate(step)
    except ValidationError as error:
        plain = {"timeline": {place[1]: step}}
        faults = [_problem(plain, {**item, "loc": (*place, *item["loc"])}) for item in error.errors(include_url=False)]
    else:
        longer = scenario.model_copy(update={"timeline": (*scenario.timeline, found)})
        faults = [problem for problem in check(longer) if problem.where[:2] == place]
        if not faults:
            return longer, []
    return scenario, [str(Diagnostic(0, 0, dotted(problem.where[2:]), problem.said)) for problem in faults]


def text_of(path: Path) -> str:
    """What a file holds; raises `ScenarioError`. Once for each command: a pipe cannot be read again."""
    try:
        return io.StringIO(read_named(path).decode("utf-8-sig"), newline=None).read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ScenarioError(
            str(path), [Diagnostic(1, 1, "", f"found no readable file ({reason}), expected a scenario")]
        ) from None


def _name_of(path: Path) -> tuple[str, str]:
    """The name that a file gives its scenario, and a note if it had to be shortened: a lab's name ends at 64."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", path.name.partition(".")[0]).strip("-.")
    if len(name) <= LONGEST_NAME:
        return name, ""
    mark = hashlib.sha256(name.encode()).hexdigest()[:6]
    short = f"{name[: LONGEST_NAME - 7].strip('-.')}-{mark}"
    return short, f"the file's name has {len(name)} characters, and a lab's at most 64: it is called {short}"


def _checked(text: str, file: str) -> tuple[Any, Scenario | None, list[Diagnostic], list[Diagnostic], WrittenOut]:
    """Tree, scenario (without its faulty parts, if that makes sense), problems, notes and timeline of a text."""
    found = read_yaml(text)
    problems, plain = list(found.problems), found.plain
    if not isinstance(plain, dict):
        if not problems:
            what = "nothing" if plain is None else show(plain)
            said = f"found {what}, expected a scenario: a mapping with version, underlay, services and timeline"
            problems.append(Diagnostic(1, 1, "", said))
        return found.tree, None, problems, [], WrittenOut((), ())

    plain, missing, notes = with_files(plain, Path(file).parent)
    plain, loops = _without_loops(plain)
    plain, unread = with_link_files(plain, Path(file).parent)
    problems += (_found(found.tree, problem) for problem in (*missing, *loops.problems))
    told_in_loops = set[tuple[int, int, str]]()

    def placed(problem: Problem) -> Iterator[Diagnostic]:
        """The problem where it stands in the file; what is wrong in each round of a loop is told once."""
        where = loops.in_file(problem.where)
        one = _found(found.tree, replace(problem, where=where))
        key = (one.line, one.column, one.path)
        if where == problem.where or key not in told_in_loops:
            told_in_loops.add(key)
            yield one

    problems += (one for problem in unread for one in placed(problem))
    scenario, faults = _validate(plain)
    told_already = {(problem.line, problem.column) for problem in found.problems}
    seen = (one for fault in faults for one in placed(fault))
    problems += (one for one in seen if (one.line, one.column) not in told_already)
    if any(problem.where[:2] in (("underlay", "file"), ("underlay", "generate")) for problem in missing):
        scenario = None  # without its hosts nothing else of it makes sense
    if scenario is not None:
        if more := check(scenario):
            problems += (one for problem in more for one in placed(problem))
            scenario = _sound_part(plain, [*faults, *more])
        if scenario is not None:
            notes = [*notes, *notes_on(scenario)]
    places = [(loops.in_file(note.where), note.text) for note in notes]
    told = [Diagnostic(*locate(found.tree, where), dotted(where), text) for where, text in dict.fromkeys(places)]
    return found.tree, scenario, problems, told, loops


def _without_loops(plain: dict[str, Any]) -> tuple[dict[str, Any], WrittenOut]:
    """The scenario with the loops of its timeline written out."""
    timeline = plain.get("timeline")
    if not isinstance(timeline, tuple):
        return plain, WrittenOut((), ())
    hosts: tuple[str, ...] = ()
    try:
        if any(map(is_loop, timeline)):
            hosts = host_names(UnderlayModel.model_validate(plain.get("underlay")))
    except ValidationError:
        pass  # what is wrong there is told in its place
    loops = write_out(timeline, hosts)
    return {**plain, "timeline": loops.steps}, loops


def _sound_part(plain: dict[str, Any], problems: list[Problem]) -> Scenario | None:
    """What is left without faulty parts, if there is nothing wrong with that."""
    try:
        rest = scenario_model().model_validate(_pruned(plain, problems))
    except (ValidationError, LookupError):
        return None
    return None if check(rest) else rest


def question(text: str) -> str:
    """The question that a scenario answers: its first comment line."""
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").strip()
        if line.strip():
            break
    return ""


def json_schema() -> str:
    """The JSON schema of scenario files, for editors; ends with a newline."""
    schema = scenario_model().model_json_schema(by_alias=True, mode="validation")
    schema["$defs"]["Loop"] = SCHEMA
    schema["properties"]["timeline"] |= {"items": {"anyOf": [{"$ref": "#/$defs/Step"}, {"$ref": "#/$defs/Loop"}]}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "overlay-lab scenario"}
    return json.dumps({**schema, **head}, indent=2, sort_keys=True) + "\n"


def _validate(plain: dict[str, Any]) -> tuple[Scenario | None, list[Problem]]:
    """The model, and what is wrong with the shape. With faults it is the model of what is left without the faulty
    parts (so that the rest can be checked too), or None when too little is left."""
    timeline = plain.get("timeline")
    try:
        return scenario_model(timeline if isinstance(timeline, tuple) else ()).model_validate(plain), []
    except ValidationError as error:
        problems = [_problem(plain, dict(item)) for item in error.errors(include_url=False)]
    try:
        return scenario_model().model_validate(_pruned(plain, problems)), problems
    except (ValidationError, LookupError):
        return None, problems


def _pruned(plain: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """A copy without the faulty values; raises LookupError where nothing sensible would be left."""
    copy: dict[str, Any] = _copy(plain)
    for problem in problems:
        where = problem.where
        if where[:1] == ("timeline",) and len(where) > 1:
            copy["timeline"][where[1]] = {"wait": 0}
            continue
        if len(where) < (1 if problem.at_key else _PRUNABLE.get(str(where[0]), 2)):
            raise LookupError
        parent: Any = copy
        for key in where[:-1]:
            parent = parent[key]
        if not isinstance(parent, dict):
            raise LookupError
        parent.pop(where[-1], None)
    copy["timeline"] = tuple(copy["timeline"]) if isinstance(copy.get("timeline"), list) else copy.get("timeline")
    return copy


def _copy(value: Any) -> Any:
    """A copy whose mappings can be changed, and its timeline too."""
    if isinstance(value, dict):
        return {
            key: list(item) if key == "timeline" and isinstance(item, tuple) else _copy(item)
            for key, item in value.items()
        }
    return value


def _problem(plain: Any, error: dict[str, Any]) -> Problem:
    """Pydantic's error in our words."""
    where = tuple(key for key in error["loc"] if key != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    at_key = "[key]" in error["loc"]
    if kind == "extra_forbidden":
        words, key = _keys_at(where[:-1]), str(where[-1])
        hint = _unusable(where) or nearest(key, words)
        return Problem(where, f"the key {where[-1]!r}", f"one of {listed(words, 50)}", hint, True)
    if kind == "missing":
        return Problem(where[:-1], f"no {where[-1]!r}", f"the key {where[-1]!r}")
    found = context.get("found") or show(_written(plain, where) or error["input"])
    if kind == "literal_error":
        words = [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")]
        return Problem(where, found, context["expected"], nearest(str(error["input"]), words))
    if kind == "value":
        return Problem(where, found, context["expected"], at_key=at_key)
    expected = _EXPECTED.get(kind) or error["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return Problem(where, found, expected, at_key=at_key)


def _unusable(where: tuple[str | int, ...]) -> str:
    """Why a verb or a condition of another package that stands here cannot be used; empty: there is none."""
    sorts: dict[int, Registry[Any]] = {3: VERBS, 4: CHECKERS}
    registry = sorts.get(len(where)) if where[0] == "timeline" else None
    return registry.why_not(str(where[-1])) if registry is not None else ""


def _written(plain: Any, where: tuple[str | int, ...]) -> Any:
    """The scalar at a place as the file has it; None where there is none (a short form has no such place)."""
    for key in where:
        try:
            plain = plain[key]
        except (TypeError, LookupError):
            return None
    return plain if isinstance(plain, Written) else None


def _keys_at(where: tuple[str | int, ...]) -> list[str]:
    """The keys that the model knows at a place."""
    kind: Any = scenario_model()
    for key in inside_loops(where):
        kind = _inner(kind, key)
    model = model_of(kind)
    own = [field.alias or name for name, field in model.model_fields.items()] if model else []
    return [*own, *loop_keys(where)]


def _inner(kind: Any, key: str | int) -> Any:
    model = model_of(kind)
    if model is not None:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        return fields[str(key)].annotation if key in fields else None
    for option in options_of(kind):
        arguments = typing.get_args(option)
        if typing.get_origin(option) is dict:
            return arguments[1]
        if typing.get_origin(option) is tuple:
            return arguments[0]
    return None


def _found(tree: Any, problem: Problem) -> Diagnostic:
    """A problem with its place in the file."""
    return Diagnostic(*locate(tree, problem.where, at_key=problem.at_key), dotted(problem.where), problem.said)


def dotted(where: tuple[str | int, ...]) -> str:
    """A place as it is written in messages: `timeline[3].kill`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where).removeprefix(".")


def _path(tree: Any, text: str) -> tuple[str | int, ...]:
    """The place that `dotted` wrote as `text`, as far as the tree has it; names have dots in them. Empty: none."""
    words = re.sub(r"\[(\d+)\]", r".\1", text).split(".")
    where: list[str | int] = []
    while words:
        if isinstance(tree, list):
            key: str | int = int(words[0]) if words[0].isdecimal() and int(words[0]) < len(tree) else ""
            used = 1
        elif isinstance(tree, dict):
            names = ((".".join(words[:count]), count) for count in range(len(words), 0, -1))
            key, used = next(((name, count) for name, count in names if name in tree), ("", 0))
        else:
            break
        if key == "":
            break
        where.append(key)
        tree, words = tree[key], words[used:]
    return tuple(where)

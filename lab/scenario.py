"""YAML in, a validated and frozen `Scenario` out, or every problem of the file with its line and column.

Owns reading (positions, duplicate keys, limits against hostile files), the wording of problems and the JSON schema.
The model is in `lab.scenario_model`, rules between its parts in `lab.scenario_check`. Starts nothing.
"""

import io
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from lab.scenario_base import Problem
from lab.scenario_check import check, listed, nearest
from lab.scenario_files import with_files
from lab.scenario_model import Scenario
from lab.topology import Resolved, resolve

__all__ = ["Found", "Scenario", "ScenarioError", "json_schema", "load", "load_resolved", "parse", "question"]

_LIMIT = 200_000
"""Values in one file; more is an alias bomb, not a scenario."""

_PRUNABLE = {"underlay": 4, "services": 3}
"""How long the path to a faulty value must be for the rest to make sense without it."""

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


class Found(Struct, frozen=True):
    """One problem with its place in the file; lines and columns count from 1."""

    line: int
    column: int
    path: str
    text: str


class ScenarioError(Exception):
    """The file is not a scenario; `problems` says why, all of it. Its text has one line per problem."""

    def __init__(self, file: str, problems: list[Found]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__("\n".join(f"{file}:{p.line}:{p.column}: {_prefix(p.path)}{p.text}" for p in self.problems))


def load(path: Path) -> Scenario:
    """The scenario of a file; raises `ScenarioError`, also when it cannot be read. A missing name is the file's."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ScenarioError(
            str(path), [Found(1, 1, "", f"found no readable file ({reason}), expected a scenario")]
        ) from None
    return parse(text, str(path))


def parse(text: str, file: str = "scenario") -> Scenario:
    """The scenario of a text; raises `ScenarioError`."""
    try:
        tree = YAML(typ="rt").load(io.StringIO(text))
        plain = _Plainer().plain(tree)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = " ".join(str(error.problem or error.context or "no YAML").split())
        raise ScenarioError(file, [Found(line, column, "", f"found no valid YAML: {problem}")]) from None
    except (
        YAMLError,
        ValueError,
        RecursionError,
        TypeError,
        AttributeError,
        KeyError,
        OverflowError,
        AssertionError,
    ) as error:
        # The YAML library lets some of these escape on malformed tags, numbers and dates.
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise ScenarioError(file, [Found(1, 1, "", f"found no valid YAML: {reason or type(error).__name__}")]) from None
    except _Refused as error:
        raise ScenarioError(file, [Found(*error.place, "", error.text)]) from None
    if not isinstance(plain, dict):
        found = "nothing" if plain is None else _show(plain)
        text = f"found {found}, expected a scenario: a mapping with version, underlay, services and timeline"
        raise ScenarioError(file, [Found(1, 1, "", text)])
    plain, missing = with_files(plain, Path(file).parent)
    if missing:
        raise ScenarioError(file, [_found(tree, problem) for problem in missing])
    scenario, problems = _validate(plain)
    if scenario is not None:
        problems = [*problems, *check(scenario)]
    if scenario is None or problems:
        raise ScenarioError(file, [_found(tree, problem) for problem in problems])
    return scenario


def load_resolved(path: Path, seed: int | None = None) -> Resolved:
    """The concrete form of a file's scenario; raises `ScenarioError`."""
    scenario = load(path)
    asked = question(path.read_text(encoding="utf-8"))
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", path.name.partition(".")[0]).strip("-.")
    return resolve(scenario, file=str(path), name=name, question=asked, seed=seed)


def question(text: str) -> str:
    """The question that a scenario answers: its first comment line."""
    for line in text.splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").strip()
        if line.strip():
            break
    return ""


def json_schema() -> str:
    """The JSON schema of scenario files, for editors; ends with a newline."""
    schema = Scenario.model_json_schema(by_alias=True, mode="validation")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "overlay-lab scenario"}
    return json.dumps({**schema, **head}, indent=2, sort_keys=True) + "\n"


def _validate(plain: dict[str, Any]) -> tuple[Scenario | None, list[Problem]]:
    """The model, and what is wrong with the shape. With faults it is the model of what is left without the faulty
    parts (so that the rest can be checked too), or None when too little is left."""
    try:
        return Scenario.model_validate(plain), []
    except ValidationError as error:
        problems = [_problem(plain, dict(item)) for item in error.errors(include_url=False)]
    try:
        return Scenario.model_validate(_pruned(plain, problems)), problems
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
        words = _keys_at(where[:-1])
        return Problem(
            where, f"the key {where[-1]!r}", f"one of {listed(words, 30)}", nearest(str(where[-1]), words), True
        )
    if kind == "missing":
        return Problem(where[:-1], f"no {where[-1]!r}", f"the key {where[-1]!r}")
    found = context.get("found") or _show(error["input"])
    if kind == "literal_error":
        words = [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")]
        return Problem(where, found, context["expected"], nearest(str(error["input"]), words))
    if kind == "value":
        return Problem(where, found, context["expected"], at_key=at_key)
    expected = _EXPECTED.get(kind) or error["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return Problem(where, found, expected, at_key=at_key)


def _keys_at(where: tuple[str | int, ...]) -> list[str]:
    """The keys that the model knows at a place."""
    kind: Any = Scenario
    for key in where:
        kind = _inner(kind, key)
    model = _model(kind)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _inner(kind: Any, key: str | int) -> Any:
    model = _model(kind)
    if model is not None:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        return fields[str(key)].annotation if key in fields else None
    for option in _options(kind):
        arguments = typing.get_args(option)
        if typing.get_origin(option) is dict:
            return arguments[1]
        if typing.get_origin(option) is tuple:
            return arguments[0]
    return None


def _options(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) is typing.Annotated:
        return _options(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(option for part in typing.get_args(kind) for option in _options(part))
    return (kind,)


def _model(kind: Any) -> type[BaseModel] | None:
    models = (option for option in _options(kind) if isinstance(option, type) and issubclass(option, BaseModel))
    return next(models, None)


def _found(tree: Any, problem: Problem) -> Found:
    """Where a problem stands in the file: as deep as the file goes along its path."""
    line, column = 0, 0
    node, steps = tree, list(problem.where)
    for depth, key in enumerate(steps):
        place = _position(node, key, at_key=problem.at_key and depth == len(steps) - 1)
        if place is None:
            break
        line, column = place
        node = node[key]
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in problem.where).removeprefix(".")
    hint = f"; {problem.hint}" if problem.hint else ""
    return Found(line + 1, column + 1, path, f"found {problem.found}, expected {problem.expected}{hint}")


def _position(node: Any, key: str | int, *, at_key: bool) -> tuple[int, int] | None:
    try:
        if isinstance(node, CommentedMap):
            line, column = node.lc.key(key) if at_key else node.lc.value(key)
        elif isinstance(node, CommentedSeq):
            line, column = node.lc.item(key)
        else:
            return None
    except (KeyError, TypeError, AttributeError, IndexError):
        # A key merged in from an anchor has no place of its own.
        return None
    return line, column


def _prefix(path: str) -> str:
    return f"{path}: " if path else ""


def _show(value: Any) -> str:
    """A value as it may stand in a message."""
    if isinstance(value, dict):
        return f"a mapping of {listed(map(str, value), 4)}" if value else "an empty mapping"
    if isinstance(value, tuple):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


class _Refused(Exception):
    """YAML that is valid but means nothing in a scenario."""

    def __init__(self, place: tuple[int, int], text: str) -> None:
        super().__init__(text)
        self.place = (place[0] + 1, place[1] + 1)
        self.text = text


class _Plainer:
    """Turns the YAML library's types into plain ones: lists as tuples, text, numbers, booleans, None."""

    def __init__(self) -> None:
        self._left = _LIMIT
        self._open: list[int] = []

    def plain(self, node: Any, place: tuple[int, int] = (0, 0)) -> Any:
        """The plain form; raises `_Refused` for cycles, bombs, tags and keys that are no text."""
        self._left -= 1
        if self._left < 0:
            raise _Refused(place, f"found more than {_LIMIT} values, expected a scenario")
        if isinstance(node, CommentedMap | CommentedSeq):
            if id(node) in self._open:
                raise _Refused(place, "found an alias inside of its own anchor, expected no cycles")
            self._open.append(id(node))
            value = self._mapping(node) if isinstance(node, CommentedMap) else self._sequence(node)
            self._open.pop()
            return value
        return self._scalar(node, place)

    def _mapping(self, node: CommentedMap) -> dict[str, Any]:
        value = {}
        for key, item in node.items():
            place = _position(node, key, at_key=False) or (node.lc.line, node.lc.col)
            if not isinstance(key, str):
                shown = _show(key) if isinstance(key, bool | int | float | None) else type(key).__name__
                raise _Refused(place, f"found the key {shown}, expected text as a key")
            value[str(key)] = self.plain(item, place)
        return value

    def _sequence(self, node: CommentedSeq) -> tuple[Any, ...]:
        return tuple(
            self.plain(item, _position(node, index, at_key=False) or (0, 0)) for index, item in enumerate(node)
        )

    def _scalar(self, node: Any, place: tuple[int, int]) -> Any:
        if node is None or isinstance(node, bool):
            return node
        if isinstance(node, ScalarBoolean):
            return bool(node)
        if isinstance(node, TaggedScalar):
            raise _Refused(place, f"found the tag {node.tag.value}, expected plain YAML")
        for kind in (str, int, float):
            if isinstance(node, kind):
                return kind(node)
        raise _Refused(
            place, f"found a value of type {type(node).__name__}, expected text, a number, a list or a mapping"
        )

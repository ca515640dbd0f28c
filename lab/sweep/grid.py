"""The runs of a sweep: `--set PATH=V1,V2` and `--seeds`, and scenario files with values put in. Pure.

Owns the paths: they address the scenario's YAML (`probes.0.every`, `underlay.links.default.loss`), with two short
forms, `topology.X` for `underlay.generate.X` and `overlay.X` for `overlay.options.X`. A path is checked against the
scenario's model before anything starts. Values are checked by `lab.scenario.load`, like all values.
"""

import io
import itertools
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import Struct
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from lab.errors import LabError
from lab.kinds.overlays import DEFAULT, OVERLAYS
from lab.scenario.base import listed
from lab.scenario.check import nearest
from lab.scenario.files import portable
from lab.scenario.load import ScenarioError, parse
from lab.scenario.load import _keys_at as keys_at
from lab.scenario.resolve import Resolved, resolve
from lab.scenario.yaml import editor

__all__ = ["Assignment", "Setting", "Variant", "assignments", "parse_seeds", "parse_set", "variant_text", "variants"]

MOST_SEEDS = 1_000_000
_OPENING, _CLOSING = "([{", ")]}"


class Setting(Struct, frozen=True):
    """One parameter of a sweep: its path in the scenario, as typed, and its values as typed."""

    path: str
    values: tuple[str, ...]


Assignment = tuple[tuple[str, str], ...]
"""One value for each parameter: (path, value) in the order of the settings."""


class Variant(Struct, frozen=True, kw_only=True):
    """The scenario with the values of one assignment: the file's text, and the checked scenario."""

    assignment: Assignment
    text: str
    digest: str
    """Digest of the scenario's meaning, independent of file name and comments."""
    scenario: Resolved


def parse_set(text: str) -> Setting:
    """Parse `topology.hosts=8,16` into a setting; raises `LabError`. Commas inside brackets do not separate."""
    path, equals, values = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise LabError(f"--set {text}: expected PATH=VALUE,VALUE as topology.hosts=8,16")
    found = tuple(value.strip() for value in _split(values))
    if not all(found):
        raise LabError(f"--set {text}: expected a value before and after each comma")
    twice = [value for index, value in enumerate(found) if value in found[:index]]
    if twice:
        raise LabError(f"--set {text}: {twice[0]} is there twice")
    return Setting(path, found)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse `200` into seeds 1 to 200, `1-50,77` into those; in order, without duplicates. Raises `LabError`."""
    text = text.strip()
    if re.fullmatch(r"\d+", text):
        count = int(text)
        if not 1 <= count <= MOST_SEEDS:
            raise LabError(f"--seeds {text}: expected a number of seeds from 1 to {MOST_SEEDS:,}")
        return tuple(range(1, count + 1))
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= 1 << 63:
            raise LabError(f"--seeds {text}: expected a number of seeds as 200, or seeds as 1-50,77")
        if last - first >= MOST_SEEDS or len(seeds) > MOST_SEEDS:
            raise LabError(f"--seeds {text}: more than {MOST_SEEDS:,} seeds")
        seeds |= dict.fromkeys(range(first, last + 1))
    return tuple(seeds)


def assignments(settings: Sequence[Setting]) -> list[Assignment]:
    """Every combination of the values; the last parameter varies fastest. Raises `LabError` for a duplicate path."""
    paths = [setting.path for setting in settings]
    for path in paths:
        if paths.count(path) > 1:
            raise LabError(f"--set {path} is there twice; give all its values at once, as {path}=1,2")
    choices = [[(setting.path, value) for value in setting.values] for setting in settings]
    return list(itertools.product(*choices))


def variants(
    text: str,
    settings: Sequence[Setting],
    *,
    file: str,
    name: str,
    question: str,
    rows: Sequence[Assignment] | None = None,
) -> list[Variant]:
    """The scenario once per assignment, each checked; raises `LabError` that names every wrong path and value.

    `rows` are the assignments; None: every combination of the settings' values.

    `text` must be a valid scenario, `file` is its path. `name` and `question` are those of the original file, because
    variants have none.
    """
    wrong = [problem for setting in settings if (problem := _misplaced(text, setting.path))]
    if wrong:
        raise LabError("\n".join(wrong))
    problems: dict[str, None] = {}
    found = []
    for assignment in assignments(settings) if rows is None else rows:
        try:
            changed = variant_text(text, assignment, name, Path(file).parent)
            scenario = parse(changed, file)
        except ScenarioError as error:
            problems |= dict.fromkeys(_explained(error, assignment))
            continue
        resolved = resolve(scenario, name=name, question=question)
        found.append(Variant(assignment=assignment, text=changed, digest=_digest(resolved), scenario=resolved))
    if problems:
        raise LabError("\n".join(problems))
    return found


def full_path(path: str, tree: Any) -> tuple[str | int, ...]:
    """The place in the file that a path addresses: keys and indexes."""
    words = re.sub(r"\[(\d+)\]", r".\1", path).split(".")
    if words[0] == "topology":
        words[:1] = ["underlay", "generate"]
    elif words[0] == "overlay" and len(words) > 1 and words[1] not in keys_at(("overlay",)):
        words[1:1] = ["options"]
    where: list[str | int] = []
    node = tree
    while words:
        key, used = _key(node, words)
        where.append(key)
        words = words[used:]
        node = node[key] if _holds(node, key) else None
    return tuple(where)


def _key(node: Any, words: list[str]) -> tuple[str | int, int]:
    """The next key, and its number of words, because names of hosts contain dots."""
    if isinstance(node, CommentedSeq):
        return (int(words[0]) if words[0].isdecimal() else words[0]), 1
    if isinstance(node, CommentedMap):
        for count in range(len(words), 1, -1):
            if ".".join(words[:count]) in node:
                return ".".join(words[:count]), count
    return words[0], 1


def _holds(node: Any, key: str | int) -> bool:
    if isinstance(node, CommentedMap):
        return key in node
    return isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node)


def _misplaced(text: str, path: str) -> str:
    """The error of a path: empty, or a sentence with the nearest valid word."""
    tree = _tree(text)
    where = full_path(path, tree)
    if where[:2] == ("underlay", "generate") and "generate" not in (tree.get("underlay") or {}):
        return f"--set {path}: the scenario has no underlay.generate; it names its hosts one by one"
    if where in (("seed",), ("version",), ("name",)):
        return f"--set {path}: a sweep does not change it" + ("; use --seeds" if where == ("seed",) else "")
    node: Any = tree
    for depth, key in enumerate(where):
        if isinstance(node, CommentedSeq):
            if not isinstance(key, int) or key >= len(node):
                return f"--set {path}: found {key!r}, expected a number from 0 to {len(node) - 1}"
        elif depth and where[:depth] == ("overlay", "options"):
            kind = str(_mapping(tree.get("overlay")).get("kind", DEFAULT))
            words = list(OVERLAYS.get(kind).options())
            if str(key).replace("_", "-") not in words:
                return _unknown(path, str(key), words)
        else:
            known = keys_at(where[:depth])
            if known and key not in known:
                return _unknown(path, str(key), [*known, *(("topology",) if depth == 0 else ())])
            if not known and not _open(where[:depth]):
                names = list(node) if isinstance(node, CommentedMap) else []
                if key not in names:
                    return _unknown(path, str(key), names)
        node = node[key] if _holds(node, key) else None
    return ""


def _open(where: tuple[str | int, ...]) -> bool:
    """Whether a mapping takes any key: links between hosts, environments of services."""
    return where == ("underlay", "links") or (where[:1] == ("services",) and where[2:] == ("env",))


def _unknown(path: str, word: str, words: Sequence[str]) -> str:
    hint = nearest(word, words)
    known = f"expected one of {listed(words, 40)}" if words else "there is nothing of that kind in this scenario"
    return f"--set {path}: found {word!r}, {known}" + (f"; {hint}" if hint else "")


def variant_text(text: str, assignment: Assignment, name: str, folder: Path) -> str:
    """The file with the values put in, adapted to another folder; comments are kept."""
    tree = portable(text, name, folder)
    for path, value in assignment:
        *parents, last = full_path(path, tree)
        node = tree
        for key in parents:
            if not _holds(node, key) or not isinstance(node[key], CommentedMap | CommentedSeq):
                # A short form (`overlay: weave`), or no value yet.
                node[key] = _mapping(node[key] if _holds(node, key) else None)
            node = node[key]
        node[last] = _value(path, value)
    out = io.StringIO()
    editor(4096).dump(tree, out)
    return out.getvalue()


def _mapping(value: Any) -> CommentedMap:
    if isinstance(value, CommentedMap):
        return value
    return CommentedMap() if value is None else CommentedMap({"kind": value})


def _tree(text: str) -> CommentedMap:
    tree = editor(4096).load(io.StringIO(text))
    assert isinstance(tree, CommentedMap), "the scenario was checked before"
    return tree


def _value(path: str, text: str) -> Any:
    try:
        return editor(4096).load(io.StringIO(text))
    except YAMLError:
        raise LabError(f"--set {path}={text}: found no valid YAML") from None


def _explained(error: ScenarioError, assignment: Assignment) -> list[str]:
    """A variant's errors by the setting that causes them; line numbers are dropped, because the user did not write the
    file."""
    said = []
    for problem in error.problems:
        mine = next((item for item in assignment if _tail(item[0]) == problem.path.rpartition(".")[2]), None)
        if mine is not None:
            said.append(f"--set {mine[0]}={mine[1]}: {problem.text}")
        else:
            with_ = " ".join(f"{path}={value}" for path, value in assignment)
            said.append(f"with {with_}: {problem.path + ': ' if problem.path else ''}{problem.text}")
    return said


def _tail(path: str) -> str:
    return path.rpartition(".")[2]


def _digest(scenario: Resolved) -> str:
    """Twelve hex digits of a hash of the resolved scenario without its seed, file and texts."""
    import msgspec

    meaning = scenario.recorded()
    for key in ("seed", "file", "question"):
        del meaning[key]
    return sha256(msgspec.json.encode(meaning, order="sorted")).hexdigest()[:12]


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += letter
    return parts

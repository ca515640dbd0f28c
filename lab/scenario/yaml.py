"""YAML text in, plain values out (lists as tuples, every number with the text that stands for it), and every fault of
the text with its line and column.

Owns positions, duplicate keys and limits against hostile files. Knows nothing of what a scenario is.
"""

import io
from typing import Any

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from lab.scenario.base import Written, show
from overlay.clean import clean

__all__ = ["Diagnostic", "Text", "bare", "editor", "flow", "locate", "read_yaml"]

_LIMIT = 200_000
"""Values in one file; more is an alias bomb, not a scenario."""
_BOM = "\ufeff"


class Diagnostic(Struct, frozen=True):
    """One problem (or note) with its place in the file; lines and columns count from 1."""

    line: int
    column: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{clean(self.path)}: {self.text}" if self.path else self.text


class Text(Struct, frozen=True):
    """What a text holds: the library's tree, which knows places, its plain form, and what is wrong with it."""

    tree: Any
    plain: Any
    problems: tuple[Diagnostic, ...]


def read_yaml(text: str) -> Text:
    """The values of a text. `plain` is None where the text is no YAML at all."""
    yaml = YAML(typ="rt")
    yaml.Constructor = _Constructor
    try:
        tree = yaml.load(io.StringIO(text.removeprefix(_BOM)))
        twice: list[Diagnostic] = yaml.constructor.twice
        plainer = _Plainer()
        plain = plainer.plain(tree)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = " ".join(str(error.problem or error.context or "no YAML").split())
        return Text(None, None, (Diagnostic(line, column, "", f"found no valid YAML: {problem}"),))
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
        found = Diagnostic(1, 1, "", f"found no valid YAML: {reason or type(error).__name__}")
        return Text(None, None, (found,))
    except _Bomb as error:
        return Text(None, None, (error.found,))
    return Text(tree, plain, (*twice, *plainer.problems))


def locate(tree: Any, where: tuple[str | int, ...], *, at_key: bool = False) -> tuple[int, int]:
    """Line and column of a place, from 1: as deep as the file goes along the path."""
    line, column = 0, 0
    node = tree
    for depth, key in enumerate(where):
        place = _position(node, key, at_key=at_key and depth == len(where) - 1)
        if place is None:
            break
        line, column = place
        node = node[key]
    return line + 1, column + 1


class _Bomb(Exception):
    """So many values that reading on would not end."""

    def __init__(self, found: Diagnostic) -> None:
        super().__init__(found.text)
        self.found = found


class _Constructor(RoundTripConstructor):
    """Keeps the text of numbers, truth values and dates, and goes on after a key that is there twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.twice: list[Diagnostic] = []

    def check_mapping_key(self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any) -> bool:
        """Whether the key is there for the first time."""
        if key not in mapping:
            return True
        mark = key_node.start_mark
        text = f"found the key {show(key)} twice, expected each key once"
        self.twice.append(Diagnostic(mark.line + 1, mark.column + 1, "", text))
        return False

    def _written(self, node: Any, value: Any) -> Any:
        return Written(value, str(node.value))

    def _int(self, node: Any) -> Any:
        return self._written(node, int(self.construct_yaml_int(node)))

    def _float(self, node: Any) -> Any:
        return self._written(node, float(self.construct_yaml_float(node)))

    def _bool(self, node: Any) -> Any:
        return self._written(node, bool(self.construct_yaml_sbool(node)))

    def _timestamp(self, node: Any) -> Any:
        return self._written(node, str(self.construct_yaml_timestamp(node)))


for _tag, _make in {
    "int": _Constructor._int,
    "float": _Constructor._float,
    "bool": _Constructor._bool,
    "timestamp": _Constructor._timestamp,
}.items():
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_tag}", _make)


class _KeptInt(int):
    """A number of a file that is changed and written again, with its text; so are the next three."""

    text: str


class _KeptFloat(float):
    text: str


class _KeptBool(int):
    text: str


class _KeptDate(str):
    text: str


class _Editor(_Constructor):
    """Scalars that are what they mean, and know how they were written."""

    def _written(self, node: Any, value: Any) -> Any:
        kinds: dict[type, Any] = {bool: _KeptBool, int: _KeptInt, float: _KeptFloat, str: _KeptDate}
        kept = kinds[type(value)](value)
        kept.text = str(node.value)
        return kept


class _Writer(RoundTripRepresenter):
    """Writes such scalars as they were."""


for _kind, _word in ((_KeptInt, "int"), (_KeptFloat, "float"), (_KeptBool, "bool"), (_KeptDate, "timestamp")):
    _Writer.add_representer(
        _kind, lambda self, kept, tag=f"tag:yaml.org,2002:{_word}": self.represent_scalar(tag, kept.text)
    )


def editor(width: int) -> YAML:
    """For files that are changed and written again: what is not changed stays as it is written."""
    yaml = YAML(typ="rt")
    yaml.Constructor, yaml.Representer = _Editor, _Writer
    yaml.width = width
    return yaml


def bare(node: Any) -> Any:
    """The tree without comments and places; its scalars still know how they were written."""
    if isinstance(node, dict):
        return {key: bare(item) for key, item in node.items()}
    if isinstance(node, list | tuple):
        return [bare(item) for item in node]
    return node.value if isinstance(node, Written) else node  # the number of a loop's round


def flow(value: Any) -> Any:
    """A value that is written on one line."""
    if isinstance(value, dict):
        made = CommentedMap({key: flow(item) for key, item in value.items()})
        made.fa.set_flow_style()
        return made
    if isinstance(value, list | tuple):
        listed = CommentedSeq([flow(item) for item in value])
        listed.fa.set_flow_style()
        return listed
    return value


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


class _Plainer:
    """Turns the YAML library's types into plain ones: lists as tuples, text, None, and `Written` scalars."""

    def __init__(self) -> None:
        self._left = _LIMIT
        self._open: list[int] = []
        self.problems: list[Diagnostic] = []

    def plain(self, node: Any, place: tuple[int, int] = (0, 0)) -> Any:
        """The plain form; cycles, tags and keys that are no text become problems, and nothing stands in their place."""
        self._left -= 1
        if self._left < 0:
            raise _Bomb(self._found(place, f"found more than {_LIMIT} values, expected a scenario"))
        if isinstance(node, CommentedMap | CommentedSeq):
            if id(node) in self._open:
                return self._refuse(place, "found an alias inside of its own anchor, expected no cycles")
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
                shown = show(key) if isinstance(key, Written | None) else type(key).__name__
                self._refuse(place, f"found the key {shown}, expected text as a key: write it in quotes")
                continue
            value[str(key)] = self.plain(item, place)
        return value

    def _sequence(self, node: CommentedSeq) -> tuple[Any, ...]:
        return tuple(
            self.plain(item, _position(node, index, at_key=False) or (0, 0)) for index, item in enumerate(node)
        )

    def _scalar(self, node: Any, place: tuple[int, int]) -> Any:
        if node is None or isinstance(node, Written):
            return node
        if isinstance(node, TaggedScalar):
            return self._refuse(place, f"found the tag {node.tag.value}, expected plain YAML")
        if isinstance(node, str):
            return str(node)
        return self._refuse(
            place, f"found a value of type {type(node).__name__}, expected text, a number, a list or a mapping"
        )

    def _refuse(self, place: tuple[int, int], text: str) -> None:
        self.problems.append(self._found(place, text))

    def _found(self, place: tuple[int, int], text: str) -> Diagnostic:
        return Diagnostic(place[0] + 1, place[1] + 1, "", text)

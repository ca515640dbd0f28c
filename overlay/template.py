"""`weave report -f`: the part of Go's templates that people use on a report. Pure: report and template in, text out.

`{{.mesh.name}}` is a field, `{{.}}` the whole, `{{json .mesh.targets}}` JSON, `{{len .mesh.peers}}` a number of
elements; `{{range .mesh.peers}}{{.name}} {{end}}` repeats for each element (of a map: each value, by key), and
`{{if .x}}..{{else}}..{{end}}` asks whether there is something. Fields are found whatever their case.

A local user may send a template, and the router renders it between two beats. So its length, the steps it takes and
the text it makes are bounded (all of them together are some 0.1 s), and reading it takes time in proportion to its
length.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from overlay.clean import clean, clean_json
from overlay.errors import UsageError

_FIELD = re.compile(r"\.|(?:\.[A-Za-z_]\w*)+")
MAX_DEPTH = 32
MAX_TEMPLATE = 8192
"""Characters."""
MAX_STEPS = 100_000
"""Actions and pieces of text that are passed, elements that are looked at, and what is written; some 1 µs each."""
MAX_OUTPUT = 8 << 20
"""Characters."""
_WRITTEN = 128
_ESCAPED = 16
"""Characters that can be read or written in the time of a step, and such of a text where something was escaped."""


def render(template: str, report: Mapping[str, Any]) -> str:
    """The text. Raises `UsageError` for a template that is none, that asks for what is not there, or for too much."""
    if len(template) > MAX_TEMPLATE:
        raise UsageError(f"the template has {len(template)} characters, at most {MAX_TEMPLATE} are taken")
    tokens = _Tokens(split(template))
    out = _Output()
    if _block(tokens, report, out, 0, skip=False) != "":
        raise UsageError("the template has an {{end}} or {{else}} without a beginning")
    return "".join(out.pieces)


Token = tuple[bool, str]
"""(is an action, its words or the text)."""


class _Output:
    """What has been written, and how many steps have been taken."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._room = MAX_OUTPUT
        self._steps = MAX_STEPS

    def append(self, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise UsageError(f"the template makes more than {MAX_OUTPUT >> 20} MiB of text: ask for fewer fields")
        self.step(len(text) // _WRITTEN)
        self.pieces.append(text)

    def step(self, count: int = 1) -> None:
        self._steps -= count
        if self._steps < 0:
            raise UsageError(f"the template takes more than {MAX_STEPS} steps: ask for fewer fields, or loop less")


class _Tokens:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def __iter__(self) -> Iterator[Token]:
        while self.at < len(self.tokens):
            self.at += 1
            yield self.tokens[self.at - 1]


def split(template: str) -> list[Token]:
    """Text and actions in turns. Every character is looked at a fixed number of times. Raises `UsageError`."""
    tokens: list[Token] = []
    at = 0
    while (start := template.find("{{", at)) >= 0:
        end = template.find("}}", start + 2)
        if end < 0:
            raise UsageError(f"the template has a {{{{ that is not closed: {template[start : start + 40]!r}")
        action = template[start + 2 : end].removeprefix("-").removesuffix("-").strip()
        tokens += ((False, template[at:start]), (True, action))
        at = end + 2
    tokens.append((False, template[at:]))
    return tokens


def _block(tokens: _Tokens, dot: Any, out: _Output, depth: int, *, skip: bool) -> str:
    """Everything up to the end of the block; returns what ended it: `end`, `else`, or "" for the end of the text."""
    if depth > MAX_DEPTH:
        raise UsageError(f"the template is nested deeper than {MAX_DEPTH}")
    for action, text in tokens:
        out.step(1 + len(text) // _WRITTEN)
        if not action:
            if not skip:
                out.append(text)
            continue
        word, _, rest = text.partition(" ")
        if word in ("end", "else"):
            return word
        if word == "range":
            _range(tokens, rest, dot, out, depth, skip=skip)
        elif word == "if":
            _if(tokens, rest, dot, out, depth, skip=skip)
        elif not skip:
            out.append(_value(text, dot, out))
    return ""


def _range(tokens: _Tokens, of: str, dot: Any, out: _Output, depth: int, *, skip: bool) -> None:
    start = tokens.at
    elements: list[Any] = []
    if not skip:
        found = _field(of, dot, out)
        if isinstance(found, Mapping):
            out.step(len(found))
            found = [found[key] for key in sorted(found)]
        if found is not None and not isinstance(found, (list, tuple)):
            raise UsageError(f"{{{{range {of}}}}}: {type(found).__name__} found, a list expected")
        elements = list(found or ())
        out.step(len(elements))
    ended = ""
    for element in elements:
        tokens.at = start
        ended = _block(tokens, element, out, depth + 1, skip=False)
    if not elements:
        ended = _block(tokens, dot, out, depth + 1, skip=True)
    if ended == "else":
        ended = _block(tokens, dot, out, depth + 1, skip=skip or bool(elements))
    _must_end(ended, "range")


def _if(tokens: _Tokens, of: str, dot: Any, out: _Output, depth: int, *, skip: bool) -> None:
    holds = not skip and bool(_field(of, dot, out))
    ended = _block(tokens, dot, out, depth + 1, skip=skip or not holds)
    if ended == "else":
        ended = _block(tokens, dot, out, depth + 1, skip=skip or holds)
    _must_end(ended, "if")


def _must_end(ended: str, what: str) -> None:
    if ended != "end":
        raise UsageError(f"the template has a {{{{{what}}}}} without {{{{end}}}}")


def _value(text: str, dot: Any, out: _Output) -> str:
    word, _, rest = text.partition(" ")
    match word:
        case "json":
            return _json(_field(rest, dot, out), out)
        case "len":
            found = _field(rest, dot, out)
            if not isinstance(found, (str, Mapping, list, tuple, type(None))):
                raise UsageError(f"{{{{len {rest}}}}}: {type(found).__name__} found, a list expected")
            return str(len(found or ()))
        case "print" | "println":
            return _shown(_field(rest, dot, out), out) + ("\n" if word == "println" else "")
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return text[1:-1].encode().decode("unicode_escape")
        except UnicodeDecodeError as error:
            raise UsageError(f"{{{{{text}}}}}: {error.reason}") from None
    return _shown(_field(text, dot, out), out)


def _shown(value: Any, out: _Output) -> str:
    if value is None:
        return ""
    return _harmless(value, clean, out) if isinstance(value, str) else _json(value, out)


def _json(value: Any, out: _Output) -> str:
    return _harmless(json.dumps(value), clean_json, out)


def _harmless(text: str, cleaned: Callable[[str], str], out: _Output) -> str:
    found = cleaned(text)
    if len(found) != len(text):  # an escape is longer than what it stands for
        out.step(len(found) // _ESCAPED)
    return found


def _field(path: str, dot: Any, out: _Output) -> Any:
    path = path.strip()
    if _FIELD.fullmatch(path) is None:
        raise UsageError(f"{{{{{path}}}}} is not understood: expected .field, json, len, print, println, range or if")
    value = dot
    for name in path.split(".")[1:]:
        if not name:
            continue
        if not isinstance(value, Mapping):
            raise UsageError(f"{path}: there is no field {name!r} in {type(value).__name__}")
        if name not in value:
            out.step(len(value))
        key = name if name in value else next((key for key in value if key.lower() == name.lower()), None)
        if key is None:
            raise UsageError(f"{path}: there is no field {name!r}, only {_some(value)}")
        value = value[key]
    return value


def _some(value: Mapping[str, Any]) -> str:
    names = [str(key) for key, _ in zip(value, range(20), strict=False)]
    return ", ".join(names) + (" ..." if len(value) > len(names) else "")

"""`weave report -f`: the part of Go's templates that people use on a report. Pure: report and template in, text out.

`{{.mesh.name}}` is a field, `{{.}}` the whole, `{{json .mesh.targets}}` JSON, `{{len .mesh.peers}}` a number of
elements; `{{range .mesh.peers}}{{.name}} {{end}}` repeats for each element (of a map: each value, by key), and
`{{if .x}}..{{else}}..{{end}}` asks whether there is something. Fields are found whatever their case.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from overlay.errors import UsageError

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.|(?:\.[A-Za-z_]\w*)+")
MAX_DEPTH = 32


def render(template: str, report: Mapping[str, Any]) -> str:
    """The text. Raises `UsageError` for a template that is none, or that asks for what is not there."""
    tokens = _tokens(template)
    out: list[str] = []
    if _block(tokens, report, out, 0, skip=False) != "":
        raise UsageError("the template has an {{end}} or {{else}} without a beginning")
    return "".join(out)


Token = tuple[bool, str]
"""(is an action, its words or the text)."""


class _Tokens:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def __iter__(self) -> Iterator[Token]:
        while self.at < len(self.tokens):
            self.at += 1
            yield self.tokens[self.at - 1]


def _tokens(template: str) -> _Tokens:
    pieces = _ACTION.split(template)
    for text in pieces[::2]:
        if "{{" in text:
            raise UsageError(f"the template has a {{{{ that is not closed: {text[text.index('{{') :][:40]!r}")
    return _Tokens([(bool(index % 2), piece) for index, piece in enumerate(pieces)])


def _block(tokens: _Tokens, dot: Any, out: list[str], depth: int, *, skip: bool) -> str:
    """Everything up to the end of the block; returns what ended it: `end`, `else`, or "" for the end of the text."""
    if depth > MAX_DEPTH:
        raise UsageError(f"the template is nested deeper than {MAX_DEPTH}")
    for action, text in tokens:
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
            out.append(_value(text, dot))
    return ""


def _range(tokens: _Tokens, of: str, dot: Any, out: list[str], depth: int, *, skip: bool) -> None:
    start = tokens.at
    elements: list[Any] = []
    if not skip:
        found = _field(of, dot)
        if isinstance(found, Mapping):
            found = [found[key] for key in sorted(found)]
        if found is not None and not isinstance(found, (list, tuple)):
            raise UsageError(f"{{{{range {of}}}}}: {type(found).__name__} found, a list expected")
        elements = list(found or ())
    ended = ""
    for element in elements:
        tokens.at = start
        ended = _block(tokens, element, out, depth + 1, skip=False)
    if not elements:
        ended = _block(tokens, dot, out, depth + 1, skip=True)
    if ended == "else":
        ended = _block(tokens, dot, out, depth + 1, skip=skip or bool(elements))
    _must_end(ended, "range")


def _if(tokens: _Tokens, of: str, dot: Any, out: list[str], depth: int, *, skip: bool) -> None:
    holds = not skip and bool(_field(of, dot))
    ended = _block(tokens, dot, out, depth + 1, skip=skip or not holds)
    if ended == "else":
        ended = _block(tokens, dot, out, depth + 1, skip=skip or holds)
    _must_end(ended, "if")


def _must_end(ended: str, what: str) -> None:
    if ended != "end":
        raise UsageError(f"the template has a {{{{{what}}}}} without {{{{end}}}}")


def _value(text: str, dot: Any) -> str:
    word, _, rest = text.partition(" ")
    match word:
        case "json":
            return json.dumps(_field(rest, dot))
        case "len":
            return str(len(_field(rest, dot) or ()))
        case "print" | "println":
            return _shown(_field(rest, dot)) + ("\n" if word == "println" else "")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].encode().decode("unicode_escape")
    return _shown(_field(text, dot))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _field(path: str, dot: Any) -> Any:
    path = path.strip()
    if _FIELD.fullmatch(path) is None:
        raise UsageError(f"{{{{{path}}}}} is not understood: expected .field, json, len, print, println, range or if")
    value = dot
    for name in path.split(".")[1:]:
        if not name:
            continue
        if not isinstance(value, Mapping):
            raise UsageError(f"{path}: there is no field {name!r} in {type(value).__name__}")
        key = name if name in value else next((key for key in value if key.lower() == name.lower()), None)
        if key is None:
            raise UsageError(f"{path}: there is no field {name!r}, only {', '.join(map(str, value))}")
        value = value[key]
    return value

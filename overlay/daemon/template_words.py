"""The words between `{{` and `}}` of a report template: parsed once, in linear time, into functions of a state. Pure.

Owns tokens, pipelines, variables, literals and the functions that a template may call. `overlay.daemon.template` owns
blocks, text and the bounds of a run.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from overlay.clean import clean, clean_json
from overlay.errors import UsageError

__all__ = [
    "MAX_DEPTH",
    "MAX_OUTPUT",
    "MAX_STEPS",
    "WRITTEN",
    "Assignment",
    "Clean",
    "TemplateState",
    "Value",
    "read",
    "shown",
]

MAX_DEPTH = 32
"""Maximum depth of blocks and of parentheses."""
MAX_STEPS = 100_000
"""Maximum number of actions, words, pieces of text, elements and writes; each takes about 1 µs."""
MAX_OUTPUT = 8 << 20
"""Characters."""
WRITTEN = 128
_ESCAPED = 16
"""Characters read or written for the price of one step; the second value is for text in which something was escaped."""
_SCOPES = 4
"""Scopes searched for a variable for the price of one step."""


class Clean(str):
    """Text that is already safe to print: the result of a function, not a field of the report."""


Scope = dict[str, Any]


class TemplateState:
    """The state of a template at one place, and the rest of its bounds."""

    def __init__(self, root: Any) -> None:
        self.dot = root
        self.scopes: list[Scope] = [{"$": root}]
        self.pieces: list[str] = []
        self._room = MAX_OUTPUT
        self._steps = MAX_STEPS

    def append(self, text: str) -> None:
        """Write text."""
        self._room -= len(text)
        if self._room < 0:
            raise UsageError(f"the template makes more than {MAX_OUTPUT >> 20} MiB of text: ask for fewer fields")
        self.step(0 if isinstance(text, Clean) else len(text) // WRITTEN)  # text made by a function was already charged
        self.pieces.append(text)

    def step(self, count: int = 1) -> None:
        """Use up steps. Raises `UsageError` if too few are left."""
        self._steps -= count
        if self._steps < 0:
            raise UsageError(f"the template takes more than {MAX_STEPS} steps: ask for fewer fields, or loop less")

    def scope(self, name: str) -> Scope:
        """The scope that has this variable."""
        for passed, scope in enumerate(reversed(self.scopes)):
            if name in scope:
                self.step(passed // _SCOPES)
                return scope
        raise UsageError(f"the template uses {name} where it has no value: write {{{{{name} := ...}}}} before")


Value = Callable[[TemplateState], Any]


class Assignment(NamedTuple):
    """The value of an action, and the variables that get it (`range`: key and element, or the element)."""

    value: Value
    names: tuple[str, ...] = ()
    new: bool = False
    """`:=` instead of `=`."""


class _Token(NamedTuple):
    kind: str
    text: str
    apart: bool
    """A blank precedes it."""


_TOKEN = re.compile(
    r'(?P<blank>\s+)|(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>[-+]?\d+(?:\.\d+)?)|(?P<field>\.[A-Za-z_]\w*)'
    r"|(?P<dot>\.)|(?P<variable>\$\w*)|(?P<word>[A-Za-z_]\w*)|(?P<sign>:=|[=|(),])",
    re.DOTALL,
)
_VERB = re.compile(r"%([-+ 0]*)(\d*)(?:\.(\d*))?(.)", re.DOTALL)
_WIDEST = 999
_DIGITS = 18
_EXPECTED = "expected .field, $variable, a function as len, json, printf, eq or index, range, with or if"


def read(text: str) -> Assignment:
    """Parse the words of one action, without `range`, `if`, `with` and `else`. Raises `UsageError`."""
    words = _Words(text)
    names: list[str] = []
    while words.is_next("variable") and words.after(1) in (":=", "=", ","):
        names.append(words.take().text)
        sign = words.take().text
        if sign != ",":
            return Assignment(words.all(), tuple(names), new=sign == ":=")
    if names:
        raise words.problem()
    return Assignment(words.all())


class _Words:
    """The tokens of an action, consumed from the left."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[_Token] = []
        self._at = 0
        at, apart = 0, False
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.problem()
            at = match.end()
            kind = str(match.lastgroup)
            if kind != "blank":
                self._tokens.append(_Token(kind, match[0], apart))
            apart = kind == "blank"

    def problem(self) -> UsageError:
        """The error for words that do not parse."""
        return UsageError(f"{{{{{self._text:.80}}}}} is not understood: {_EXPECTED}")

    def is_next(self, kind: str, text: str = "") -> bool:
        """Whether the next token is of this kind."""
        if self._at == len(self._tokens):
            return False
        token = self._tokens[self._at]
        return token.kind == kind and (not text or token.text == text)

    def after(self, count: int) -> str:
        """The text of the token `count` places ahead."""
        at = self._at + count
        return self._tokens[at].text if at < len(self._tokens) else ""

    def take(self) -> _Token:
        """Consume the next token."""
        if self._at == len(self._tokens):
            raise self.problem()
        self._at += 1
        return self._tokens[self._at - 1]

    def all(self) -> Value:
        """Parse the rest as a pipeline."""
        found = self._pipeline(0)
        if self._at != len(self._tokens):
            raise self.problem()
        return found

    def _pipeline(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise UsageError(f"the template is nested deeper than {MAX_DEPTH}")
        value = self._command(depth, None)
        while self.is_next("sign", "|"):
            self.take()
            value = self._command(depth, value)
        return value

    def _command(self, depth: int, piped: Value | None) -> Value:
        if not self.is_next("word") or self.after(0) in _CONSTANTS:
            if piped is not None:
                raise self.problem()
            return self._operand(depth)
        name = self.take().text
        function = _FUNCTIONS.get(name)
        if function is None:
            raise self.problem()
        arguments: list[Value] = []
        while self._at < len(self._tokens) and self.after(0) not in ("|", ")"):
            arguments.append(self._operand(depth))
        if piped is not None:
            arguments.append(piped)
        if not function.least <= len(arguments) <= function.most:
            raise UsageError(f"{{{{{self._text:.80}}}}}: {name} takes {function.takes}, found {len(arguments)} of them")
        return function.make(name, arguments)

    def _operand(self, depth: int) -> Value:
        token = self.take()
        value: Value
        match token.kind:
            case "string" | "number" | "word":
                return _constant(_literal(token, self))
            case "dot":
                return _dot
            case "field":
                return self._chain(_dot, [token.text[1:]])
            case "variable":
                return self._chain(_variable(token.text), [])
            case "sign" if token.text == "(":
                value = self._pipeline(depth + 1)
                if not self.is_next("sign", ")"):
                    raise self.problem()
                self.take()
                return self._chain(value, [])
        raise self.problem()

    def _chain(self, base: Value, names: list[str]) -> Value:
        while self.is_next("field") and not self._tokens[self._at].apart:
            names.append(self.take().text[1:])
        return _fields(base, names) if names else base


# --- semantics of words ------------------------------------------------------------------------------------------

_CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "nil": None}


def _dot(state: TemplateState) -> Any:
    state.step()
    return state.dot


def _constant(value: Any) -> Value:
    return lambda _state: value


def _variable(name: str) -> Value:
    def value(state: TemplateState) -> Any:
        state.step()
        return state.scope(name)[name]

    return value


def _fields(base: Value, names: Sequence[str]) -> Value:
    path = "." + ".".join(names)

    def value(state: TemplateState) -> Any:
        found = base(state)
        for name in names:
            found = _field(found, name, path, state)
        return found

    return value


def _field(value: Any, name: str, path: str, state: TemplateState) -> Any:
    state.step()
    if not isinstance(value, Mapping):
        raise UsageError(f"{path}: there is no field {name!r} in {type(value).__name__}")
    if name in value:
        return value[name]
    state.step(len(value))
    key = next((key for key in value if key.lower() == name.lower()), None)
    if key is None:
        raise UsageError(f"{path}: there is no field {name!r}, only {_some(value)}")
    return value[key]


def _some(value: Mapping[str, Any]) -> str:
    names = [str(key) for key, _ in zip(value, range(20), strict=False)]
    return ", ".join(names) + (" ..." if len(value) > len(names) else "")


def _literal(token: _Token, words: _Words) -> Any:
    text = token.text
    if token.kind == "word":
        if text not in _CONSTANTS:
            raise words.problem()
        return _CONSTANTS[text]
    if token.kind == "number":
        if len(text) > _DIGITS:
            raise words.problem()
        return float(text) if "." in text else int(text)
    if text[0] == "`":
        return Clean(text[1:-1])
    try:
        return Clean(text[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{{{{{text:.80}}}}}: {error.reason}") from None


def shown(value: Any, state: TemplateState) -> Clean:
    """A value as printed, safe for a terminal: lists in Go's format, structures as JSON."""
    if value is None:
        return Clean("")
    if isinstance(value, Clean):
        return value
    if isinstance(value, str):
        return _harmless(value, clean, state)
    if isinstance(value, (list, tuple)) and not any(isinstance(each, (Mapping, list, tuple)) for each in value):
        state.step(len(value))
        return Clean("[" + " ".join(shown(each, state) for each in value) + "]")
    return _json(value, state)


def _json(value: Any, state: TemplateState) -> Clean:
    return _harmless(json.dumps(value), clean_json, state)


def _harmless(text: str, cleaned: Callable[[str], str], state: TemplateState) -> Clean:
    state.step(len(text) // WRITTEN)
    found = cleaned(text)
    if len(found) != len(text):  # an escape is longer than the character it replaces
        state.step(len(found) // _ESCAPED)
    return Clean(found)


# --- functions ---------------------------------------------------------------------------------------------------


class _Function(NamedTuple):
    call: Callable[[str, list[Any], TemplateState], Any]
    least: int
    most: int
    takes: str

    def make(self, name: str, arguments: list[Value]) -> Value:
        def value(state: TemplateState) -> Any:
            state.step(1 + 2 * len(arguments))
            return self.call(name, [argument(state) for argument in arguments], state)

        return value


class _Lazy(_Function):
    """`and` and `or`, which evaluate only as many arguments as needed."""

    def make(self, name: str, arguments: list[Value]) -> Value:
        def value(state: TemplateState) -> Any:
            found: Any = None
            for argument in arguments:
                state.step()
                found = argument(state)
                if bool(found) == (name == "or"):
                    break
            return found

        return value


def _len(name: str, arguments: list[Any], _state: TemplateState) -> int:
    (value,) = arguments
    if not isinstance(value, (str, Mapping, list, tuple, type(None))):
        raise UsageError(f"{name}: {type(value).__name__} found, a list expected")
    return len(value or ())


def _print(name: str, arguments: list[Any], state: TemplateState) -> Clean:
    texts = [shown(value, state) for value in arguments]
    if name == "println":
        return _joined([" ".join(texts), "\n"], state)
    pieces: list[str] = []
    for at, text in enumerate(texts):  # as in Go: a blank between two arguments if neither is text
        if at and not isinstance(arguments[at], str) and not isinstance(arguments[at - 1], str):
            pieces.append(" ")
        pieces.append(text)
    return _joined(pieces, state)


def _joined(pieces: Sequence[str], state: TemplateState) -> Clean:
    """The pieces as one text; charged before it is built."""
    state.step(sum(map(len, pieces)) // WRITTEN)
    return Clean("".join(pieces))


def _printf(name: str, arguments: list[Any], state: TemplateState) -> Clean:
    layout, *values = arguments
    if not isinstance(layout, str):
        raise UsageError(f"{name}: the first word is a text as %s, found {type(layout).__name__}")

    def between(text: str) -> str:
        return text if isinstance(layout, Clean) else shown(text, state)

    pieces: list[str] = []
    at = 0
    left = list(reversed(values))
    for verb in _VERB.finditer(layout):
        pieces.append(between(layout[at : verb.start()]))
        at = verb.end()
        if verb[4] == "%":
            pieces.append("%")
            continue
        if not left:
            raise UsageError(f"{name} {layout!r:.40}: there is no value for {verb[0]}")
        piece = _formatted(verb, left.pop(), state)
        state.step(2 + len(piece) // WRITTEN)
        pieces.append(piece)
    if left:
        raise UsageError(f"{name} {layout!r:.40}: {len(left)} more values than verbs")
    pieces.append(between(layout[at:]))
    return _joined(pieces, state)


def _formatted(verb: re.Match[str], value: Any, state: TemplateState) -> str:
    flags, width, precision, letter = verb.groups()
    if int(width[:6] or 0) > _WIDEST or int((precision or "0")[:6]) > _WIDEST:
        raise UsageError(f"printf {verb[0]:.20}: at most {_WIDEST} characters")
    match letter:
        case "v" | "s":
            text = str(shown(value, state))
            if precision is not None and not (letter == "v" and isinstance(value, float)):
                text = text[: int(precision or 0)]
        case "q":
            text = str(_json(str(shown(value, state)), state))
        case "t" if isinstance(value, bool):
            text = "true" if value else "false"
        case "d" | "x" if isinstance(value, int) and not isinstance(value, bool):
            text = format(value, ("+" if "+" in flags else "") + letter)
        case "f" | "g" | "e" if isinstance(value, (int, float)) and not isinstance(value, bool):
            digits = "" if precision is None else f".{int(precision or 0)}"
            text = format(float(value), f"{'+' if '+' in flags else ''}{digits}{letter}")
        case _:
            found = type(value).__name__
            raise UsageError(f"printf: {verb[0]} does not fit {found}: expected %v, %s, %q, %d, %x, %f or %t")
    if "-" in flags:
        return text.ljust(int(width or 0))
    return text.zfill(int(width or 0)) if "0" in flags and letter in "dxfge" else text.rjust(int(width or 0))


def _index(name: str, arguments: list[Any], state: TemplateState) -> Any:
    value, *keys = arguments
    for key in keys:
        state.step()
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(str(key))
        elif isinstance(value, (list, tuple)) and isinstance(key, int) and not isinstance(key, bool):
            if not 0 <= key < len(value):
                raise UsageError(f"{name} {key}: there are {len(value)} elements, the first is 0")
            value = value[key]
        else:
            raise UsageError(f"{name}: {type(value).__name__} has no element {key!r:.40}")
    return value


def _compared(name: str, arguments: list[Any], state: TemplateState) -> bool:
    first, *others = arguments
    for value in arguments:
        if isinstance(value, (Mapping, list, tuple)):
            raise UsageError(f"{name} compares texts, numbers and truths, found {type(value).__name__}")
        state.step(len(value) // WRITTEN if isinstance(value, str) else 0)
    if name == "eq":
        return any(_same(first, other) for other in others)
    if name == "ne":
        return not _same(first, others[0])
    if isinstance(first, str) != isinstance(others[0], str) or first is None or others[0] is None:
        raise UsageError(f"{name}: {type(first).__name__} and {type(others[0]).__name__} have no order")
    less, equal = first < others[0], first == others[0]
    return bool({"lt": less, "le": less or equal, "gt": not less and not equal, "ge": not less}[name])


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _not(_name: str, arguments: list[Any], _state: TemplateState) -> bool:
    return not arguments[0]


_MANY = 1000
_TWO = _Function(_compared, 2, 2, "two values")
_LAZY = _Lazy(_not, 1, _MANY, "one value or more")
_PRINT = _Function(_print, 0, _MANY, "values")
_FUNCTIONS: Mapping[str, _Function] = {
    "json": _Function(lambda _name, arguments, state: _json(arguments[0], state), 1, 1, "one value"),
    "len": _Function(_len, 1, 1, "one value"),
    "print": _PRINT,
    "println": _PRINT,
    "printf": _Function(_printf, 1, _MANY, "a text with verbs, and values"),
    "index": _Function(_index, 1, _MANY, "a list or map, and keys"),
    "eq": _Function(_compared, 2, _MANY, "two values or more"),
    **dict.fromkeys(("ne", "lt", "le", "gt", "ge"), _TWO),
    "and": _LAZY,
    "or": _LAZY,
    "not": _Function(_not, 1, 1, "one value"),
}

"""`weave report -f`: the subset of Go templates that people use on reports. Pure: report and template in, text out.

`{{.mesh.name}}` is a field, `{{.}}` the whole report, `{{json .mesh.targets}}` JSON, `{{len .mesh.peers}}` the number
of elements. `{{range .mesh.peers}}{{.name}} {{end}}` repeats for each element (of a map: each value, by key).
`{{if .x}}..{{else if .y}}..{{else}}..{{end}}` tests for a non-empty value, and `{{with .x}}{{.y}}{{end}}` makes `.x`
the current value. `overlay.daemon.template_words` implements the words between braces: variables, pipes, printf, eq,
index and others. `{{- .x -}}` trims the white space around it. Field names are not case-sensitive.

A local user may send a template, and the router renders it between two heartbeats. So its length, its steps and its
output are bounded (together about 0.1 s), and parsing takes linear time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from overlay.daemon.template_words import (
    MAX_DEPTH,
    MAX_OUTPUT,
    MAX_STEPS,
    WRITTEN,
    Assignment,
    TemplateState,
    read,
    shown,
)
from overlay.errors import UsageError

__all__ = ["MAX_OUTPUT", "MAX_STEPS", "MAX_TEMPLATE", "render", "split"]

MAX_TEMPLATE = 8192
"""Characters."""

Token = tuple[bool, str]
"""(whether it is an action, its words or the text)."""
Node = Callable[[TemplateState], None]
"""Writes one part of the template."""


def render(template: str, report: Mapping[str, Any]) -> str:
    """Render the text. Raises `UsageError` for an invalid template, a missing field, or an exceeded bound."""
    if len(template) > MAX_TEMPLATE:
        raise UsageError(f"the template has {len(template)} characters, at most {MAX_TEMPLATE} are taken")
    nodes, ended, _ = _block(iter(split(template)), 0)
    if ended:
        raise UsageError("the template has an {{end}} or {{else}} without a beginning")
    state = TemplateState(report)
    _write(nodes, state)
    return "".join(state.pieces)


def split(template: str) -> list[Token]:
    """Text and actions in alternation, in linear time. Raises `UsageError`."""
    tokens: list[Token] = []
    at, trim = 0, False
    while (start := template.find("{{", at)) >= 0:
        end = template.find("}}", start + 2)
        if end < 0:
            raise UsageError(f"the template has a {{{{ that is not closed: {template[start : start + 40]!r}")
        action = template[start + 2 : end]
        text = template[at:start].lstrip() if trim else template[at:start]
        if action.startswith("-"):
            text, action = text.rstrip(), action[1:]
        if trim := action.endswith("-"):
            action = action[:-1]
        tokens += ((False, text), (True, action.strip()))
        at = end + 2
    tokens.append((False, template[at:].lstrip() if trim else template[at:]))
    return tokens


def _block(tokens: Iterator[Token], depth: int) -> tuple[list[Node], str, str]:
    """The nodes up to the end of the block, the word that ended it (`end`, `else`, or "" at the end of the text), and
    the words after that word."""
    if depth > MAX_DEPTH:
        raise UsageError(f"the template is nested deeper than {MAX_DEPTH}")
    nodes: list[Node] = []
    for is_action, text in tokens:
        if not is_action:
            if text:
                nodes.append(_text(text))
            continue
        word, rest = _first(text)
        if word in ("end", "else"):
            return nodes, word, rest
        if word in _BLOCKS:
            nodes.append(_begun(word, rest, tokens, depth))
        elif not (text.startswith("/*") and text.endswith("*/")):
            nodes.append(_action(read(text)))
    return nodes, "", ""


def _first(text: str) -> tuple[str, str]:
    words = text.split(None, 1)
    return (words[0], words[1] if len(words) > 1 else "") if words else ("", "")


def _begun(word: str, rest: str, tokens: Iterator[Token], depth: int) -> Node:
    """A `range`, `if` or `with`, up to its end."""
    assignment = read(rest)
    body, ended, behind = _block(tokens, depth + 1)
    otherwise: list[Node] = []
    if ended == "else" and behind:
        inner, more = _first(behind)
        if inner not in ("if", "with"):
            raise UsageError(f"{{{{else {behind:.40}}}}} is not understood: expected else, else if or else with")
        otherwise = [_begun(inner, more, tokens, depth + 1)]  # one `end` closes both
        ended = "end"
    elif ended == "else":
        otherwise, ended, _ = _block(tokens, depth + 1)
    if ended != "end":
        raise UsageError(f"the template has a {{{{{word}}}}} without {{{{end}}}}")
    return _BLOCKS[word](assignment, body, otherwise)


def _write(nodes: Sequence[Node], state: TemplateState, variables: Mapping[str, Any] | None = None) -> None:
    """Write nodes in a new scope."""
    state.scopes.append(dict(variables or {}))
    for node in nodes:
        node(state)
    state.scopes.pop()


def _text(text: str) -> Node:
    def write(state: TemplateState) -> None:
        state.step(1 + len(text) // WRITTEN)
        state.append(text)

    return write


def _action(action: Assignment) -> Node:
    if len(action.names) > 1:
        raise UsageError(f"the template gives one value to {', '.join(action.names)}: only range has two")

    def write(state: TemplateState) -> None:
        state.step(2)
        value = action.value(state)
        if not action.names:
            state.append(shown(value, state))
            return
        (name,) = action.names
        (state.scopes[-1] if action.new else state.scope(name))[name] = value

    return write


def _if(condition: Assignment, body: Sequence[Node], otherwise: Sequence[Node]) -> Node:
    def write(state: TemplateState) -> None:
        state.step()
        value = condition.value(state)
        _write(body if value else otherwise, state, dict.fromkeys(condition.names[:1], value))

    return write


def _with(condition: Assignment, body: Sequence[Node], otherwise: Sequence[Node]) -> Node:
    def write(state: TemplateState) -> None:
        state.step()
        value, before = condition.value(state), state.dot
        state.dot = value if value else before
        _write(body if value else otherwise, state, dict.fromkeys(condition.names[:1], value))
        state.dot = before

    return write


def _range(of: Assignment, body: Sequence[Node], otherwise: Sequence[Node]) -> Node:
    if len(of.names) > 2:
        raise UsageError(f"the template gives a range to {', '.join(of.names)}: it has a key and an element")

    def write(state: TemplateState) -> None:
        state.step()
        found, before = of.value(state), state.dot
        state.step(len(found) if isinstance(found, (Mapping, list, tuple)) else 0)
        if isinstance(found, Mapping):
            elements = [(key, found[key]) for key in sorted(found)]
        elif found is None or isinstance(found, (list, tuple)):
            elements = list(enumerate(found or ()))
        else:
            raise UsageError(f"range: {type(found).__name__} found, a list expected")
        for pair in elements:
            state.dot = pair[1]
            _write(body, state, dict(zip(of.names, pair[-len(of.names) or 2 :], strict=True)))
        state.dot = before
        if not elements:
            _write(otherwise, state)

    return write


_BLOCKS: Mapping[str, Callable[[Assignment, Sequence[Node], Sequence[Node]], Node]] = {
    "range": _range,
    "if": _if,
    "with": _with,
}

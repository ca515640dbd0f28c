"""The verbs of a timeline as methods of a live lab.

Owns how a call in Python becomes a step of a scenario, and the text of `verb_methods.pyi`, which type checkers and
editors read. Knows no verb by name: everything comes from the registry of verbs.
"""

import re
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.errors import StepRefused
from lab.kinds.verbs import Verb, verbs
from lab.scenario.base import Model, model_of, options_of
from lab.scenario.check import nearest

__all__ = ["about", "step_of", "stub", "unknown"]

_OF_STEPS = ("at", "for")
"""Keys of a step that are siblings of the verb, not its fields."""


def about(verb: Verb[Any]) -> str:
    """The syntax and the description of a verb, as in the reference."""
    text = re.sub(r"\s+", " ", f"In a scenario {verb.form}: {verb.about}")
    return "\n".join(textwrap.wrap(text, 108))


def step_of(verb: str, short: Sequence[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The step for a call, in the form of a scenario file.

    `short` is the short form, if the verb has one: one value, or several for a list. An underscore at the end of an
    argument's name avoids a Python keyword (`for_`, `from_`). Raises `StepRefused` for an unknown verb.
    """
    if verb not in verbs():
        raise StepRefused(unknown(verb))
    said = {name.rstrip("_"): value for name, value in arguments.items() if value is not None}
    step = {name: said.pop(name) for name in _OF_STEPS if name in said}
    model = model_of(verbs()[verb].model)
    if not short:
        return {verb: said, **step}
    value = short[0] if len(short) == 1 else list(short)
    if not said:
        return {verb: value, **step}
    full = model.expand(tuple(value) if isinstance(value, list) else value) if model is not None else value
    if not isinstance(full, dict):
        raise StepRefused(f"{verb}: found {value!r} next to {', '.join(said)}, expected names for all arguments")
    return {verb: {**full, **said}, **step}


def unknown(verb: str) -> str:
    """The error message for an unknown verb."""
    hint = nearest(verb, verbs())
    return f"found no verb {verb!r}, expected one of {', '.join(verbs())}" + (f"; {hint}" if hint else "")


def stub() -> str:
    """The text of `verb_methods.pyi`: one method for each verb, with documented arguments."""
    return "\n".join(["\n".join(_HEAD), *_methods()]) + "\n"


_HEAD = (
    '"""Written by `make schema` from the registry of verbs; a test compares. Do not edit."""',
    "",
    "from collections.abc import Mapping, Sequence",
    "from typing import Any",
    "",
    "from lab.records.history import Event",
    "",
    "class VerbMethods:",
    "    def do(self, verb: str, /, *short: Any, **arguments: Any) -> Event: ...",
)


def _methods() -> Iterator[str]:
    for name, verb in verbs().items():
        model = model_of(verb.model)
        short = ["*short: Any"] if model is None or model.short_schema else ["*"]
        arguments = [*(_arguments(model) if model is not None else ()), "at: str | None = None"]
        if verb.takes_for and not any(line.startswith("for_:") for line in arguments):
            arguments.append("for_: str | None = None")
        yield f"    def {name}("
        yield "\n".join(f"        {line}," for line in ("self", *short, *arguments))
        yield "    ) -> Event:"
        yield textwrap.indent(f'"""{about(verb)}"""', " " * 8)


def _arguments(model: type[Model]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name in model.hidden:
            continue
        word = field.alias or name
        python = f"{word}_" if word in ("from", "for") else word
        yield f"{python}: {_hint(field.annotation)} | None = None"


def _hint(annotation: Any) -> str:
    """The type hint of a field: durations, sizes and rates are text."""
    found: dict[str, None] = {}
    for option in options_of(annotation):
        if isinstance(option, type) and issubclass(option, Model):
            found["str | Mapping[str, Any]"] = None
        elif typing.get_origin(option) is tuple or option is tuple:
            found["str | Sequence[Any]"] = None
        elif typing.get_origin(option) is dict:
            found["Mapping[str, Any]"] = None
        elif option is bool:
            found["bool"] = None
        elif option in (int, float):
            found["int | str" if option is int else "float | str"] = None
        elif option is not type(None):
            found["str"] = None
    words = dict.fromkeys(word for hint in found for word in hint.split(" | "))
    if "float" in words:  # float includes int
        words.pop("int", None)
    return " | ".join(words)


if __name__ == "__main__":
    print(stub(), end="")

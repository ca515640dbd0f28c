"""The arguments of each verb, as plain data for the forms of the page and the prompts of the terminal.

Derived from the models of the registry's verbs, including those of other packages; no verb is known by name. A form
gives the type of each field; the lab validates the value, with its own messages.
"""

import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from msgspec import Struct
from pydantic.fields import FieldInfo

from lab.kinds.overlays import OverlayKind
from lab.kinds.verbs import Verb
from lab.scenario.base import Command, Name, Names, model_of
from lab.scenario.field_docs import field_docs
from lab.scenario.values import Duration, Frequency, Percentage, Rate, Size

__all__ = ["FormField", "VerbForm", "form_of", "forms"]

# fmt: off
Kind = Literal[
    "host", "hosts", "service", "services", "groups", "duration", "percentage", "rate", "frequency", "size",
    "number", "switch", "choice", "command", "text", "part", "parts",
]
# fmt: on

_VALUES: tuple[tuple[Any, Kind, str], ...] = (
    (Duration, "duration", "200ms"),
    (Percentage, "percentage", "1%"),
    (Rate, "rate", "10mbit"),
    (Frequency, "frequency", "2/s"),
    (Size, "size", "1500"),
    (Command, "command", "weave status"),
)
_OF_SERVICES = "service"
"""A field with this word in its name takes services; every other field of names takes hosts."""


class FormField(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One argument of a verb."""

    key: str
    """Empty: the value of the verb itself."""
    kind: Kind
    about: str = ""
    required: bool = False
    example: str = ""
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    fields: tuple["FormField", ...] = ()
    """The fields of a nested part."""


class VerbForm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One verb."""

    verb: str
    about: str
    form: str
    fields: tuple[FormField, ...]
    lasts: bool = False
    """It is a fault that may have a duration, after which it ends by itself."""
    setup: str = ""


def forms(verbs: Iterable[Verb[Any]], overlay: OverlayKind) -> list[VerbForm]:
    """The forms of all verbs that an overlay supports."""
    return [form_of(verb) for verb in verbs if verb.allowed(overlay) and verb.setup != "watch"]


def form_of(verb: Verb[Any]) -> VerbForm:
    """The form of one verb."""
    return VerbForm(
        verb=verb.name,
        about=_plain(verb.about),
        form=_plain(verb.form),
        fields=_fields(verb.model),
        lasts=verb.lasts,
        setup=verb.setup,
    )


def _plain(markdown: str) -> str:
    return re.sub(r"\s+", " ", markdown).replace("`", "").replace(", see below", "")


def _fields(model: Any) -> tuple[FormField, ...]:
    kind = model_of(model)
    if kind is None:
        return (_field("", model, None),)
    hints = typing.get_type_hints(kind, include_extras=True)
    asked = ((name, info) for name, info in kind.model_fields.items() if name not in kind.hidden)
    named = ((name, info.alias or name, hints.get(name, info.annotation), info) for name, info in asked)
    docs = field_docs(kind)
    return tuple(_field(key, hint, info, docs.get(name, "")) for name, key, hint, info in named if key != "for")


def _field(key: str, hint: Any, info: FieldInfo | None, about: str = "") -> FormField:
    kind, example, more = _kind(key, hint)
    required = info is None or info.is_required()
    return FormField(key=key, kind=kind, about=_plain(about), example=example, required=required, **more)


def _kind(key: str, hint: Any) -> tuple[Kind, str, Mapping[str, Any]]:
    """(type, example, other attributes of the field)."""
    options = _options(hint)
    for value, kind, example in _VALUES:
        if value in options:
            return kind, example, {}
    services = _OF_SERVICES in key
    if Names in options:
        return ("services" if services else "hosts"), "", {}
    if Name in options:
        return ("service" if services else "host"), "", {}
    for option in options:
        bare = typing.get_args(option)[0] if typing.get_origin(option) is Annotated else option
        origin, arguments = typing.get_origin(bare), typing.get_args(bare)
        if origin is tuple and arguments[0] == Names:
            return "groups", "", {}
        if origin is tuple and arguments[0] == Name:
            return ("services" if services else "hosts"), "", {}
        if origin is tuple and model_of(arguments[0]):
            return "parts", "", {"fields": _fields(arguments[0])}
        if origin is Literal:
            return "choice", "", {"choices": tuple(map(str, arguments))}
        if model_of(bare):
            return "part", "", {"fields": _fields(bare)}
        if bare is bool:
            return "switch", "", {}
        if bare in (int, float):
            return "number", "", _bounds(option)
    return "text", "", {}


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, each with its annotations and without None; value types of scenarios stay
    as they are."""
    if typing.get_origin(hint) is Annotated:
        inner, *extras = typing.get_args(hint)
        for value, _, _ in _VALUES:
            its, *own = typing.get_args(value)
            if its == inner and all(any(one is each for each in extras) for one in own):
                return (value,)
        return _options(inner) if type(None) in typing.get_args(inner) else (hint,)
    if type(None) in (arguments := typing.get_args(hint)) or typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(option for part in arguments for option in _options(part))
    return () if hint is type(None) else (hint,)


def _bounds(option: Any) -> dict[str, int]:
    """The minimum and maximum of a number, if its type has them."""
    found: dict[str, int] = {}
    for extra in typing.get_args(option)[1:] if typing.get_origin(option) is Annotated else ():
        for bound in extra.metadata if isinstance(extra, FieldInfo) else (extra,):
            if isinstance(bound, Ge):
                found["least"] = typing.cast(int, bound.ge)
            elif isinstance(bound, Le):
                found["most"] = typing.cast(int, bound.le)
    return found

"""What all parts of the scenario model have in common: strictness, short forms and problems with a place.

A part may have a short form (`launch: all` for `launch: {hosts: all}`); it is expanded before pydantic sees it, so
that there is exactly one model at every place of a file and errors can name its keys. Knows nothing of YAML.
"""

import re
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from msgspec import Struct
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

ALL = "all"
"""The word that stands for every host or service; no host or service may bear it."""

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


class Written(Struct, frozen=True):
    """A number, a truth value or a date of a file, with the text that stands for it there: 24.10, 0123, 0o755, 1e3."""

    value: Any
    text: str


def show(value: Any) -> str:
    """A value as it may stand in a message."""
    if isinstance(value, Written):
        return show(value.text).strip("'") if len(value.text) <= 60 else show(value.text)
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


def listed(words: Iterable[str], limit: int = 12) -> str:
    """The words in one line, shortened when they are many."""
    items = list(words)
    return ", ".join(items[:limit]) + (f" … ({len(items)} in all)" if len(items) > limit else "")


class Note(Struct, frozen=True):
    """Something worth knowing that is no fault: where (as in `Problem`), and a sentence."""

    where: tuple[str | int, ...]
    text: str


class Problem(Struct, frozen=True):
    """One thing wrong with a scenario: where (keys and indices from the top), what was found, what was expected."""

    where: tuple[str | int, ...]
    found: str
    expected: str
    hint: str = ""
    at_key: bool = False
    """The key itself is wrong, not its value."""

    @property
    def said(self) -> str:
        """In a sentence, without the place."""
        return f"found {self.found}, expected {self.expected}" + (f"; {self.hint}" if self.hint else "")


class Model(BaseModel):
    """A part of a scenario: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", serialize_by_alias=True)

    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields that the lab fills in when a file is read; nobody is asked for them."""
    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ()
    """JSON schemas of the short forms that `expand` knows."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """The full form of a short one; anything else as it is."""
        return value

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, Written):  # a short form: what it means is told by its text
            value = value.text if cls.short_schema else value.value
        value = cls.expand(value)
        if not isinstance(value, dict):
            return value
        kinds = {field.alias or name: field.annotation for name, field in cls.model_fields.items()}
        return {key: settled(item, kinds.get(key)) for key, item in value.items()}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        from lab.scenario.field_docs import field_docs

        full = handler(schema)
        resolved = handler.resolve_ref_schema(full)
        for name, text in field_docs(cls).items():
            described = resolved.get("properties", {}).get(cls.model_fields[name].alias or name)
            if described is not None:
                described.setdefault("description", text)
        if not cls.short_schema:
            return full
        body = dict(resolved)
        resolved.clear()
        resolved["anyOf"] = [*cls.short_schema, body]
        return full


def settled(value: Any, kind: Any) -> Any:
    """A value of a file as a field of this type wants it: with its text where text is wanted, else as a number.

    Where both are, a number stays one if it is written as numbers are, so that `0123` keeps its zero."""
    if isinstance(value, Written):
        wanted = _wanted(kind)
        if not wanted & {str, Model} or (isinstance(value.value, bool) and bool in wanted):
            return value.value
        if Model in wanted:
            return value
        if int in wanted and isinstance(value.value, int) and str(value.value) == value.text:
            return value.value
        return value.text
    if isinstance(value, tuple | dict):
        inner = next((found for option in options_of(kind) if (found := _items(option, value)) is not None), None)
        if isinstance(value, dict):
            return value if inner is None else {key: settled(item, inner) for key, item in value.items()}
        return tuple(settled(item, inner) for item in value)
    return value


def _wanted(kind: Any) -> frozenset[Any]:
    """What scalars a type takes: str, int, float, bool; Model where a part's short form may stand."""
    found: set[Any] = set()
    for option in options_of(kind):
        origin = typing.get_origin(option)
        if origin is tuple:
            # One name instead of a list, one line instead of arguments.
            found |= {each for each in _wanted(typing.get_args(option)[0]) if each is str}
        elif origin is typing.Literal:
            found |= {type(word) for word in typing.get_args(option)}
        elif isinstance(option, type) and issubclass(option, Model):
            found.add(Model)
        elif option in (str, int, float, bool):
            found.add(option)
    return frozenset(found)


def _items(option: Any, value: Any) -> Any:
    """The type of the items of a list or a mapping."""
    arguments = typing.get_args(option)
    if isinstance(value, dict):
        return arguments[1] if typing.get_origin(option) is dict else None
    return arguments[0] if typing.get_origin(option) is tuple else None


def options_of(kind: Any) -> tuple[Any, ...]:
    """The members of a union; another type alone."""
    if typing.get_origin(kind) is typing.Annotated:
        return options_of(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(option for part in typing.get_args(kind) for option in options_of(part))
    return (kind,)


def model_of(kind: Any) -> type[Model] | None:
    """The model among the members of a union; None where all are plain values."""
    models = (option for option in options_of(kind) if isinstance(option, type) and issubclass(option, Model))
    return next(models, None)


def frozen(value: Any) -> Any:
    """Plain data with its lists as tuples, as a file's values come to the model."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def fault(expected: str, found: str | None = None) -> PydanticCustomError:
    """The error to raise from a validator; `found` replaces the input in the message."""
    context = {"expected": expected} | ({"found": found} if found is not None else {})
    return PydanticCustomError("value", "expected {expected}", context)


def at_least(number: int, what: str) -> AfterValidator:
    """A list must be so long. (Pydantic's own limit does not count items that are wrong in themselves.)"""

    def check(value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(value) < number:
            raise fault(f"at least {number} {what}")
        return value

    return AfterValidator(check)


def _name(value: str) -> str:
    if value == ALL or len(value) > 63 or not _NAME.fullmatch(value):
        raise fault("a name of letters, digits, '-' and '.', at most 63 long, other than 'all'")
    return value


def _dns_name(value: str) -> str:
    if len(value) > 253 or not _NAME.fullmatch(value) or any(len(label) > 63 for label in value.split(".")):
        raise fault("a DNS name as svc1.weave.local, at most 253 long, its labels at most 63")
    return value


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | str):
        raise fault("true, false, a whole number or text")
    return value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _filled(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise fault("at least one name")
    if len(set(value)) != len(value):
        raise fault("each name once", f"{', '.join(value)}")
    return value


def _command(value: Any) -> Any:
    return ("sh", "-c", value) if isinstance(value, str) and value.strip() else value


def _argued(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0]:
        raise fault("a command: a list of arguments or a line for the shell")
    return value


_one = {"type": "string"}
_many = {"type": "array", "items": {"type": "string"}, "minItems": 1}

NAMES_SCHEMA: tuple[dict[str, Any], ...] = (_one, _many)

ALL_ONLY: tuple[dict[str, Any], ...] = ({"const": ALL},)
"""The short form of what only `all` can stand for."""

Scalar = Annotated[bool | int | str, BeforeValidator(_scalar)]
"""A plain value: of an option, say."""

Name = Annotated[str, AfterValidator(_name)]
"""The name of a host, network, router or service."""

DnsName = Annotated[str, AfterValidator(_dns_name)]
"""A name to ask DNS for."""

Names = Annotated[
    tuple[str, ...], BeforeValidator(_listed), AfterValidator(_filled), WithJsonSchema({"anyOf": [_one, _many]})
]
"""One name, a list of names, or `all`; held as a tuple, `("all",)` for all."""

Command = Annotated[
    tuple[str, ...],
    BeforeValidator(_command),
    AfterValidator(_argued),
    WithJsonSchema({"anyOf": [_one, _many]}),
]
"""A list of arguments, or one line for the shell."""


def chosen(names: tuple[str, ...], everything: Iterable[str]) -> tuple[str, ...]:
    """The names meant by a selector."""
    return tuple(everything) if names == (ALL,) else names

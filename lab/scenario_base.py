"""What all parts of the scenario model have in common: strictness, short forms and problems with a place.

A part may have a short form (`launch: all` for `launch: {hosts: all}`); it is expanded before pydantic sees it, so
that there is exactly one model at every place of a file and errors can name its keys. Knows nothing of YAML.
"""

import re
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


class Problem(Struct, frozen=True):
    """One thing wrong with a scenario: where (keys and indices from the top), what was found, what was expected."""

    where: tuple[str | int, ...]
    found: str
    expected: str
    hint: str = ""
    at_key: bool = False
    """The key itself is wrong, not its value."""


class Model(BaseModel):
    """A part of a scenario: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", serialize_by_alias=True)

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ()
    """JSON schemas of the short forms that `expand` knows."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """The full form of a short one; anything else as it is."""
        return value

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return cls.expand(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler(schema)
        if not cls.short_schema:
            return full
        resolved = handler.resolve_ref_schema(full)
        body = dict(resolved)
        resolved.clear()
        resolved["anyOf"] = [*cls.short_schema, body]
        return full


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

Scalar = Annotated[bool | int | str, BeforeValidator(_scalar)]
"""A plain value: of an option, say."""

Name = Annotated[str, AfterValidator(_name)]
"""The name of a host, network, router or service."""

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

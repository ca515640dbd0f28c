"""The type of a key whose value names a kind of a registry: `overlay: {kind: …}`, `probes: [{kind: …}]`.

Owns how such a name is checked and how the JSON schema lists what there is. Imports a kind of another package only to
say why it cannot be used.
"""

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from lab.foreign_code import NAME, is_code
from lab.kinds.overlays import OVERLAYS
from lab.registry import KindError, Registry
from lab.scenario.base import fault

__all__ = ["KindName", "enumeration"]


def enumeration(registry: Registry[Any]) -> dict[str, Any]:
    """The JSON schema of a name."""
    names = {"enum": list(registry.names())}
    return {"anyOf": [names, {"type": "string", "pattern": f"^{NAME}$"}]} if registry is OVERLAYS else names


class KindName:
    """In an annotation of a text: it is the name of a kind that can be used."""

    def __init__(self, registry: Registry[Any]) -> None:
        self._registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return enumeration(self._registry) | {"type": "string"}

    def _checked(self, name: str) -> str:
        if name not in self._registry and not (self._registry is OVERLAYS and is_code(name)):
            *others, last = [repr(known) for known in self._registry.names()]
            expected = f"{', '.join(others)} or {last}" if others else last
            raise PydanticCustomError("literal_error", "expected {expected}", {"expected": expected})
        try:
            self._registry.get(name)
        except KindError as error:
            raise fault(f"another {self._registry.sort}: {error}") from None
        return name

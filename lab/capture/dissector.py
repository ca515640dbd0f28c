"""The Wireshark dissector of `docs/wire.md`: tables of all structs of `overlay.wire`, before `dissector.lua`.

Owns the translation of the structs' types to Lua; how bytes are shown is in `dissector.lua`.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from msgspec import NODEFAULT, inspect

from lab.capture.file import MARK_ETHERTYPE
from overlay.crypto.secure_peer import SECURE_PORT
from overlay.datapath import fast_probe
from overlay.datapath.vxlan import VXLAN_PORT
from overlay.mesh.session import MAGIC
from overlay.options import LaunchOptions
from overlay.wire.codec import DATAGRAM_MAGIC, MAX_DATAGRAM, MAX_MESSAGE
from overlay.wire.envelopes import DatagramMessage, DigestKind, Envelope, Reason

__all__ = ["dissector"]
_SECOND_HALF: Final = Path(__file__).with_name("dissector.lua")

ELEMENTS: Final[Mapping[str, Sequence[str]]] = {
    "TopologyVector.known": ("name", "uid", "version"),
    "News.items": ("channel", "delta"),
    "Digests.items": ("channel", "digest"),
    "OriginVector.known": ("origin", "uid", "version"),
    "EndpointValue.labels": ("key", "value"),
    "RingVector.known": ("start", "version", "check"),
    "PolicyVector.standing": ("writer", "number", "check"),
}
"""Names of the elements of tuples, because a type has only their types."""

_WORDS: Final[Mapping[str, type[IntEnum]]] = {"Goodbye.reason": Reason, "Digests.kind": DigestKind}
_HEX: Final = {"nonce", "connection", "digest", "identity", "check", "table"}
"""Integers that are random or hashes, not counts."""


def dissector() -> str:
    """One Lua file: the tables, then `dissector.lua`."""
    structs: dict[str, inspect.StructType] = {}
    for union in (Envelope, DatagramMessage):
        _collect(inspect.type_info(union), structs)
    lines = [
        "-- Printed by `lab capture --dissector`: tables of the structs of overlay/wire, then dissector.lua.",
        "",
        f"local MAX_MESSAGE, MAX_DATAGRAM = {MAX_MESSAGE}, {MAX_DATAGRAM}",
        f"local MAGIC, DATAGRAM, PROBE = {_quoted(MAGIC)}, {_quoted(DATAGRAM_MAGIC)}, {_quoted(fast_probe.MAGIC)}",
        f"local CONTROL_PORT, ETHERTYPE = {LaunchOptions().port}, 0x{fast_probe.ETHERTYPE:04x}",
        f"local MARK_ETHERTYPE = 0x{MARK_ETHERTYPE:04x}",
        f"local VXLAN_PORTS = {{{VXLAN_PORT}, {SECURE_PORT}}}",
        "",
        f"local MESSAGES = {_tags(inspect.type_info(Envelope))}",
        f"local DATAGRAMS = {_tags(inspect.type_info(DatagramMessage))}",
        "",
        "local ORDER = {",
        *(f'    "{name}",' for name in sorted(structs)),
        "}",
        "",
        "local STRUCTS = {",
    ]
    for name, struct in sorted(structs.items()):
        least = sum(field.default is NODEFAULT and field.default_factory is NODEFAULT for field in struct.fields)
        tag = "" if struct.tag is None else f"tag = {struct.tag}, "
        lines.append(f"    {name} = {{{tag}least = {least}, fields = {{")
        for field in struct.fields:
            path = f"{name}.{field.name}"
            lines.append(f'        {{name = "{field.name}", type = {_type(field.type, path, field.name)}}},')
        lines.append("    }},")
    lines += ["}", "", ""]
    return "\n".join(lines) + _SECOND_HALF.read_text(encoding="utf-8")


def _collect(kind: inspect.Type, found: dict[str, inspect.StructType]) -> None:
    """All structs that a type contains, by name."""
    match kind:
        case inspect.StructType() if kind.cls.__name__ not in found:
            found[kind.cls.__name__] = kind
            for field in kind.fields:
                _collect(field.type, found)
        case inspect.UnionType(types) | inspect.TupleType(types):
            for each in types:
                _collect(each, found)
        case inspect.VarTupleType():
            _collect(kind.item_type, found)


def _type(kind: inspect.Type, path: str, name: str) -> str:
    """A type as a Lua table. `path` is its struct and field, `name` that of the field or of the tuple's element."""
    match kind:
        case inspect.IntType():
            low = [f'low = "{kind.ge:x}"'] if kind.ge is not None else []
            high = [f'high = "{kind.le:x}"'] if kind.le is not None else []
            words = _WORDS.get(path)
            named = (
                ["words = " + _map({one.value: one.name.lower().replace("_", " ") for one in words})] if words else []
            )
            return _table("int", [*low, *high, *(["hex = true"] if name in _HEX else []), *named])
        case inspect.StrType() | inspect.BytesType():
            least = [f"least = {kind.min_length}"] if kind.min_length is not None else []
            most = [f"most = {kind.max_length}"] if kind.max_length is not None else []
            return _table("str" if isinstance(kind, inspect.StrType) else "bin", [*least, *most])
        case inspect.BoolType():
            return _table("bool", [])
        case inspect.StructType() | inspect.UnionType():
            return _table("choice", _choice(kind))
        case inspect.VarTupleType():
            most = [f"most = {kind.max_length}"] if kind.max_length is not None else []
            return _table("list", [f"item = {_type(kind.item_type, path, name)}", *most])
        case inspect.TupleType():
            names = ELEMENTS[path]
            items = [_type(each, path, word) for each, word in zip(kind.item_types, names, strict=True)]
            quoted = ", ".join(f'"{word}"' for word in names)
            return _table("tuple", [f"names = {{{quoted}}}", f"items = {{{', '.join(items)}}}"])
    raise TypeError(f"{path} is of a type that the dissector does not know: {kind}")


def _choice(kind: inspect.StructType | inspect.UnionType) -> list[str]:
    types = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    structs = [each for each in types if isinstance(each, inspect.StructType)]
    null = ["null = true"] if any(isinstance(each, inspect.NoneType) for each in types) else []
    if len(structs) + len(null) != len(types):
        raise TypeError(f"a choice of other things than structs: {kind}")
    if len(structs) == 1:
        return [f'plain = "{structs[0].cls.__name__}"', *null]
    return [f"tags = {_tags(kind)}", *null]


def _tags(kind: inspect.Type) -> str:
    types: Sequence[inspect.Type] = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    names: dict[Any, str] = {each.tag: each.cls.__name__ for each in types if isinstance(each, inspect.StructType)}
    return _map(dict(sorted(names.items())))


def _table(kind: str, rest: Sequence[str]) -> str:
    return "{" + ", ".join([f'kind = "{kind}"', *rest]) + "}"


def _map(words: Mapping[Any, str]) -> str:
    return "{" + ", ".join(f'[{number}] = "{word}"' for number, word in words.items()) + "}"


def _quoted(data: bytes) -> str:
    """Bytes as a Lua string."""
    return '"' + "".join(chr(byte) if 32 <= byte < 127 else f"\\{byte:03d}" for byte in data) + '"'

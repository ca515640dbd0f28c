"""`docs/wire.md` against the code: every struct has its row with the right tag and fields, every example decodes.

`GOLDEN_REWRITE=1` writes the examples again; read the difference, for it is a change of the wire.
"""

import os
import re
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from msgspec import inspect

from overlay.config import Address
from overlay.crypto.derive import RootKeys
from overlay.crypto.seal import Opener, Sealer
from overlay.mesh.session import Session
from overlay.wire.codec import Body, decode_datagram, decode_message, encode_datagram, encode_message
from overlay.wire.envelopes import DatagramMessage, Delta, Envelope, News, Prune, Routed, Vector, Want
from overlay.wire.origins import NameValue, OriginDelta, OriginEntry, OriginState
from overlay.wire.ring import Lineage, RingDelta, Token
from overlay.wire.topology import PeerRecord, TopologyDelta, TopologyLink, TopologyVector

PAGE = Path(__file__).parents[3] / "docs" / "wire.md"
BEGIN, END = "<!-- examples -->\n", "<!-- end of examples -->\n"
ROOT = bytes(range(32))

RECORD = PeerRecord("a", 1, 2, "alpha", (TopologyLink("b", "10.0.0.2:6783", True, True),), False, b"")
RING = RingDelta("10.32.0.0/12", Lineage(1, 2, 3), (Token(0, 9, "a", 1, 8),))
NAMES = OriginDelta(
    (OriginState("a", 1, 2, 0, 0, (OriginEntry("svc", 2, NameValue("svc.weave.local.", "10.0.1.1", "c")),)),)
)


def structs() -> dict[str, inspect.StructType]:
    """Every struct that has a tag, by name."""
    found: dict[str, inspect.StructType] = {}

    def visit(kind: Any) -> None:
        match kind:
            case inspect.StructType():
                if kind.cls.__name__ not in found:
                    found[kind.cls.__name__] = kind
                    for field in kind.fields:
                        visit(field.type)
            case inspect.UnionType() | inspect.TupleType():
                for each in kind.types if isinstance(kind, inspect.UnionType) else kind.item_types:
                    visit(each)
            case inspect.VarTupleType():
                visit(kind.item_type)

    for union in (Envelope, DatagramMessage):
        visit(inspect.type_info(union))
    return found


def example(kind: Any) -> Any:
    """A value of builtin types that decodes as `kind`, always the same; lists have one element."""
    match kind:
        case inspect.StructType():
            tag = [] if kind.tag is None else [kind.tag]
            return tag + [example(field.type) for field in kind.fields]
        case inspect.UnionType():
            return example(next(each for each in kind.types if not isinstance(each, inspect.NoneType)))
        case inspect.VarTupleType():
            return [example(kind.item_type)]
        case inspect.TupleType():
            return [example(each) for each in kind.item_types]
        case inspect.IntType():
            return max(kind.ge or 0, 1)
        case inspect.StrType():
            return "a"
        case inspect.BytesType():
            return bytes(range(kind.max_length or 4))
        case inspect.BoolType():
            return True
        case inspect.EnumType():
            return next(iter(kind.cls)).value
    raise AssertionError(f"the wire has a type that this test does not know: {kind}")


def examples() -> str:
    """The block of the page: name and bytes of one of each, then what needs more than one."""
    lines = ["```"]
    for name, kind in structs().items():
        if kind.cls in DatagramMessage.__args__:
            message: Any = msgspec.convert(example(kind), kind.cls)
            lines.append(f"{name:<15} {encode_datagram(message).hex()}")
        elif kind.cls in Envelope.__args__:
            lines.append(f"{name:<15} {encode_message(cast(Any, msgspec.convert(example(kind), kind.cls))).hex()}")
    told: list[Any] = [
        *(News((("topology", TopologyDelta((RECORD,))),)), News((("ipam", RING),), True), News((("dns", NAMES),))),
        Want("topology", TopologyVector((("a", 1, 2),)), True),
    ]
    for message in told:
        lines.append(f"{type(message).__name__:<15} {encode_message(message).hex()}")
    for kind in inspect.type_info(Body).types:  # type: ignore[attr-defined]
        body = msgspec.convert(example(kind), kind.cls)
        lines.append(f"{'Routed':<15} {encode_message(Routed('a', 'b', 'ipam', 63, body)).hex()}")
    lines.append(f"{'first-frame':<15} {Session().outgoing().hex()}")
    a = Session()
    a.receive(Session().outgoing())
    a.secure(RootKeys(ROOT, ROOT))
    lines.append(f"{'sealed-frame':<15} {a.encode(Prune()).hex()}")
    lines.append(f"{'sealed-packet':<15} {Sealer(ROOT, 0).seal(b'frame', b'header', 0).hex()}")
    return "\n".join([*lines, "```", ""])


def documented() -> list[tuple[str, bytes]]:
    block = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    return [(name, bytes.fromhex(octets)) for name, octets in re.findall(r"^([\w-]+) +([0-9a-f]+)$", block, re.M)]


def test_the_examples_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, "the page has lost the markers of its examples"
    wanted = before + BEGIN + examples() + END + after
    if os.environ.get("GOLDEN_REWRITE") == "1":
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted


def test_every_example_decodes_to_what_it_is_called_and_back() -> None:
    names = {kind.__name__ for kind in DatagramMessage.__args__}
    seen = set()
    for name, octets in documented():
        seen.add(name)
        if name == "first-frame":
            session = Session()
            assert session.receive(octets) == [] and session.agreed == 1
        elif name == "sealed-frame":
            session = Session()
            session.receive(Session().outgoing())
            session.secure(RootKeys(ROOT, ROOT))
            assert session.receive(octets) == [Prune()]
        elif name == "sealed-packet":
            assert Opener(ROOT).open(octets, b"header") == b"frame"
        elif name in names:
            datagram = decode_datagram(octets)
            assert type(datagram).__name__ == name and encode_datagram(datagram) == octets
        else:
            message = decode_message(octets)
            assert type(message).__name__ == name and encode_message(message) == octets
    assert seen >= {kind.__name__ for kind in (*Envelope.__args__, *DatagramMessage.__args__)}


@pytest.mark.parametrize("name", sorted(structs()))
def test_every_struct_has_a_row_with_its_tag_and_its_fields_in_order(name: str) -> None:
    kind = structs()[name]
    rows = re.findall(rf"^\| *([\d-]*) *\| {name} \|(.*)\|$", PAGE.read_text(), re.M)
    assert len(rows) == 1, f"{name} has {len(rows)} rows in the page"
    tag, fields = rows[0]
    assert tag.strip("- ") == ("" if kind.tag is None else str(kind.tag))
    found = [match for match in re.findall(r"[a-z_]+", fields) if match in {field.name for field in kind.fields}]
    order = list(dict.fromkeys(found))
    assert order == [field.name for field in kind.fields], f"{name}: documented {order}"


def test_vectors_and_deltas_are_among_the_structs() -> None:
    assert {kind.__name__ for kind in (*Delta.__args__, *Vector.__args__)} <= set(structs())
    assert str(Address("::1", 1)) == "[::1]:1"

"""Tables of a run: sequences of typed records, and the same as columns for data frames.

Owns the names and types of columns. Knows nothing of runs. pyarrow, which stores the columns, is imported only when a
frame is requested.
"""

import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload

import msgspec

from lab.errors import LabError

__all__ = ["Column", "RecordTable"]

R = TypeVar("R", bound=msgspec.Struct)
Kind = Literal["whole", "number", "truth", "text", "texts"]

_TIMES = frozenset({"t", "latency", "late", "start", "end", "until", "took", "overall"})
"""Fields that contain nanoseconds: the names of their columns get `_ns`."""


class Column(NamedTuple):
    """One column of a frame: its name, its type, and how to get its value from a record."""

    name: str
    kind: Kind
    of: Callable[[Any], Any]


class RecordTable(Sequence[R], Generic[R]):
    """Records of one type in order. Their times are integer nanoseconds since the start of the run."""

    def __init__(self, record: type[R], rows: Iterable[R], columns: Sequence[Column] | None = None) -> None:
        self.record = record
        """The type of the rows; its docstrings explain each field."""
        self._rows = tuple(rows)
        self._columns = columns

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[R, ...]: ...
    def __getitem__(self, index: int | slice) -> R | tuple[R, ...]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{len(self._rows)} records of {self.record.__name__}>"

    def where(self, **fields: Any) -> "RecordTable[R]":
        """The rows whose fields have these values: `run.samples.where(probe="http", ok=False)`."""
        known = self.record.__struct_fields__
        if odd := [name for name in fields if name not in known]:
            raise LabError(f"{self.record.__name__} has no field {odd[0]!r}, expected one of: {', '.join(known)}")
        rows = (row for row in self._rows if all(getattr(row, name) == value for name, value in fields.items()))
        return RecordTable(self.record, rows, self._columns)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of this table's frame. Names of times end in `_ns`."""
        return _columns(self.record) if self._columns is None else tuple(self._columns)

    def frame(self) -> Any:
        """The table as a `pyarrow.Table`; its `.to_pandas()` returns a pandas DataFrame. Raises `LabError` if pyarrow
        is not installed. Values without an Arrow type (an event's `detail`) are JSON."""
        try:
            import pyarrow
        except ImportError:
            raise LabError("a frame needs pyarrow, which is not installed: pip install 'overlay-lab[frames]'") from None
        kinds = {
            "whole": pyarrow.int64(),
            "number": pyarrow.float64(),
            "truth": pyarrow.bool_(),
            "text": pyarrow.string(),
            "texts": pyarrow.list_(pyarrow.string()),
        }
        return pyarrow.table(
            {
                column.name: pyarrow.array([column.of(row) for row in self._rows], kinds[column.kind])
                for column in self.columns
            }
        )


def _columns(record: type[msgspec.Struct]) -> tuple[Column, ...]:
    hints = typing.get_type_hints(record)
    return tuple(_column(name, hints[name]) for name in record.__struct_fields__)


def _column(name: str, hint: Any) -> Column:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    (kind,) = (option for option in options if option is not type(None))

    def plain(row: Any) -> Any:
        return getattr(row, name)

    def as_json(row: Any) -> str:
        return msgspec.json.encode(getattr(row, name)).decode()

    if kind is int:
        return Column(f"{name}_ns" if name in _TIMES else name, "whole", plain)
    if kind is bool:
        return Column(name, "truth", plain)
    if kind is float:
        return Column(name, "number", plain)
    if kind is str or typing.get_origin(kind) is Literal:
        return Column(name, "text", plain)
    if typing.get_args(kind) == (str, ...):
        return Column(name, "texts", plain)
    return Column(name, "text", as_json)

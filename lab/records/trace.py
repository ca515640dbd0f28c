"""The traces of a run: tables of counters and of single deliveries, in Parquet, in the folder `trace` of the run.

Owns the tables, their columns, types and units, and that equal rows give equal bytes. Only this module imports pyarrow,
which writes and reads them. Does not know the sources of the rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lab.errors import LabError, Unreadable

__all__ = ["FOLDER", "TABLES", "TraceColumn", "Traces", "need_pyarrow", "write_traces"]

FOLDER = "trace"
_INSTALL = "pip install 'overlay-lab[sweep]'"


class TraceColumn(NamedTuple):
    """One column: its name (with the unit as suffix, `_ns`), its Arrow type, and its description."""

    name: str
    type: Literal["int64", "float64", "string", "bool"]
    about: str


_T = TraceColumn("t_ns", "int64", "when, in nanoseconds since the start of the run")
_HOST = TraceColumn("host", "string", "the member")

TABLES: Mapping[str, tuple[TraceColumn, ...]] = {
    "messages": (
        TraceColumn("t_ns", "int64", "start of the second in which they were sent, in nanoseconds"),
        TraceColumn("sender", "string", "host that sent them"),
        TraceColumn("receiver", "string", "host that they were sent to, whether they arrived or not"),
        TraceColumn("kind", "string", "what they are: the name of the message's class"),
        TraceColumn("transport", "string", "`tcp` or `udp`"),
        TraceColumn("count", "int64", "how many"),
        TraceColumn("bytes", "int64", "of all of them, without the headers of TCP, UDP and IP"),
    ),
    "payloads": (
        TraceColumn("t_ns", "int64", "when it was published"),
        TraceColumn("payload", "string", "its name"),
        TraceColumn("origin", "string", "the member that published it"),
        TraceColumn("bytes", "int64", "of the payload itself; 0 where it has no size of its own"),
        TraceColumn("expected", "int64", "members that ran when it was published"),
        TraceColumn("delivered", "int64", "members that got it, its origin among them"),
        TraceColumn("copies", "int64", "messages with it that members received"),
        TraceColumn("rmr", "float64", "copies / (delivered - 1) - 1; null where nobody else got it"),
        TraceColumn("last_hop", "int64", "hops of the delivery that took most of them"),
        TraceColumn("last_delivery_ns", "int64", "from publishing to the last delivery"),
    ),
    "deliveries": (
        _T,
        TraceColumn("payload", "string", "what was delivered for the first time"),
        TraceColumn("origin", "string", "the member that published it"),
        _HOST,
        TraceColumn("sender", "string", "whose copy came first; empty at the origin"),
        TraceColumn("hops", "int64", "of that copy: one more than the sender's; 0 at the origin"),
        TraceColumn("latency_ns", "int64", "since it was published"),
    ),
    "edges": (
        _T,
        _HOST,
        TraceColumn("peer", "string", "the other end"),
        TraceColumn("kind", "string", "`neighbour`: the member talks with it; `tree`: payload goes there at once"),
        TraceColumn("up", "bool", "from now on there is this edge, or not any more"),
    ),
    "views": (
        _T,
        _HOST,
        TraceColumn("members", "int64", "how many others it holds for members"),
        TraceColumn("suspects", "int64", "how many of these it suspects"),
        TraceColumn("neighbours", "int64", "with how many it talks"),
    ),
    "failures": (
        TraceColumn("t_ns", "int64", "when the member ended"),
        _HOST,
        TraceColumn("left", "bool", "it said farewell"),
        TraceColumn("first_ns", "int64", "until a member suspected it or held it for gone; null: none did"),
        TraceColumn("first_by", "string", "which one"),
        TraceColumn("removed_ns", "int64", "until a member held it for gone; null: none did"),
        TraceColumn("all_ns", "int64", "until no member believed in it; null: one still did"),
    ),
    "measures": (
        _T,
        _HOST,
        TraceColumn("name", "string", "of a number of the protocol's own"),
        TraceColumn("value", "float64", "the number"),
    ),
}
"""Table -> its columns. Rows are in the order of events; those of `messages` in the order of their seconds, then of the
first message of each kind."""


def need_pyarrow() -> None:
    """Raise `LabError` if traces cannot be written."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise LabError(f"--trace writes Parquet, which takes pyarrow: {_INSTALL}") from None


def write_traces(run_dir: Path, tables: Mapping[str, Sequence[Sequence[Any]]]) -> Path:
    """Write all tables, rows in the order of the columns; returns their folder."""
    need_pyarrow()
    import pyarrow
    from pyarrow import parquet

    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    for name, columns in TABLES.items():
        rows = tables.get(name, ())
        arrays = [
            pyarrow.array([row[index] for row in rows], getattr(pyarrow, _ARROW[column.type])())
            for index, column in enumerate(columns)
        ]
        table = pyarrow.table(dict(zip((column.name for column in columns), arrays, strict=True)))
        half = folder / f".{name}.new"
        parquet.write_table(table, half, compression="zstd")
        half.replace(folder / f"{name}.parquet")
    return folder


_ARROW = {"int64": "int64", "float64": "float64", "string": "string", "bool": "bool_"}


class Traces:
    """The tables of a run's traces, read on demand: `.messages`, `.deliveries` … as `pyarrow.Table`.

    `frame(name)` returns a table as a pandas data frame. Raises `LabError` if the run was not traced.
    """

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / FOLDER
        self._read: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return self.folder.is_dir()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *TABLES]

    def __getattr__(self, name: str) -> Any:
        if name not in TABLES:
            raise AttributeError(f"no table {name!r} among the traces, expected one of: {', '.join(TABLES)}")
        return self.table(name)

    def table(self, name: str) -> Any:
        """A table of `TABLES` as an Arrow table."""
        if name not in TABLES:
            raise LabError(f"no table {name!r} among the traces, expected one of: {', '.join(TABLES)}")
        if name not in self._read:
            path = self.folder / f"{name}.parquet"
            if not path.is_file():
                raise LabError(f"{self.folder.parent} was not traced: play it again with --trace (on sim)")
            try:
                from pyarrow import parquet
                from pyarrow.lib import ArrowException
            except ImportError:
                raise LabError(f"{path}: reading Parquet takes pyarrow: {_INSTALL}") from None
            try:
                self._read[name] = parquet.read_table(path)
            except (ArrowException, OSError) as error:
                raise Unreadable(f"{path} is no table in Parquet: {error}") from None
        return self._read[name]

    def frame(self, name: str) -> Any:
        """A table as a pandas data frame."""
        try:
            return self.table(name).to_pandas()
        except ImportError:
            raise LabError("a data frame takes pandas: pip install pandas") from None

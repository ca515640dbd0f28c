"""A sweep's table in Parquet: the rows of `columns.py` with columns of fixed types, independent of their content.

Owns how a type is written; an empty cell is null. Knows nothing of points.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabError, Unreadable
from lab.sweep.columns import Kind, kind_of


def write(
    path: Path,
    header: Sequence[str],
    body: Sequence[Sequence[Any]],
    kind: Callable[[str, Sequence[Any]], Kind] = kind_of,
) -> bool:
    """Write the table; False if pyarrow is not installed. `kind` says a column's type."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False
    types = {"whole": pyarrow.int64(), "number": pyarrow.float64(), "text": pyarrow.string()}

    def column(name: str, index: int) -> Any:
        cells = [row[index] for row in body]
        return pyarrow.array(cells, types[kind(name, cells)])

    half = path.with_name(f".{path.name}.new")
    parquet.write_table(pyarrow.table({name: column(name, index) for index, name in enumerate(header)}), half)
    half.replace(path)
    return True


def read(path: Path) -> list[dict[str, str]]:
    """The rows with text values, as in the CSV. Raises `LabError` if pyarrow is missing, or for another
    kind of file."""
    try:
        from pyarrow import parquet
        from pyarrow.lib import ArrowException
    except ImportError:
        raise LabError(f"{path}: reading Parquet takes pyarrow: pip install 'overlay-lab[sweep]'") from None
    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise Unreadable(f"{path} is no table in Parquet: {error}") from None
    return [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in found]

"""A sweep's table in Parquet: the rows of `table.py` with columns of fixed types, whatever is in them.

Owns the types. Times that were not reached are infinite, so that medians and comparisons of any data frame come out
right; what does not apply is null. Knows nothing of points.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabError, Unreadable
from lab.sweep.measure import TIMES

NOT_REACHED = "not reached"
_TIMES = frozenset(f"{metric}_ns" for metric in TIMES)
_WHOLE = frozenset({"seed", "peers", "window_ns", "duration_ns"})
_FLOAT = frozenset({"wall_s", "bytes_per_peer", "messages_per_peer", "run_bytes_per_peer", "run_messages_per_peer"})


def write(path: Path, header: Sequence[str], body: Sequence[Sequence[Any]]) -> bool:
    """Write the table; False where pyarrow, which does it, is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False

    def column(name: str, index: int) -> Any:
        cells = [row[index] for row in body]
        if name in _TIMES:
            cells = [math.inf if cell == NOT_REACHED else cell for cell in cells]
        if name in _TIMES or name in _FLOAT:
            return pyarrow.array(cells, pyarrow.float64())
        if name in _WHOLE:
            return pyarrow.array(cells, pyarrow.int64())
        return pyarrow.array([None if cell is None else str(cell) for cell in cells], pyarrow.string())

    half = path.with_name(f".{path.name}.new")
    parquet.write_table(pyarrow.table({name: column(name, index) for index, name in enumerate(header)}), half)
    half.replace(path)
    return True


def read(path: Path) -> list[dict[str, str]]:
    """The rows as the CSV has them, all text. Raises `LabError` where pyarrow is missing, or for another file."""
    try:
        from pyarrow import parquet
        from pyarrow.lib import ArrowException
    except ImportError:
        raise LabError(f"{path}: reading Parquet takes pyarrow: pip install 'overlay-lab[sweep]'") from None
    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise Unreadable(f"{path} is no table in Parquet: {error}") from None
    return [{name: _text(name)(cell) for name, cell in row.items()} for row in found]


def _text(name: str) -> Callable[[Any], str]:
    if name in _TIMES:
        return lambda cell: "" if cell is None else NOT_REACHED if math.isinf(cell) else str(int(cell))
    return lambda cell: "" if cell is None else str(cell)

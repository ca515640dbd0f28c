"""Compiles the rows with the machine's C compiler, next to their source. Loads nothing.

python -m overlay.runtime.rows.building
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from overlay.errors import EnvironmentProblem
from overlay.runtime.rows.loading import SOURCE, build_path

__all__ = ["build", "compiler"]

_FLAGS = ("-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden", "-fstack-protector-strong")


def compiler() -> str:
    """The C compiler, or the empty string."""
    return shutil.which((os.environ.get("CC") or "cc").split()[0]) or ""


def build(into: Path | None = None, *, extra: tuple[str, ...] = ()) -> Path:
    """Compile the rows, unless that is done (`into`: always, into this folder); returns the library's path.

    Raises `EnvironmentProblem` without a compiler, or where the folder of the source may not be written.
    """
    target = build_path()
    if into is None and target.is_file():
        return target
    if not compiler():
        raise EnvironmentProblem("compiling the tunnel needs a C compiler, and there is none: sudo apt-get install gcc")
    where = into or target.parent
    try:
        with tempfile.TemporaryDirectory(dir=where, prefix="_rows_undone_") as work:
            made = Path(work) / target.name
            command = [compiler(), *_FLAGS, *extra, "-o", str(made), str(SOURCE), "-ldl"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode:
                raise EnvironmentProblem(f"the tunnel could not be compiled:\n{done.stderr.strip()[-2000:]}")
            made.rename(where / target.name)
    except OSError as error:
        raise EnvironmentProblem(f"the tunnel could not be compiled into {where}: {error.strerror or error}") from None
    if into is None:
        for old in where.glob("_rows_*.so"):
            if old != target and old.name.endswith(target.name.rpartition("_")[2]):
                old.unlink(missing_ok=True)
    return where / target.name


if __name__ == "__main__":
    print(build())

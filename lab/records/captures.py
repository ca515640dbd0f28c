"""The packet capture files in a run directory: names and sizes. Owns their folder; does not read the files."""

from pathlib import Path

from msgspec import Struct

__all__ = ["CAPTURES", "StoredCapture", "stored_captures"]

CAPTURES = "captures"
"""Name of the folder in the run directory."""
_MOST = 1000


class StoredCapture(Struct, frozen=True):
    """One capture file."""

    name: str
    bytes: int


def stored_captures(run_dir: Path) -> list[StoredCapture]:
    """All capture files of a run, by name; empty if the folder cannot be read, or is a symbolic link."""
    folder = run_dir / CAPTURES
    try:
        if folder.is_symlink():
            return []
        files = sorted(path for path in folder.glob("*.pcapng") if path.is_file() and not path.is_symlink())
        return [StoredCapture(path.name, path.stat().st_size) for path in files[:_MOST]]
    except OSError:
        return []

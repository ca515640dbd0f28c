"""The files of packets in a run directory: which there are, and how large. Owns their folder; reads none of them."""

from pathlib import Path

from msgspec import Struct

__all__ = ["CAPTURES", "StoredCapture", "stored_captures"]

CAPTURES = "captures"
"""The folder of a run's directory."""
_MOST = 1000


class StoredCapture(Struct, frozen=True):
    """One file."""

    name: str
    bytes: int


def stored_captures(run_dir: Path) -> list[StoredCapture]:
    """All of a run, by name; none where the folder cannot be read, or is somebody's link."""
    folder = run_dir / CAPTURES
    try:
        if folder.is_symlink():
            return []
        files = sorted(path for path in folder.glob("*.pcapng") if path.is_file() and not path.is_symlink())
        return [StoredCapture(path.name, path.stat().st_size) for path in files[:_MOST]]
    except OSError:
        return []

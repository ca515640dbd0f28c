"""Scenarios that come with the lab, by name: `walkthrough` stands for the file of that name.

Owns where these files are (in a wheel next to this file, in a checkout in `scenarios/`), and which file a word means.
Knows nothing of what is in them but their first line.
"""

import difflib
from pathlib import Path

from lab.errors import LabError

__all__ = ["called", "named", "names"]

_SUFFIX = ".yaml"


def names() -> dict[str, Path]:
    """Every packaged scenario by its name, in order of names."""
    folder = _folder()
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))} if folder is not None else {}


def named(word: str) -> Path:
    """The file that a word of a command means: a file of that path, or else the packaged scenario of that name.

    Raises `LabError` for a word that looks like a name and is none.
    """
    path = Path(word)
    if path.name != word or path.suffix or path.is_file() or (path.exists() and not path.is_dir()):
        return path
    known = names()
    if word in known:
        return known[word]
    if path.exists():
        return path
    close = difflib.get_close_matches(word, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise LabError(
        f"found no file and no packaged scenario named {word!r}, expected a scenario file or a name that "
        f"`lab scenarios` lists{hint}"
    )


def called(path: Path) -> str:
    """What to type for a file: the name of a packaged scenario, where it means the same here, or else the path."""
    packaged = path.is_absolute() and path.parent == _folder() and path.suffix == _SUFFIX
    return path.stem if packaged and not Path(path.stem).exists() else str(path)


def _folder() -> Path | None:
    here = Path(__file__).resolve()
    places = (here.parent / "packaged", here.parents[2] / "scenarios")  # of a wheel, of a checkout
    return next((place for place in places if place.is_dir()), None)

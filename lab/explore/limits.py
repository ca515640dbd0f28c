"""How long noticing a fault, and getting over it, takes where nothing else happens: learned from such runs. Pure.

Owns what is learned from what, and the file that keeps it, so that one version of the code can be held against
another: a bug that makes everything three times slower also makes its own limits three times wider.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.errors import LabError
from lab.scenario.values import UNITS

__all__ = ["Limits", "learned", "read_limits", "write_limits"]

_FACTOR = 3, 2
_SPARE = UNITS["s"]
"""A limit is half as much again as the longest time that was seen, and a second."""


class Limits(Struct, frozen=True):
    """Fault (as `partition isolate`) -> nanoseconds."""

    notice: Mapping[str, int]
    """Until all that is left agrees, from the fault on; a fault that is not in it is never settled."""
    recover: Mapping[str, int]
    """The same from its end on."""


def learned(notice: Mapping[str, list[int | None]], recover: Mapping[str, list[int | None]]) -> Limits:
    """Limits from what runs took; None: it did not come about at all, so nothing is demanded."""
    return Limits(_limits(notice), _limits(recover))


def _limits(times: Mapping[str, list[int | None]]) -> dict[str, int]:
    found = {}
    for key, seen in sorted(times.items()):
        known = [time for time in seen if time is not None]
        if known and len(known) == len(seen):
            longest = max(known) * _FACTOR[0] // _FACTOR[1] + _SPARE
            found[key] = -(-longest // (100 * UNITS["ms"])) * (100 * UNITS["ms"])
    return found


def read_limits(path: Path) -> Limits:
    """Raises `LabError` with what is wrong with the file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Limits)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}: expected limits as `lab explore --learn FILE` writes them") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LabError(f"{path}: no limits ({error}): `lab explore --learn {path}` writes them") from None


def write_limits(path: Path, limits: Limits) -> None:
    """Write what was learned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(limits), indent=1) + b"\n")

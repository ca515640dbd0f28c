"""How long noticing a fault, and recovering from it, takes without other faults: learned from such runs. Pure.

Owns what is learned from what, and the file that stores it, so that one version of the code can be checked with the
limits of another: a bug that makes everything three times slower also makes its own limits three times wider.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.errors import LabError
from lab.scenario.values import UNITS

__all__ = ["Limits", "learned", "read_limits", "write_limits"]

_FACTOR = 3, 2
_SPARE = 2 * UNITS["s"]
"""A limit is 1.5 times the longest observed time, plus this."""
_FEWEST = 3
"""Fewer times say too little."""


class Limits(Struct, frozen=True):
    """Fault (such as `partition isolate`) -> nanoseconds."""

    notice: Mapping[str, int]
    """From the fault until all remaining peers agree; a fault that is missing never settles."""
    recover: Mapping[str, int]
    """From the end of the fault until all agree."""


def learned(notice: Mapping[str, list[int | None]], recover: Mapping[str, list[int | None]]) -> Limits:
    """Limits from the measured times of runs; None: the time was not reached, so there is no limit."""
    return Limits(_limits(notice), _limits(recover))


def _limits(times: Mapping[str, list[int | None]]) -> dict[str, int]:
    found = {}
    for key, seen in sorted(times.items()):
        known = [time for time in seen if time is not None]
        if len(known) == len(seen) >= _FEWEST:
            longest = max(known) * _FACTOR[0] // _FACTOR[1] + _SPARE
            found[key] = -(-longest // (100 * UNITS["ms"])) * (100 * UNITS["ms"])
    return found


def read_limits(path: Path) -> Limits:
    """Read the file; raises `LabError` with its error."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Limits)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}: expected limits as `lab explore --learn FILE` writes them") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LabError(f"{path}: no limits ({error}): `lab explore --learn {path}` writes them") from None


def write_limits(path: Path, limits: Limits) -> None:
    """Write the learned limits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(limits), indent=1) + b"\n")

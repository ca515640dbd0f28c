"""What earlier lives left on the disk, read in one place: data that cannot be understood ends the start in a sentence.

The data came through its checksum, so it was written so: by another version of this program, or by a program that is
none. It stays as it is, because its writer may still need it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from overlay.errors import EnvironmentProblem, UsageError

__all__ = ["decode", "understood"]

_ODD = (msgspec.MsgspecError, ValueError, LookupError, TypeError, AssertionError, RecursionError, UsageError)


@contextlib.contextmanager
def understood(key: str) -> Iterator[None]:
    """Raises `EnvironmentProblem` when what is done with the stored state of a key fails for what it holds."""
    try:
        yield
    except (
        msgspec.MsgspecError,
        ValueError,
        LookupError,
        TypeError,
        AssertionError,
        RecursionError,
        UsageError,
    ) as error:
        said = str(error) or type(error).__name__
        raise EnvironmentProblem(
            f"stored state {key!r} is unreadable ({said}): it was written by another version, or changed; "
            "start the version that wrote it, or drop it with `weave reset`"
        ) from None


def decode(key: str, data: bytes, kind: Any) -> Any:
    """The value of this type that was stored under a key. Raises `EnvironmentProblem`."""
    with understood(key):
        return msgspec.msgpack.decode(data, type=kind)

"""Reads state that earlier runs left on the disk: data that cannot be parsed ends the start with a clear error.

The data has passed its checksum, so it was written like this by another version of this program, or by another program.
It is kept, because its writer may still need it.
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
    """Raises `EnvironmentProblem` if the block fails on the stored state of `key`."""
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
    """Decode the stored value of a key as this type. Raises `EnvironmentProblem`."""
    with understood(key):
        return msgspec.msgpack.decode(data, type=kind)

"""How often the interpreter collects cycles while a world runs. Knows nothing of the world's content.

A world creates millions of long-lived objects and few cycles: with CPython's default thresholds, collection took a
quarter of the run time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rarely_collected"]

_THRESHOLDS = (100_000, 20, 20)


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Collect cycles rarely within this context."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)

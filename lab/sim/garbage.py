"""How often the interpreter looks for cycles while a world runs. Knows nothing of what is in it.

A world makes millions of objects that live long and few cycles: with CPython's own thresholds a quarter of the time
went into looking at all of them again and again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rarely_collected"]

_THRESHOLDS = (100_000, 20, 20)


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Cycles are looked for rarely within."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)

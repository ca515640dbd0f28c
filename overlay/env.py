"""The environment of the pure code: types only, never a source of time or of randomness.

Cores take `now` (integer nanoseconds) as an argument and a `Random` at construction. This module gives them the type's
name without importing the module-level generator, which the linter bans.
"""

from random import Random

__all__ = ["MICROSECOND", "MILLISECOND", "SECOND", "Random"]

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

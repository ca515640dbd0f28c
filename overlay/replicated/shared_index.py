"""Indexes whose entries are nearly always alone under their key. Knows nothing of what is indexed.

An index maps a text to a dict of entries. Of most texts there is one entry, and the peers of a simulated world all hold
the same one: so a dict of one entry is made once (by whoever caches it), put into all their indexes, and never changed;
only when a second entry comes to it, the index gets a dict of its own.
"""

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

Index = dict[str, dict[Key, Value]]
"""Entries by text. To be changed by `add` and `discard` alone."""


def add(index: Index[Key, Value], text: str, one: dict[Key, Value]) -> None:
    """Put the only entry of `one` among those of `text`, behind them; `one` stays as it is from now on."""
    held = index.get(text)
    if held is None:
        index[text] = one
    elif len(held) == 1:
        index[text] = {**held, **one}
    else:
        held.update(one)


def discard(index: Index[Key, Value], text: str, key: Key) -> None:
    """Take out what `key` has under `text`. KeyError if there is nothing."""
    held = index[text]
    if key not in held:
        raise KeyError(key)
    if len(held) == 1:
        del index[text]
    else:
        del held[key]

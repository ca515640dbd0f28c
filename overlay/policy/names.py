"""The names and labels that a container is announced with, by which policies refer to it. Pure.

Each peer announces only its own containers, so these come from the engine that runs the container.
"""

from collections.abc import Iterable, Mapping

from overlay.wire.origins import MAX_LABELS, MAX_NAMES

__all__ = ["labels_of", "names_of"]

_KEY, _VALUE = 128, 256
"""Maximum characters in a selector (`overlay.policy.words`)."""


def names_of(name: str, fqdns: Iterable[str], domain: str) -> tuple[str, ...]:
    """The engine's name first, then the DNS names without the router's domain; in lower case, unique."""
    suffix = "." + domain.lower().rstrip(".")
    bare = sorted(fqdn.lower().rstrip(".").removesuffix(suffix) for fqdn in fqdns)
    return tuple(dict.fromkeys(word for word in (name.lower(), *bare) if word))[:MAX_NAMES]


def labels_of(found: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """The engine's labels that a selector can name, sorted."""
    fit = (
        (key, value)
        for key, value in found.items()
        if isinstance(value, str) and _plain(key, _KEY) and _plain(value, _VALUE)
    )
    return tuple(sorted(fit))[:MAX_LABELS]


def _plain(word: str, most: int) -> bool:
    return len(word) <= most and word.isascii() and word.isprintable() and " " not in word

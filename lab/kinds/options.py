"""Options of a kind: `options: {key: value}` of an overlay or a probe, and their validation."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

__all__ = ["KindWithOptions", "OptionFault", "Options"]

Options = Mapping[str, bool | int | str]


class OptionFault(Struct, frozen=True):
    """An error in one option (`key` empty: in all of them together)."""

    key: str
    found: str
    expected: str
    unknown: bool = False


def _no_options() -> Iterable[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class KindWithOptions:
    """A kind with options."""

    name: str
    options: Callable[[], Iterable[str]] = _no_options
    """The names of its options."""
    numbers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The integer options, each with its minimum and maximum."""
    faults: Callable[[Options], Iterator[OptionFault]] | None = None
    """Validates options; None: every name of `options` takes any value, except for `numbers`."""

    def option_faults(self, options: Options) -> Iterator[OptionFault]:
        """Errors in the options, one for each option if possible."""
        if self.faults is not None:
            yield from self.faults(options)
            return
        names = list(self.options())
        for key, value in options.items():
            if key not in names:
                yield self.unknown(key)
            elif key in self.numbers:
                least, most = self.numbers[key]
                if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                    yield OptionFault(key, repr(value), f"a whole number from {least} to {most}")

    def unknown(self, key: str) -> OptionFault:
        """An unknown option."""
        names = list(self.options())
        known = f"one of {', '.join(names)}" if names else "none: it has no options"
        return OptionFault(key, f"the option {key!r} on {self._sort} {self.name}", known, unknown=True)

    @property
    def _sort(self) -> str:
        return type(self).__name__.removesuffix("Kind").lower()

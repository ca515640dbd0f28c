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
    choices: Mapping[str, tuple[bool | str, ...]] = field(default_factory=dict)
    """The options that take one of a few values, each with these."""
    faults: Callable[[Options], Iterator[OptionFault]] | None = None
    """Validates options; None: `listed_faults` does."""

    def option_faults(self, options: Options) -> Iterator[OptionFault]:
        """Errors in the options, one for each option if possible."""
        if self.faults is not None:
            yield from self.faults(options)
        else:
            yield from self.listed_faults(options)

    def listed_faults(self, options: Options) -> Iterator[OptionFault]:
        """Validates options by `numbers` and `choices`; every other name of `options` takes any value."""
        names = list(self.options())
        for key, value in options.items():
            if key not in names:
                yield self.unknown(key)
            elif key in self.numbers:
                least, most = self.numbers[key]
                if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                    yield OptionFault(key, repr(value), f"a whole number from {least} to {most}")
            elif key in self.choices and (type(value), value) not in [(type(one), one) for one in self.choices[key]]:
                known = " or ".join(str(one).lower() for one in self.choices[key])
                yield OptionFault(key, repr(value), known)

    def unknown(self, key: str) -> OptionFault:
        """An unknown option."""
        names = list(self.options())
        known = f"one of {', '.join(names)}" if names else "none: it has no options"
        return OptionFault(key, f"the option {key!r} on {self._sort} {self.name}", known, unknown=True)

    @property
    def _sort(self) -> str:
        return type(self).__name__.removesuffix("Kind").lower()

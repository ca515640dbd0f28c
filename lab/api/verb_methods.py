"""Methods of a live lab for all verbs of a timeline, made at run time. `verb_methods.pyi` lists them."""

from collections.abc import Callable
from typing import Any

from lab.records.history import Event


class VerbMethods:
    """`self.kill("a")` for `self.do("kill", "a")`, for every registered verb, including those of other packages."""

    def do(self, verb: str, /, *short: Any, **arguments: Any) -> Event:
        """Carry out a step."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., Event]:
        from lab.api.verbs import about, unknown
        from lab.kinds.verbs import verbs

        if name.startswith("_") or name not in verbs():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}: {unknown(name)}")

        def step(*short: Any, **arguments: Any) -> Event:
            __tracebackhide__ = True
            return self.do(name, *short, **arguments)

        step.__name__ = name
        step.__doc__ = about(verbs()[name])
        return step

    def __dir__(self) -> list[str]:
        from lab.kinds.verbs import verbs

        return sorted({*super().__dir__(), *verbs()})

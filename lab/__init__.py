"""A test lab for container overlay networks: deploys `overlay` onto hosts of several kinds, breaks the network below it
on purpose, and shows what happened. Needs the extra `overlay-lab[lab]`.

The names below are the public Python API (docs/api.md). Each is imported on first use, because every command of the lab
begins with this module.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.api.live import LiveLab
    from lab.api.play import play
    from lab.api.played import PlayedRun, load
    from lab.api.tables import RecordTable
    from lab.errors import BackendRefused, LabError, StepFailed, StepRefused, Unreadable
    from lab.scenario.load import ScenarioError

__all__ = [
    "BackendRefused",
    "LabError",
    "LiveLab",
    "PlayedRun",
    "RecordTable",
    "ScenarioError",
    "StepFailed",
    "StepRefused",
    "Unreadable",
    "load",
    "play",
]

_HOMES = {
    "lab.api.live": ("LiveLab",),
    "lab.api.play": ("play",),
    "lab.api.played": ("PlayedRun", "load"),
    "lab.api.tables": ("RecordTable",),
    "lab.errors": ("BackendRefused", "LabError", "StepFailed", "StepRefused", "Unreadable"),
    "lab.scenario.load": ("ScenarioError",),
}


def __getattr__(name: str) -> Any:
    for module, members in _HOMES.items():
        if name in members:
            from importlib import import_module

            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

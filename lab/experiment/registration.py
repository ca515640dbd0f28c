"""The pre-registration: `registered.json` in the experiment's folder, written before the first run, and its changes.

Owns the file. A plan that has changed since the runs began is refused. Changed hypotheses are refused too, unless the
user amends them explicitly; then both versions are kept, with the number of runs seen by then, and the report shows
them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from lab.errors import LabError, Unreadable
from lab.experiment.description import ExperimentFile
from lab.records.store import replace_file

__all__ = ["REGISTERED", "Registered", "Version", "read_registered", "register"]

REGISTERED = "registered.json"


class Version(Struct, frozen=True, kw_only=True):
    """One version of the hypotheses."""

    when: str
    runs: int
    """Number of runs played by then: 0 for the first version."""
    digest: str
    hypotheses: tuple[str, ...]
    """In words, each with its id."""


class Registered(Struct, frozen=True, kw_only=True):
    """The whole file."""

    name: str
    plan: str
    """Digest of the scenario and everything except the hypotheses."""
    file: str
    """The first version of the experiment file."""
    versions: tuple[Version, ...]

    @property
    def amended(self) -> bool:
        """Whether the hypotheses were changed after runs had been seen."""
        return any(version.runs for version in self.versions[1:])


def read_registered(folder: Path) -> Registered | None:
    """The registration in a folder; None if there is none yet. Raises `Unreadable`."""
    path = folder / REGISTERED
    try:
        return msgspec.json.decode(path.read_bytes(), type=Registered)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{path} is no registration of an experiment: {error}") from None


def register(file: ExperimentFile, folder: Path, *, runs: int, amend: bool) -> Registered:
    """Register the experiment, or compare it with the registration. Raises `LabError` for a change."""
    found = read_registered(folder)
    version = _version(file, runs)
    if found is None:
        if runs:
            raise LabError(f"{folder} has runs of something else; choose another --out")
        found = Registered(name=file.experiment.name, plan=file.plan_digest, file=file.text, versions=(version,))
        _write(folder, found)
        return found
    check(file, found, folder)
    if found.versions[-1].digest != version.digest:
        if not amend:
            raise LabError(
                f"the hypotheses in {file.path} are not those that were written down before the runs in {folder}: "
                "choose another --out, or say --amend, and the report shows both"
            )
        found = msgspec.structs.replace(found, versions=(*found.versions, version))
        _write(folder, found)
    return found


def check(file: ExperimentFile, found: Registered, folder: Path) -> None:
    """Raises `LabError` if the plan differs from the registered one."""
    if found.plan != file.plan_digest:
        raise LabError(
            f"{file.path} or its scenario has changed since the runs in {folder} were begun: choose another --out, or "
            "undo the change"
        )


def _version(file: ExperimentFile, runs: int) -> Version:
    return Version(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=runs,
        digest=file.hypotheses_digest,
        hypotheses=_words(file),
    )


def _words(file: ExperimentFile) -> tuple[str, ...]:
    return tuple(f"{one.id}: {one.claim} ({in_words(one.compare, one.expect, one.margin)})"
                 for one in file.experiment.hypotheses)  # fmt: skip


def in_words(compare: Sequence[dict[str, str]], expect: str, margin: float | None) -> str:
    """`B = … less than A = …`."""
    a, b = (", ".join(f"{path}={value}" for path, value in side.items()) for side in compare)
    told = {"less": "is less than", "more": "is more than", "differ": "differs from", "alike": "is alike to"}[expect]
    return f"{b} {told} {a}" + (f", within a factor of {margin:g}" if margin is not None else "")


def _write(folder: Path, found: Registered) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(found)).decode()
    replace_file(folder / REGISTERED, f"{text}\n".encode())

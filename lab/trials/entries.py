"""Which overlay a word means: `weave`, `weave:sleeve`, `tinc:mtu=1300`, `./my-overlay`, `mine@v2`.

`KIND[:VARIANT][@VERSION]`: a variant is a set of options that the kind has a name for, or options as `key=value`, with
`+` between them; a version goes to the overlay as its option `version`. Instead of a kind, a program's path or command
line. Owns these words, and the digest of a program. Knows no overlay by name but `exec`, which is what programs are.
"""

import re
import shlex
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from lab import this_machine
from lab.errors import LabError
from lab.kinds.options import Options
from lab.kinds.overlays import OVERLAYS, OverlayKind
from lab.trials.trial import Entry

__all__ = ["entries_of", "entry_of", "lacking"]

_EXEC = "exec"
_VERSION = "version"
"""The option that has what stands behind an `@`."""
_AT = re.compile(r"@([\w.+-]+)$")


def entry_of(word: str) -> Entry:
    """The overlay that a word means. Raises `LabError` for one that means none, or that cannot run here."""
    if "/" in word or word.startswith("."):
        return _program(word)
    rest, version = _split(word)
    name, _, variant = rest.partition(":")
    kind = OVERLAYS.get(name)
    if name == _EXEC:
        raise LabError("exec is a program of yours: give its path, `lab overlay check ./my-overlay`")
    if kind.protocol is not None:
        raise LabError(f"{name} is a protocol for simulated hosts, and has no containers")
    if lacks := lacking(kind):
        raise LabError(f"{name} needs programs that are not installed: apt install {' '.join(lacks)}")
    options = {**_variant(kind, variant), **version}
    for fault in kind.option_faults(options):
        hint = "" if not version or fault.key != _VERSION else (
            f"; {name} takes no version: say what differs as options, {name}:key=value"
        )  # fmt: skip
        raise LabError(f"{word}: found {fault.found}, expected {fault.expected}{hint}")
    return Entry(label=word, kind=name, options=options)


def entries_of(words: Sequence[str], backend: str = "") -> list[Entry]:
    """The overlays of a list in which commas separate, too; no two with one label. `backend`: where all are played.
    Raises `LabError`."""
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    found: dict[str, Entry] = {}
    for name in dict.fromkeys(names):
        entry = msgspec.structs.replace(entry_of(name), backend=backend)
        where = OVERLAYS.get(entry.kind).backends
        if backend and where and backend not in where:
            raise LabError(f"{name} does not run on {backend}, but on {', '.join(where)}: --backend {where[0]}")
        if entry.label in found:  # two programs of one name, as ./v1/mine and ./v2/mine
            entry = msgspec.structs.replace(entry, label=name.strip("./"))
        if entry.label in found:
            raise LabError(f"{name}: there is an entry {entry.label} already; give the program another name")
        found[entry.label] = entry
    return list(found.values())


def lacking(kind: OverlayKind) -> list[str]:
    """Packages whose programs are not on this machine."""
    lacks = (package for program, package in kind.programs.items() if this_machine.program(program) is None)
    return list(dict.fromkeys(lacks))


def _program(word: str) -> Entry:
    words = shlex.split(word)
    version: Options = {}
    if len(words) == 1 and not Path(words[0]).is_file():
        words[0], version = _split(words[0])
    program = Path(words[0]).absolute()
    if not program.is_file():
        raise LabError(f"{word}: no such program; expected an overlay of `lab overlay list`, or a program's path")
    try:
        stamp = sha256(program.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise LabError(f"{word}: cannot be read: {error.strerror}") from None
    label = program.stem + "".join(f"@{value}" for value in version.values())
    command = shlex.join([str(program), *words[1:]])
    return Entry(label=label, kind=_EXEC, options={"command": command, **version}, stamp=stamp)


def _split(word: str) -> tuple[str, Options]:
    """A word without its version, and the version as an option."""
    match = _AT.search(word)
    return (word[: match.start()], {_VERSION: match[1]}) if match else (word, {})


def _variant(kind: OverlayKind, word: str) -> Options:
    if not word:
        return {}
    if word in kind.variants:
        return kind.variants[word]
    options: dict[str, bool | int | str] = {}
    for part in word.split("+"):
        key, equals, value = part.partition("=")
        if not equals or not key:
            known = ", ".join(kind.variants) or "none"
            raise LabError(
                f"{kind.name}:{word}: no such variant; expected one of {kind.name}'s own ({known}), or options as "
                f"{kind.name}:key=value"
            )
        options[key] = value == "true" if value in ("true", "false") else int(value) if value.isdecimal() else value
    return options

"""Writes `dist/weave`: a zip archive that Python runs, reproducible to the byte.

Owns the contents and their paths: `common/` has the Python modules, `code-…/` their bytecode for the Python version
that writes the archive (others compile at each start), `cp311-x86_64/` and the like the compiled modules,
`abi3-x86_64/` those for any version, `licenses/` the licences. `start.py` reads it.
"""

import functools
import io
import marshal
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from importlib.util import MAGIC_NUMBER
from pathlib import Path, PurePosixPath

import overlay
from lab.errors import LabError

__all__ = ["pack", "stripped"]

_INTERPRETER = b"#!/usr/bin/env python3\n"
_WHEN = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = ("cffi/", "multidict/_testcapi")
"""The first parses C declarations at build time (only the compiled module next to it is imported)."""
_WORDS = ("LICEN", "COPYING", "NOTICE", "AUTHORS")


def pack(target: Path, wheels: Sequence[Path], *, changed: dict[str, bytes] | None = None) -> None:
    """Write the archive. `changed`: path -> contents that replace files of the overlay (for tests).

    Raises `LabError`.
    """
    files = {"__main__.py": Path(__file__).with_name("start.py").read_bytes()}
    for name, data in _own():
        files[f"common/{name}"] = (changed or {}).get(name, data)
    for wheel in wheels:
        for name, data in _of_wheel(wheel):
            if files.setdefault(name, data) != data:
                raise LabError(
                    f"{name} of {wheel.name} differs from the one in another wheel: one file cannot have both"
                )
    for name in [name for name in files if name.startswith("common/")]:
        if code := _code(name, files[name]):
            files[name.replace("common", f"code-{MAGIC_NUMBER[:2].hex()}", 1)] = code
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files, key=lambda name: (name.partition("/")[0], name)):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=6)
    target.parent.mkdir(parents=True, exist_ok=True)
    attempt = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        attempt.write_bytes(_INTERPRETER + buffer.getvalue())
        attempt.chmod(0o755)
        attempt.replace(target)
    finally:
        attempt.unlink(missing_ok=True)


@functools.lru_cache(maxsize=4096)
def _code(name: str, source: bytes) -> bytes:
    """The bytecode of a module; empty if it is for other versions."""
    try:
        code = compile(source, f"weave/{name}", "exec", dont_inherit=True, optimize=0)
        # Format version 2 has no references between objects; those depend on earlier work of this process.
        return marshal.dumps(code, 2)
    except (SyntaxError, ValueError):  # ValueError: newer Pythons have constants that this version lacks
        return b""


def _own() -> Iterator[tuple[str, bytes]]:
    """(path, content) of the overlay's own modules on disk."""
    root = Path(str(overlay.__file__)).parent
    for file in sorted(root.rglob("*.py")):
        yield f"overlay/{file.relative_to(root).as_posix()}", file.read_bytes()


def _of_wheel(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """(path in the archive, content) of the files of a wheel that are needed at run time."""
    package, _, python, abi, platforms = wheel.name.removesuffix(".whl").split("-")
    machine = next((name for name in ("x86_64", "aarch64") if platforms.endswith(name)), "")
    folder = f"{'abi3' if abi == 'abi3' else python}-{machine}"
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            path = PurePosixPath(name)
            if ".dist-info/" in name:
                if any(word in path.name.upper() for word in _WORDS):
                    yield f"licenses/{package}/{path.name}", archive.read(name)
            elif name.startswith(_LEFT_OUT) or "tests" in path.parts or "test" in path.parts:
                continue
            elif path.suffix == ".py":
                yield f"common/{name}", archive.read(name)
            elif path.suffix == ".so":
                yield f"{folder}/{name}", stripped(archive.read(name))


def stripped(library: bytes) -> bytes:
    """A 64-bit ELF library without data that only debuggers read: everything outside segments, and the section table.

    Done here because `strip` is not on every machine, supports one processor, and differs between versions.
    """
    header = struct.Struct("<16sHHIQQQIHHHHHH")
    fields = list(header.unpack_from(library))
    if fields[0][:6] != b"\x7fELF\x02\x01":
        raise LabError("a compiled module is no ELF library of 64 bits")
    first, size, count = fields[5], fields[9], fields[10]
    ends = [first + size * count]
    for at in range(first, first + size * count, size):
        kind, _, offset, _, _, in_file = struct.unpack_from("<2I4Q", library, at)
        if kind != 0:
            ends.append(offset + in_file)
    fields[6] = fields[12] = fields[13] = 0  # e_shoff, e_shnum, e_shstrndx
    return header.pack(*fields) + library[header.size : max(ends)]

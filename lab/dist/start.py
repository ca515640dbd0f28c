"""The first module of `dist/weave`: lets Python import all other modules from that one file, and starts the command.

Nothing is unpacked to disk. Python modules are compiled from the archive, and compiled modules are loaded from
anonymous memory (memfd), so there is no folder in which another user could put code, no half-written file, and nothing
to clean up. Everything that a process may import later is read at its start, because a newer version may replace the
file while a router runs.

Knows nothing of the overlay except the name of its command. The first lines must be readable by Python 3.6.
"""

import os
import sys

OLDEST = (3, 11)


def find_newer():  # type: ignore[no-untyped-def]
    """Re-execute with a newer Python of this host, if there is one, because a system's `python3` may be old."""
    if "WEAVE_OTHER_PYTHON" not in os.environ:
        os.environ["WEAVE_OTHER_PYTHON"] = "1"  # only once, because python3.14 may be any program
        for minor in range(19, OLDEST[1] - 1, -1):
            for folder in os.get_exec_path():
                program = os.path.join(folder, "python3.%d" % minor)  # noqa: PTH118, UP031
                if folder.startswith("/") and os.access(program, os.X_OK):
                    os.execv(program, [program] + sys.argv)  # noqa: RUF005
    version = ".".join(str(number) for number in sys.version_info[:2])
    sys.exit(
        "weave: needs Python 3.11 or newer, and %s is %s: install a newer one "  # noqa: UP031
        "(it may stand next to this one, as python3.11)" % (sys.executable, version)
    )


if sys.version_info[:2] < OLDEST:
    find_newer()  # type: ignore[no-untyped-call,unused-ignore]
os.environ.pop("WEAVE_OTHER_PYTHON", None)

import fcntl  # noqa: E402
import marshal  # noqa: E402
import struct  # noqa: E402
import zlib  # noqa: E402
from importlib._bootstrap_external import MAGIC_NUMBER  # noqa: E402
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec  # noqa: E402
from types import CodeType, ModuleType  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:  # at run time the import would load a large module at each start
    from collections.abc import Sequence

PURE = "common/"
"""Folder of the Python modules. Compiled ones are in `cp311-x86_64/` and the like, and in `abi3-x86_64/`."""
_TAIL = 1 << 16
_END, _ENTRY, _LOCAL = b"PK\5\6", struct.Struct("<4s6H3I5H2I"), 30


class Damaged(Exception):
    """The archive was not written by `make dist`, or is damaged."""


class ArchiveFolder:
    """The files of one folder of the archive, compressed, in memory."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._entries: dict[str, tuple[int, int, int, int]] = {}
        self._blob = b""
        self._base = 0

    def add(self, name: str, method: int, size: int, crc: int, offset: int) -> None:
        """Add a file from the directory of the archive."""
        self._entries[name.removeprefix(self.folder)] = (method, size, crc, offset)

    def load(self, file: int) -> None:
        """Read all files of this folder with one read, because they are contiguous."""
        if not self._entries or self._blob:
            return
        places = [(entry[3], entry[3] + _LOCAL + 512 + len(name) + entry[1]) for name, entry in self._entries.items()]
        self._base = min(start for start, _ in places)
        self._blob = os.pread(file, max(end for _, end in places) - self._base, self._base)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, name: str) -> bytes:
        """Like `read`, for the last use of a file; memory is released after the last file was taken."""
        data = self.read(name)
        del self._entries[name]
        if not self._entries:
            self._blob = b""
        return data

    def read(self, name: str) -> bytes:
        """The content of a file."""
        method, size, crc, offset = self._entries[name]
        at = offset - self._base
        lengths = struct.unpack_from("<2H", self._blob, at + _LOCAL - 4)
        start = at + _LOCAL + sum(lengths)
        data = self._blob[start : start + size]
        try:
            data = zlib.decompress(data, -15) if method else data
        except zlib.error:
            data = b""
        if zlib.crc32(data) != crc:
            raise Damaged(name)
        return data


class Importer:
    """Finds and loads modules of the archive; see `importlib.abc.MetaPathFinder` and `InspectLoader`."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        machine = os.uname().machine
        self._tag = f"cp{sys.version_info[0]}{sys.version_info[1]}-{machine}/"
        self._pure, self._native = ArchiveFolder(PURE), (ArchiveFolder(self._tag), ArchiveFolder(f"abi3-{machine}/"))
        self._code = ArchiveFolder(f"code-{MAGIC_NUMBER[:2].hex()}/")
        self._loaded = 0
        file = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.kinds = self._read_directory(file)
            for part in (self._pure, self._code, *self._native):
                part.load(file)
        finally:
            os.close(file)

    def _read_directory(self, file: int) -> list[str]:
        """Register all files that this Python may need; returns the targets of the archive's compiled modules."""
        size = os.fstat(file).st_size
        tail = os.pread(file, _TAIL, max(0, size - _TAIL))
        end = tail.rfind(_END)
        if end < 0:
            raise Damaged("end")
        count, length, offset = struct.unpack_from("<H2I", tail, end + 10)
        shift = size - len(tail) + end - length - offset  # length of the data before the archive
        directory = os.pread(file, length, offset + shift)
        parts = {part.folder: part for part in (self._pure, self._code, *self._native)}
        kinds: dict[str, None] = {}
        at = 0
        for _ in range(count):
            found = _ENTRY.unpack_from(directory, at)
            method, crc, packed, name_length, more, comment = found[4], found[7], found[8], *found[10:13]
            name = directory[at + _ENTRY.size : at + _ENTRY.size + name_length].decode()
            at += _ENTRY.size + name_length + more + comment
            folder = name[: name.find("/") + 1]
            if folder in parts:
                parts[folder].add(name, method, packed, crc, found[16] + shift)
            elif folder:
                kinds[folder] = None
        kinds.update(dict.fromkeys(part.folder for part in self._native if len(part)))
        return [kind.rstrip("/") for kind in kinds if kind.startswith("cp")]

    def fits(self) -> bool:
        """Whether there are compiled modules for this Python."""
        suffix = f".cpython-{sys.version_info[0]}{sys.version_info[1]}-{os.uname().machine}-linux-gnu.so"
        return len(self._native[0]) > 0 and suffix in EXTENSION_SUFFIXES

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """The spec of a module."""
        stem = name.replace(".", "/")
        for file, package in ((f"{stem}/__init__.py", True), (f"{stem}.py", False)):
            if file in self._pure:
                spec = ModuleSpec(name, self, origin=f"{self._archive}/{PURE}{file}", is_package=package)  # type: ignore[arg-type]
                spec.has_location = True
                if package:
                    spec.submodule_search_locations = [f"{self._archive}/{PURE}{stem}"]
                return spec
        for part in self._native:
            for suffix in EXTENSION_SUFFIXES:
                if stem + suffix in part:
                    return self._compiled(name, part.take(stem + suffix))
        return None

    def _compiled(self, name: str, data: bytes) -> ModuleSpec:
        """The spec of a compiled module, placed in sealed anonymous memory."""
        memory = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        view = memoryview(data)
        while view:
            view = view[os.write(memory, view) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
        # Each has its own path, because the dynamic linker identifies a loaded library by its path.
        self._loaded += 1
        file = f"/proc/self/fd/{'./' * self._loaded}{memory}"
        return ModuleSpec(name, Compiled(name, file, memory), origin=file)

    def create_module(self, spec: ModuleSpec) -> None:
        """Use the default."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        """The compiled code of a module in Python."""
        file = self._file(name)
        if file in self._code:
            code: CodeType = marshal.loads(self._code.read(file))
            return code
        return compile(self._pure.read(file), f"{self._archive}/{PURE}{file}", "exec", dont_inherit=True)

    def get_source(self, name: str) -> str:
        """The source, for the lines of a traceback."""
        return self._pure.read(self._file(name)).decode()

    def is_package(self, name: str) -> bool:
        """See `InspectLoader`."""
        return self._file(name).endswith("/__init__.py")

    def _file(self, name: str) -> str:
        stem = name.replace(".", "/")
        return next(file for file in (f"{stem}/__init__.py", f"{stem}.py") if file in self._pure)


class Compiled(ExtensionFileLoader):
    """Loads a compiled module once, and then closes its descriptor."""

    def __init__(self, name: str, path: str, memory: int) -> None:
        super().__init__(name, path)
        self._memory = memory

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See `Loader`."""
        try:
            return super().create_module(spec)
        finally:
            os.close(self._memory)


def main() -> int:
    """Run the command in the archive."""
    archive = os.path.abspath(sys.path[0])  # noqa: PTH100  # pathlib would double the time of `weave version`
    try:
        importer = Importer(archive)
        if not importer.fits():
            kinds, own = ", ".join(importer.kinds), EXTENSION_SUFFIXES[0].strip(".").removesuffix(".so")
            print(
                f"weave: {archive} has compiled modules for {kinds} (glibc), and none for this Python ({own}): "
                f"run it with another one, as `python3.11 {archive}`",
                file=sys.stderr,
            )
            return 1
        sys.path.pop(0)
        sys.meta_path.insert(0, importer)
        from overlay.cli.main import main as command

        return command()
    except Damaged:
        print(f"weave: {archive} is damaged: copy it here again", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

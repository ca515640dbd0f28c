"""The mounts of a lab and of its hosts, so that no write of a lab reaches the machine's disk.

Owns shadowing (a tmpfs over a directory, with links to the machine's own entries), the mount points that the machine
may lack, and the binds that give each host its own disk. Must run inside the lab's own mount namespace; needs no root
outside it. Knows nothing of processes or networks.
"""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.backends.netns.paths import BIN, HOST_FILES, HOST_MOUNTS, MACHINE, STATE, VOLATILE
from lab.errors import LabError
from lab.fabric.features import PROC_REMEDY
from lab.fabric.syscalls import Mount, clone_tree, mount, move_tree

_SUDO = """\
#!/bin/sh
# Hosts and containers of a lab have one user, root; this runs its arguments.
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -u|-g|-h|-p|-C|-T|-U|--user|--group) shift 2 ;;
    -*) shift ;;
    *=*) export "$1"; shift ;;
    *) break ;;
  esac
done
exec "$@"
"""


def prepare_lab() -> None:
    """Make the calling process's mount namespace the lab's: private, with `STATE`, a fresh /proc, all mount points."""
    mount("", "/", flags=Mount.REC | Mount.PRIVATE)
    shadow("/run")
    for directory in (STATE, BIN, STATE / "h"):
        directory.mkdir(mode=0o755)
    fresh_proc()
    for target in HOST_MOUNTS.values():
        ensure(target, directory=True)
    for name in HOST_FILES:
        ensure(f"/etc/{name}", directory=False)
    _write_commands()


def fresh_proc() -> None:
    """Mount /proc of the current pid namespace. Raises `LabError` if the kernel refuses that."""
    try:
        mount("proc", "/proc", "proc", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
    except PermissionError:
        raise LabError(f"this machine refuses a lab its own /proc: {PROC_REMEDY}") from None


def shadow(directory: str) -> None:
    """Mount a writable tmpfs over a directory; the machine's own entries stay visible through links."""
    tree = clone_tree(directory)  # before the tmpfs, because the copy would otherwise include the tmpfs
    mount("tmpfs", directory, "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")
    original = Path(directory, MACHINE)
    original.mkdir()
    move_tree(tree, str(original))
    os.close(tree)
    for entry in sorted(original.iterdir()):
        Path(directory, entry.name).symlink_to(f"{MACHINE}/{entry.name}")


def ensure(path: str, *, directory: bool) -> None:
    """Make sure that this path can be mounted on, without touching the machine's disk."""
    target = Path(path)
    if target.is_symlink() and not target.exists() and _volatile(target):
        return
    if target.exists():
        return
    parent = str(target.parent)
    ensure(parent, directory=True)
    if not Path(parent, MACHINE).is_dir():
        shadow(parent)
    target.unlink(missing_ok=True)
    if directory:
        target.mkdir()
    else:
        target.touch()


def mount_host(disk: Path, *, keep: Sequence[str], files: dict[str, str]) -> None:
    """Set up the calling process's new mount namespace with one host's disk, and /proc and /sys of its namespaces.

    `keep`: paths of the machine that must stay visible although they are below a directory of `HOST_MOUNTS`
    (interpreters and checkouts below /tmp). `files`: contents of `HOST_FILES`.
    """
    for name in HOST_MOUNTS:
        if name in VOLATILE:
            shutil.rmtree(disk / name, ignore_errors=True)
        (disk / name).mkdir(mode=0o1777 if name in ("tmp", "shm") else 0o755, parents=True, exist_ok=True)
    (disk / "tmp").chmod(0o1777)
    (disk / "shm").chmod(0o1777)
    etc = disk / "etc"
    etc.mkdir(exist_ok=True)
    for name, text in files.items():
        (etc / name).write_text(text, encoding="utf-8")
        target = Path("/etc", name)
        if (volatile := _volatile(target)) is not None:
            # The machine's /etc/resolv.conf is often a link into /run, and each host has its own /run.
            linked = disk / "run" / volatile
            linked.parent.mkdir(parents=True, exist_ok=True)
            linked.write_text(text, encoding="utf-8")
        else:
            mount(str(etc / name), str(target), flags=Mount.BIND)
    (disk / "run/lab/bin").mkdir(parents=True)
    for name, place in sorted(HOST_MOUNTS.items(), key=lambda item: item[1] == "/run"):
        _replace(disk / name, place, [*keep, str(BIN)])  # /run last: it hides the disk itself
    if not Path("/var/run").samefile("/run"):
        mount("/run", "/var/run", flags=Mount.BIND | Mount.REC)
    fresh_proc()
    with contextlib.suppress(PermissionError):  # if refused, the machine's /sys stays, which only shows less
        mount("sysfs", "/sys", "sysfs", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)


def interpreter_paths() -> list[str]:
    """Paths that a Python process here reads: interpreter, libraries, import path, working directory."""
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).parent), *sys.path, str(Path.cwd())]
    absolute = [str(Path(path).absolute()) for path in paths if path and Path(path).is_dir()]
    # A path that contains a whole mount point (for example, a script's directory /tmp) cannot be kept below it.
    return _outermost(
        path for path in absolute if not any(f"{place}/".startswith(f"{path}/") for place in HOST_MOUNTS.values())
    )


def _replace(source: Path, place: str, keep: Sequence[str]) -> None:
    """Bind `source` to `place`, with the kept paths below it bound back in."""
    inner = [path for path in keep if path.startswith(place + "/") and Path(path).is_dir()]
    handles = [os.open(path, os.O_PATH) for path in inner]
    mount(str(source), place, flags=Mount.BIND)
    here = os.open(".", os.O_PATH)
    for path, handle in zip(inner, handles, strict=True):
        Path(path).mkdir(parents=True, exist_ok=True)
        os.fchdir(handle)
        mount(".", path, flags=Mount.BIND | Mount.REC)
        os.close(handle)
    os.fchdir(here)
    os.close(here)


def _volatile(path: Path) -> Path | None:
    """The target of a link into /run, relative to /run; None for anything else."""
    if not path.is_symlink():
        return None
    target = Path(os.path.normpath(path.parent / path.readlink()))
    for root in ("/run", "/var/run"):
        if target.is_relative_to(root):
            return target.relative_to(root)
    return None


def _outermost(paths: Iterable[str]) -> list[str]:
    """The paths without those below another one."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(outer.rstrip("/") + "/") for outer in kept):
            kept.append(path)
    return kept


def _write_commands() -> None:
    """Write `weave` (with this interpreter and import path) and `sudo`."""
    import_path = os.pathsep.join(path for path in sys.path if path and Path(path).is_dir())
    weave = (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(import_path)}${{PYTHONPATH:+:$PYTHONPATH}} "
        f'exec {shlex.quote(sys.executable)} -m overlay.cli.main "$@"\n'
    )
    for name, text in (("weave", weave), ("sudo", _SUDO)):
        (BIN / name).write_text(text, encoding="utf-8")
        (BIN / name).chmod(0o755)

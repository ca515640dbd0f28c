"""The layers of the lab's own images, each in the cache under the hash of its inputs.

    base      Debian and the Docker Engine, by mmdebstrap, as apt is configured on this machine; minutes, rarely
              (or by a Dockerfile, `by_docker.py`)
    packages  the Python packages that the overlay and the probe agent need, as they are installed here; seconds
    project   this project as it is now, and the host's PID 1; a moment, at every change
    and one layer for each container image, built from the base layer's files

Owns the content of each layer; knows nothing of engines.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import lab
import overlay
from lab import this_machine
from lab.errors import LabError
from lab.images.archive import Layer, LayerWriter, digest_of

RECIPE = Path(__file__).parent / "recipe"
PACKAGES = (
    "docker.io", "iptables", "iproute2", "nftables", "iputils-ping", "curl", "procps", "net-tools", "busybox-static",
    "sudo", "python3", "ca-certificates",
)  # fmt: skip
"""Debian packages of a host."""
SITE = "usr/lib/python3/dist-packages"
_UNWANTED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
_FORMAT = "1"
"""Part of every hash: increase it when this file changes its output for the same inputs."""

Say = Callable[[str], None]


def cache() -> Path:
    """Directory of built layers and images: below XDG_CACHE_HOME."""
    return this_machine.cache() / "images"


def hash_of(*parts: object) -> str:
    """A short hash of these inputs."""
    return hashlib.sha256(json.dumps([_FORMAT, *parts], default=str).encode()).hexdigest()[:20]


def codename() -> str:
    """The release of the base layer: this machine's own if it is Debian or a derivative, else a Debian release."""
    return _own_release() or "bookworm"


def _own_release() -> str:
    release = platform.freedesktop_os_release()
    kind = {release.get("ID"), *release.get("ID_LIKE", "").split()}
    return release.get("VERSION_CODENAME", "") if "debian" in kind else ""


def debian_image() -> str:
    """The name of that release's image in a registry."""
    if platform.freedesktop_os_release().get("ID") == "ubuntu":
        return f"ubuntu:{codename()}"
    return f"debian:{codename()}-slim"


def base_inputs() -> str:
    """Hash of the inputs of the base layer."""
    return hash_of("base", codename(), platform.machine(), PACKAGES, (RECIPE / "finish").read_text(encoding="utf-8"))


def base_layer(say: Say, make: Callable[[Path], None] | None = None, *, anew: bool = False) -> Layer:
    """Debian with the Docker Engine, written by `make`, otherwise by mmdebstrap. Raises `LabError` when that fails."""
    return cached("base", base_inputs(), make or (lambda path: _by_mmdebstrap(path, say)), anew=anew)


def _by_mmdebstrap(path: Path, say: Say) -> None:
    try:
        bootstrap(path, "host image: Debian and the Docker Engine", PACKAGES, [RECIPE / "finish"], say)
    except Unavailable as error:
        raise LabError(
            f"{error}; or, with a Docker Engine that reaches a registry: lab images build --dockerfile"
        ) from None


class Unavailable(LabError):
    """There is no mmdebstrap that works here."""


def bootstrap(path: Path, what: str, packages: Sequence[str], hooks: Sequence[Path], say: Say) -> None:
    """Write a tar with Debian and these packages; `hooks` run on its root directory. `what`: its name, for users."""
    tool = shutil.which("mmdebstrap")
    if tool is None or not _own_release():
        found = "is missing: sudo apt-get install mmdebstrap" if _own_release() else "needs a system of Debian's kind"
        raise Unavailable(f"mmdebstrap makes the {what.partition(':')[0]} and {found}")
    say(f"{what}, by mmdebstrap (minutes, once)")
    command = [tool, "--quiet", "--variant=minbase", f"--include={','.join(packages)}", "--format=tar"]
    command += [f"--dpkgopt=path-exclude={glob}" for glob in _UNWANTED]
    command += [f"--aptopt={line}" for line in _apt_options()]
    command += [f'--customize-hook={shlex.quote(str(hook))} "$1"' for hook in hooks]
    command += [codename(), str(path), *_sources()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = "\n".join(line for line in done.stderr.splitlines() if line.strip())
        raise LabError(f"mmdebstrap could not make the {what.partition(':')[0]}:\n{lines[-2000:]}")


def _sources() -> list[str]:
    """The machine's own apt sources for its own release."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    wanted = re.compile(rf"\b{re.escape(codename())}\b")
    found = [str(one) for one in places if one.suffix in (".list", ".sources") and wanted.search(_text(one))]
    if not found:
        raise LabError(f"no apt source of {codename()} in /etc/apt: the host image is made from those")
    return found


def _text(path: Path) -> str:
    return path.read_text(errors="replace", encoding="utf-8") if path.is_file() else ""


def _apt_options() -> list[str]:
    """This machine's apt options: proxies, and whether old snapshots are accepted."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    wanted = re.compile(r"Acquire::(https?::Proxy|Check-Valid-Until|Check-Date|Retries)\b")
    return [line for line in done.stdout.splitlines() if wanted.match(line)]


def distributions() -> list[importlib.metadata.Distribution]:
    """The installed packages that a host needs: the overlay's dependencies, recursively, sorted by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    queue = ["overlay-lab"]
    while queue:
        for line in importlib.metadata.requires(queue.pop()) or []:
            requirement, _, marker = line.partition(";")
            name = re.split(r"[^A-Za-z0-9._-]", requirement.strip())[0]
            if "extra" in marker or name.lower() in found:
                continue
            try:
                found[name.lower()] = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # for another Python version or operating system
            queue.append(name)
    return [found[name] for name in sorted(found)]


def packages_inputs() -> str:
    """Hash of the inputs of the packages layer."""
    names = [f"{one.name}=={one.version}" for one in distributions()]
    return hash_of("packages", sys.version_info[:2], platform.machine(), names)


def packages_layer(python: str, say: Say) -> Layer:
    """The Python packages, for the base layer's interpreter of this version (`3.11`)."""
    return cached("packages", packages_inputs() + hash_of(python), lambda path: _write_packages(path, python, say))


def _write_packages(path: Path, python: str, say: Say) -> None:
    with LayerWriter(path) as layer, tempfile.TemporaryDirectory() as folder:
        if python == f"{sys.version_info.major}.{sys.version_info.minor}":
            modules = list(_installed())
            for name, data in modules:
                layer.add(f"{SITE}/{name}", data)
            _add_compiled(layer, modules)
            return
        pins = [f"{one.name}=={one.version}" for one in distributions()]
        say(f"host image: Python packages for Python {python}")
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--target", folder]
        done = subprocess.run(
            [*command, "--python-version", python, *pins], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"pip could not get the host image's packages:\n{done.stderr[-2000:]}")
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                layer.add(f"{SITE}/{file.relative_to(folder)}", file.read_bytes())


def _installed() -> Iterator[tuple[str, bytes]]:
    """(path below site-packages, content) of every file of the packages, without tests and caches."""
    for one in distributions():
        for file in sorted(one.files or [], key=str):
            where = Path(str(one.locate_file(file)))
            if file.parts[0] == ".." or "tests" in file.parts or file.suffix in (".pyc", ".pyi", ".pyx", ".c", ".h"):
                continue
            if where.is_file():
                yield str(file), where.read_bytes()


def project_files() -> list[tuple[str, Path]]:
    """(path below site-packages, file) of this project as it is on disk now."""
    found = []
    for package in (overlay, lab):
        root = Path(str(package.__file__)).parent
        found += [
            (f"{root.name}/{file.relative_to(root)}", file)
            for file in sorted(root.rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        ]
    return found


def project_inputs() -> str:
    """Hash of the inputs of the project layer."""
    files = [(name, hashlib.sha256(file.read_bytes()).hexdigest()) for name, file in project_files()]
    return hash_of("project", sys.version_info[:2], files)


def project_layer(python: str) -> Layer:
    """This project, compiled for the base layer's interpreter if it has the same version as ours."""
    return cached("project", project_inputs() + hash_of(python), lambda path: _write_project(path, python))


def _write_project(path: Path, python: str) -> None:
    start = "#!/usr/bin/python3\nimport sys\nfrom {} import main\nsys.exit(main())\n"
    commands = {"usr/local/bin/weave": start.format("overlay.cli.main"), "usr/local/bin/lab": start.format("lab.cli")}
    programs = {name: text.encode() for name, text in commands.items()}
    programs["usr/local/sbin/host-init"] = (RECIPE / "host-init").read_bytes()
    write_modules(path, python, project_files(), programs, {"etc/docker/daemon.json": RECIPE / "daemon.json"})


def write_modules(
    path: Path,
    python: str,
    modules: Sequence[tuple[str, Path]],
    programs: Mapping[str, bytes],
    files: Mapping[str, Path] = {},
) -> None:
    """A layer of Python modules (by their paths below site-packages), programs, and other files."""
    same = python == f"{sys.version_info.major}.{sys.version_info.minor}"
    with LayerWriter(path) as layer:
        for name, file in modules:
            layer.add(f"{SITE}/{name}", file.read_bytes(), file.stat().st_mode & 0o755)
        if same:
            _add_compiled(layer, [(name, file.read_bytes()) for name, file in modules])
        for name, data in programs.items():
            layer.add(name, data, 0o755)
        for name, file in files.items():
            layer.add(name, file.read_bytes())


_COMPILER = """
import json, py_compile, sys
how = py_compile.PycInvalidationMode.UNCHECKED_HASH
for source, target, shown in json.load(sys.stdin):
    try:
        py_compile.compile(source, target, shown, doraise=True, invalidation_mode=how)
    except py_compile.PyCompileError:
        pass
"""


def _add_compiled(layer: LayerWriter, modules: Sequence[tuple[str, bytes]]) -> None:
    """Add the compiled form of these modules, so that hosts do not compile them at their first start.

    A separate process compiles them, all in this order, because its output depends on what is already in memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        orders = []
        for number, (name, data) in enumerate(modules):
            if name.endswith(".py"):
                source = Path(folder, f"{number}.py")
                source.write_bytes(data)
                orders.append((str(source), f"{source}c", f"/{SITE}/{name}"))
        command = [sys.executable, "-I", "-S", "-c", _COMPILER]
        subprocess.run(command, input=json.dumps(orders), text=True, check=True, capture_output=True)
        for _, target, shown in orders:
            where = Path(shown)
            compiled = where.parent / "__pycache__" / f"{where.stem}.{sys.implementation.cache_tag}.pyc"
            if Path(target).exists():
                layer.add(str(compiled)[1:], Path(target).read_bytes())


def dummy_http_layer(base: Layer) -> Layer:
    """A static busybox, its applets as links, and the page."""
    recipe = ("dummy-http", "index.cgi", "httpd.conf")
    inputs = hash_of("dummy-http", base.digest, [(RECIPE / name).read_text(encoding="utf-8") for name in recipe])
    return cached("dummy-http", inputs, lambda path: _write_dummy_http(path, base))


_APPLETS = (
    "sh", "httpd", "ip", "sed", "head", "ifconfig", "wget", "ping", "cat", "ls", "ps", "sleep", "env", "echo", "id",
    "grep", "kill", "nc", "nslookup", "hostname", "true", "false", "test", "mkdir", "rm", "touch", "tr", "wc",
)  # fmt: skip


def _write_dummy_http(path: Path, base: Layer) -> None:
    with LayerWriter(path) as layer, tarfile.open(base.path) as tar:
        files = _members(tar)
        busybox = files["usr/bin/busybox"]
        data = tar.extractfile(busybox)
        assert data is not None
        layer.add("bin/busybox", data.read(), 0o755)
        for applet in _APPLETS:
            layer.link(f"bin/{applet}", "busybox")
        layer.add("bin/dummy-http", (RECIPE / "dummy-http").read_bytes(), 0o755)
        layer.add("www/cgi-bin/index.cgi", (RECIPE / "index.cgi").read_bytes(), 0o755)
        layer.add("etc/httpd.conf", (RECIPE / "httpd.conf").read_bytes())
        usual_places(layer)


def closure_layer(name: str, base: Layer, *, more: Sequence[str] = ()) -> Layer:
    """Programs of the base layer with all their dependencies, listed in its file /usr/share/overlay-lab/NAME.

    `more`: directories to include completely.
    """
    inputs = hash_of(name, base.digest, more, "sh", "times")
    return cached(name, inputs, lambda path: _write_closure(path, name, base, more))


def _write_closure(path: Path, name: str, base: Layer, more: Sequence[str]) -> None:
    with tarfile.open(base.path) as tar, LayerWriter(path) as layer:
        files = _members(tar)
        listed = tar.extractfile(files[f"usr/share/overlay-lab/{name}"])
        assert listed is not None
        queue = [line.decode().strip().lstrip("/") for line in listed]
        queue += [one for one in files if any(one.startswith(directory) for directory in more)]
        done: set[str] = set()
        for top in ("bin", "sbin", "lib", "lib64"):
            if top in files and files[top].issym():
                layer.link(top, files[top].linkname)
        for wanted in ("etc/passwd", "etc/group", "etc/nsswitch.conf"):
            queue.append(wanted)
        while queue:
            one = real_name(queue.pop(0), files)
            member = files.get(one)
            if one in done or member is None or member.isdir():
                continue
            done.add(one)
            if member.issym():
                layer.link(one, member.linkname)
                queue.append(target_of(one, member))
            elif member.isfile() or member.islnk():
                layer.copy(tar, member)
        layer.link("usr/bin/sh", "bash")
        usual_places(layer)


def python_of(base: Layer) -> str:
    """The version of the base layer's Python: `3.11`."""
    with tarfile.open(base.path) as tar:
        return _members(tar)["usr/bin/python3"].linkname.removeprefix("python")


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    return {member.name.removeprefix("./"): member for member in tar}


def real_name(name: str, files: dict[str, tarfile.TarInfo]) -> str:
    """A path with a symbolic link at its top directory (/bin -> usr/bin) resolved."""
    top, slash, rest = name.partition("/")
    if slash and top in files and files[top].issym():
        return f"{files[top].linkname}/{rest}"
    return name


def target_of(name: str, link: tarfile.TarInfo) -> str:
    """The target of a symbolic link."""
    return os.path.normpath(os.path.join(os.path.dirname(name), link.linkname)).lstrip("/")  # noqa: PTH118, PTH120


def usual_places(layer: LayerWriter) -> None:
    """Directories that engines mount over, or programs expect."""
    for directory in ("dev", "etc", "proc", "root", "run", "sys", "var"):
        layer.directory(directory)
    layer.directory("tmp", 0o1777)


def cached(name: str, inputs: str, make: Callable[[Path], None], *, anew: bool = False) -> Layer:
    """The layer of these inputs, built now if missing or if `anew`; a broken attempt changes nothing."""
    path = cache() / f"{name}-{inputs}.tar"
    note = path.with_suffix(".sha256")
    if anew or not note.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        attempt = path.with_suffix(f".{os.getpid()}.tar")
        try:
            make(attempt)
            digest = digest_of(attempt)
            attempt.rename(path)
            note.write_text(digest, encoding="utf-8")
        finally:
            attempt.unlink(missing_ok=True)
    return Layer(str(path), note.read_text(encoding="utf-8").strip())

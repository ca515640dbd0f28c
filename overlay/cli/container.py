"""`--in-container`: creates, awaits, finds and removes the containers of router and proxy.

Owns the settings of such a container: volumes, capabilities, name. The same command runs in it with the same words; the
variable `INSIDE` tells it that it is there (`overlay.runtime.in_container`).
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from overlay.cli.client import NotRunning, RequestRefused
from overlay.cli.socket_client import SocketClient, socket_path
from overlay.cli.unix_http import engine_answer
from overlay.cli.variables import TAKEN
from overlay.cli.words import IN_CONTAINER, Usage
from overlay.options import DEFAULT_ENGINE, DEFAULT_PLUGIN, WIREGUARD_PROGRAM, DaemonPaths, LaunchOptions
from overlay.options import socket_path as engine_path
from overlay.proxy.process import ProxyOptions, running

__all__ = [
    "IMAGE",
    "INSIDE",
    "ProgramContainer",
    "as_container",
    "find",
    "is_inside",
    "refuse_beside",
    "settle",
    "start_proxy",
    "start_router",
]

IMAGE = "overlay-lab/weave"
INSIDE = "WEAVE_INSIDE"
"""Variable in such a container: which part it runs."""
_WRAPPER = "WEAVE_IMAGE"
"""Variable of the image: a command in a container that ends with the command."""
NAMES = {"router": "weave", "proxy": "weaveproxy"}
"""The original's names of its containers."""
_ENDS = {"router": "`weave stop`", "proxy": "`weave stop-proxy`"}
LABEL = "works.weave.part"
API = (1, 41)
"""The oldest supported Engine API: Docker 20.10, December 2020."""
ROUTER_MAY = ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SYS_ADMIN", "SYS_PTRACE", "DAC_OVERRIDE")
PROXY_MAY = ("NET_BIND_SERVICE", "SYS_PTRACE", "DAC_OVERRIDE", "CHOWN")
"""Capabilities; docs/security.md explains each."""
_READ_ONLY = ("bus", "fs", "irq", "sysrq-trigger", "sys/abi", "sys/debug", "sys/dev", "sys/fs", "sys/kernel", "sys/vm")
"""Read-only paths below /proc: the engine's default without `sys/net`, which has the overlay's interface settings."""
_PLACES = ("WEAVE_DB", "WEAVE_SOCK", "WEAVE_PROXY_SOCK", "WEAVE_PLUGIN_SOCK", "DOCKER_BRIDGE")
_PATIENCE = 60.0
"""Seconds for a router to start, and for one answer of the engine."""
_LOOK = 10.0
"""Seconds for an engine to say whether such a container exists."""


def is_inside(environment: Mapping[str, str]) -> bool:
    """Whether this process runs in the container that was created for it."""
    return bool(environment.get(INSIDE))


def as_container(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The words of a launch. In a container that ends with the command, the container form is the only one possible."""
    if environment.get(_WRAPPER) and not _has(words, IN_CONTAINER[2:]):
        return [IN_CONTAINER, *words]
    return list(words)


def start_router(words: Sequence[str], options: LaunchOptions, environment: Mapping[str, str]) -> None:
    """Have the engine run a router; returns once it answers. Raises `OverlayError`; nothing is left behind then."""
    if options.wireguard == WIREGUARD_PROGRAM:
        raise Usage(f"--wireguard {WIREGUARD_PROGRAM} has no program {IN_CONTAINER}: the kernel's WireGuard is `auto`")
    places = DaemonPaths.of(environment)
    client = SocketClient(str(places.socket))
    plugin = Path(environment.get("WEAVE_PLUGIN_SOCK") or DEFAULT_PLUGIN)
    shared = [places.db, places.socket.parent, places.proxy.parent, *([plugin.parent] if options.plugin else [])]

    def answers() -> bool:
        try:
            return bool(client.fetch("GET", "/options"))
        except NotRunning:
            return False

    _start("router", ["launch", *_without_password(words)], ROUTER_MAY, shared, (), options, environment, answers)


def start_proxy(words: Sequence[str], options: ProxyOptions, environment: Mapping[str, str]) -> None:
    """Have the engine run a proxy; returns once it listens. Raises `OverlayError`; nothing is left behind then."""
    places = DaemonPaths.of(environment)
    files = [Path(file) for file in (options.tlscacert, options.tlscert, options.tlskey) if file]
    for file in files:
        if not file.is_absolute():
            raise Usage(f"{file}: {IN_CONTAINER} needs the whole path of a file")
    sockets = [Path(host[len("unix://") :]).parent for host in options.host if host.startswith("unix://")]
    shared = [places.db, places.socket.parent, places.proxy.parent, *sockets]
    words = ["launch-proxy", *words]
    _start("proxy", words, PROXY_MAY, shared, files, options, environment, lambda: running(places) is not None)


class ProgramContainer(Struct, frozen=True):
    """The container of the router or the proxy, in any state."""

    engine: "_EngineApi"
    id: str
    name: str
    running: bool
    image: str
    comes: bool
    """The engine restarts it."""

    @property
    def outdated(self) -> bool:
        """Whether its image is older than the current image of that name."""
        status, image = self.engine.ask("GET", f"/images/{IMAGE}:latest/json")
        return status == 200 and image["Id"] != self.image

    def comes_back(self, wanted: bool) -> None:
        """Set whether the engine restarts it when it ends, and when the engine itself starts.

        Raises `RequestRefused`.
        """
        policy = {"Name": "always" if wanted else "no", "MaximumRetryCount": 0}
        self.engine.must("POST", f"/containers/{self.id}/update", {"RestartPolicy": policy})

    def remove(self) -> None:
        """Stop and remove it. Raises `RequestRefused`."""
        status, _ = self.engine.ask("POST", f"/containers/{self.id}/stop?t=10")
        if status != 404:
            self.engine.must("DELETE", f"/containers/{self.id}?force=1", gone=True)


def find(part: str, environment: Mapping[str, str]) -> ProgramContainer | None:
    """The container of the router or the proxy; None: there is none. Raises `RequestRefused` if this cannot be
    determined."""
    engine = _EngineApi(_engine_socket(environment))
    try:
        return engine.find(part)
    except RequestRefused:
        return None
    except OSError:
        if part == "router" and _says_container(environment):
            raise RequestRefused(
                f"the router is the container `{NAMES[part]}`, and its engine does not answer at {engine.path}: "
                "start the engine first, which would start the router again"
            ) from None
        return None


def refuse_beside(part: str, environment: Mapping[str, str]) -> None:
    """Raise `RequestRefused` if a container exists when a process is requested, because the engine would restart it."""
    held = find(part, environment)
    if held is not None:
        raise RequestRefused(
            f"there is the container `{held.name}` for the {part}, which does not answer: {_ENDS[part]} removes it"
        )


def settle(part: str, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Update the restart setting of a running container to these words; an earlier launch may have been killed before
    it set it. Returns advice if the image has been replaced since; else an empty string."""
    held = find(part, environment)
    if held is None:
        return ""
    if held.comes != _comes_back(words):
        held.comes_back(_comes_back(words))
    if not held.outdated:
        return ""
    ends = "`weave stop --for-restart`" if part == "router" else _ENDS[part]
    return (
        f", from an older image: {ends} and the same launch again change to the one called {IMAGE} now; "
        "containers talk on meanwhile"
    )


# --- creation -------------------------------------------------------------------------------------------------------


def _start(
    part: str,
    words: Sequence[str],
    capabilities: Sequence[str],
    shared: Iterable[Path],
    files: Iterable[Path],
    options: LaunchOptions | ProxyOptions,
    environment: Mapping[str, str],
    answers: Callable[[], bool],
) -> None:
    if options.docker_api:
        raise Usage(f"--docker-api and {IN_CONTAINER} do not go together: the engine is the one that DOCKER_HOST names")
    path = _engine_socket(environment)
    engine = _EngineApi(path)
    name = NAMES[part]
    try:
        engine.check()
        found = engine.find(part)
        if found is not None:
            if found.running:
                raise RequestRefused(
                    f"the container `{name}` runs, and the {part} in it does not answer: `docker logs {name}` says "
                    f"more, {_ENDS[part]} removes it"
                )
            found.remove()
        body = {
            "Image": f"{IMAGE}:latest",
            "Cmd": list(words),
            "Env": _environment(part, path, options, environment),
            "Labels": {LABEL: part},
            "HostConfig": {
                "NetworkMode": "host",
                "PidMode": "host",
                "UTSMode": "host",
                "UsernsMode": "host",
                "Binds": [*_volumes([*shared, Path(path)]), *_volumes(files, "ro")],
                "CapDrop": ["ALL"],
                "CapAdd": list(capabilities),
                "SecurityOpt": ["apparmor=unconfined", "label=disable"],
                "ReadonlyRootfs": True,
                "Tmpfs": {"/tmp": ""},
                "ReadonlyPaths": [f"/proc/{path}" for path in _READ_ONLY],
            },
        }
        made = engine.must("POST", f"/containers/create?name={name}", body)
        held = ProgramContainer(engine, made["Id"], name, running=True, image="", comes=False)
    except OSError as error:
        raise RequestRefused(f"the container engine does not answer at {path}: {error.strerror or error}") from None
    try:
        engine.must("POST", f"/containers/{held.id}/start")
        _await(engine, held, part, answers)
        held.comes_back(_comes_back(words))  # only now, so that a failing program reports once and is removed
    except BaseException:
        engine.ask("DELETE", f"/containers/{held.id}?force=1")
        raise


def _await(engine: "_EngineApi", held: ProgramContainer, part: str, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not answers():
        state = engine.must("GET", f"/containers/{held.id}/json")["State"]
        if not state["Running"]:
            raise RequestRefused(
                engine.last_words(held.id) or f"the {part} ended with {state['ExitCode']}, without a word"
            )
        if time.monotonic() > deadline:
            raise RequestRefused(
                f"the {part} does not answer after {_PATIENCE:g} s; its last words: {engine.last_words(held.id)}"
            )
        time.sleep(0.05)


def _comes_back(words: Sequence[str]) -> bool:
    return not _has(words, "no-restart")


def _has(words: Iterable[str], flag: str) -> bool:
    return any(word.startswith("-") and word.lstrip("-").partition("=")[0] == flag for word in words)


def _environment(
    part: str, engine: str, options: LaunchOptions | ProxyOptions, environment: Mapping[str, str]
) -> list[str]:
    passed = {name: environment[name] for name in (*TAKEN, *_PLACES) if environment.get(name)}
    passed.pop("WEAVE_PASSWORD", None)
    if isinstance(options, LaunchOptions) and options.password:
        passed["WEAVE_PASSWORD"] = options.password
    passed |= {INSIDE: part, "DOCKER_HOST": f"unix://{engine}"}
    return [f"{name}={value}" for name, value in passed.items()]


def _volumes(paths: Iterable[Path], how: str = "rw") -> list[str]:
    """Each path mounted under its own name, without paths inside others."""
    unique = dict.fromkeys(paths)
    for path in unique:
        if ":" in str(path):
            raise Usage(f"{path}: a path with a colon cannot be a volume of a container")
    return [f"{path}:{path}:{how}" for path in unique if not any(above in unique for above in path.parents)]


def _without_password(words: Sequence[str]) -> list[str]:
    """The words of a launch without the password, because other users can read them in the engine's list of
    processes."""
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        key, equals, _ = word.lstrip("-").partition("=") if word.startswith("-") else ("", "", "")
        if key == "password":
            if not equals:
                rest = rest[1:]
            continue
        kept.append(word)
    return kept


def _engine_socket(environment: Mapping[str, str]) -> str:
    """The usual lookup; in a container of the image, where a path of the client's host may not exist, the default
    path."""
    path = engine_path(environment)
    return DEFAULT_ENGINE if environment.get(_WRAPPER) and not Path(path).exists() else path


def _says_container(environment: Mapping[str, str]) -> bool:
    try:
        told = json.loads(SocketClient(socket_path(environment)).fetch("GET", "/options"))["options"]
    except NotRunning:
        return False
    return bool(told["in_container"])


# --- the engine -----------------------------------------------------------------------------------------------------


class _EngineApi:
    """The engine's API, one request for each connection. Raises `OSError` if nothing answers."""

    def __init__(self, path: str) -> None:
        self.path = path

    def ask(self, method: str, path: str, body: Any = None, timeout: float = _PATIENCE) -> tuple[int, Any]:
        """Status and answer: a value, or bytes if it is not JSON."""
        return engine_answer(self.path, method, path, body, timeout=timeout)

    def must(self, method: str, path: str, body: Any = None, *, gone: bool = False) -> Any:
        """The answer; `gone`: the object may be gone already. Raises `RequestRefused` with the engine's message."""
        status, answer = self.ask(method, path, body)
        if status >= 400 and not (gone and status in (404, 409)):
            words = answer.get("message", "") if isinstance(answer, dict) else answer.decode(errors="replace")
            raise RequestRefused(f"the container engine says: {words or status}")
        return answer

    def check(self) -> None:
        """Raise `RequestRefused`, with the reason, if the engine cannot run a router."""
        version = str(self.must("GET", "/version").get("ApiVersion", "0"))
        if tuple(int(part) for part in version.split(".") if part.isdigit()) < API:
            wanted = ".".join(map(str, API))
            raise RequestRefused(
                f"the engine at {self.path} speaks API {version}; {IN_CONTAINER} needs {wanted} (Docker 20.10)"
            )
        security = self.must("GET", "/info").get("SecurityOptions") or ()
        if any("name=rootless" in str(option) for option in security):
            raise RequestRefused(
                f"the engine at {self.path} runs without root: its containers do not see this host's network. Launch "
                f"without {IN_CONTAINER}, or use an engine of root's (DOCKER_HOST)"
            )
        status, _ = self.ask("GET", f"/images/{quote(IMAGE)}:latest/json")
        if status == 404:
            raise RequestRefused(
                f"the engine has no image {IMAGE}: `make image` in the project's directory writes it to a file, and "
                "`docker load -i overlay-lab-weave.tar.gz` takes it from there"
            )

    def find(self, part: str) -> ProgramContainer | None:
        """The container of this part. Raises `RequestRefused` if a foreign container has its name."""
        name = NAMES[part]
        status, found = self.ask("GET", f"/containers/{name}/json", timeout=_LOOK)
        if status != 200:
            return None
        if ((found.get("Config") or {}).get("Labels") or {}).get(LABEL) != part:
            raise RequestRefused(f"there is a container `{name}` that is none of this overlay: remove or rename it")
        comes = found["HostConfig"]["RestartPolicy"]["Name"] not in ("", "no")
        return ProgramContainer(self, found["Id"], name, bool(found["State"]["Running"]), found["Image"], comes)

    def last_words(self, container: str) -> str:
        """Its last output: the error message of a failed command, or else the end of its log."""
        _, data = self.ask("GET", f"/containers/{container}/logs?stdout=1&stderr=1&tail=20")
        lines = _plain(data if isinstance(data, bytes) else b"").splitlines()
        said = [line.removeprefix("weave: ") for line in lines if line.startswith("weave: ")]
        return said[-1] if said else "\n".join(lines[-5:])


def _plain(data: bytes) -> str:
    """The text of a log: frames of a stream number, three zeros, a length and as many bytes."""
    text = b""
    while len(data) >= 8:
        length = int.from_bytes(data[4:8])
        text, data = text + data[8 : 8 + length], data[8 + length :]
    return text.decode(errors="replace")

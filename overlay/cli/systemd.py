"""`weave systemd`: units that restart router and proxy after a crash and at boot.

Owns the text and location of the units and their options file. The units run `weave launch` and `weave launch-proxy`
with the words given here; systemd runs the units.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from overlay.cli.client import NotRunning, RequestRefused
from overlay.cli.launch_flags import parse_launch
from overlay.cli.proxy import stop
from overlay.cli.proxy_flags import parse_proxy, split_proxy_words
from overlay.cli.socket_client import SocketClient, socket_path
from overlay.cli.variables import TAKEN
from overlay.cli.words import Usage
from overlay.options import DEFAULT_CONTROL, DEFAULT_PROXY

__all__ = ["HELP", "OPTIONS", "PROXY", "ROUTER", "installed", "systemd", "unit_texts"]

HELP = """\
Usage: weave systemd                                 print the units, with where they go
       weave systemd install [FLAGS] [PEER ...]      write them, start them, and start them at each boot
       weave systemd remove                          stop router and proxy, and remove the units

FLAGS and PEERs are those of `weave launch`; the proxy has a unit too if its flags, or --proxy, are among them. They go
into /etc/weave.env, which only root reads, as do WEAVE_ variables and DOCKER_HOST of the environment."""

FOLDER = Path("/etc/systemd/system")
OPTIONS = Path("/etc/weave.env")
ROUTER, PROXY = "weave.service", "weave-proxy.service"
_KEPT = (*TAKEN, "WEAVE_DB", "WEAVE_LOG", "DOCKER_HOST", "DOCKER_BRIDGE")
"""Variables of the installing environment that router and proxy keep."""
_PLACES = ("WEAVE_SOCK", "WEAVE_PROXY_SOCK")
"""Variables that move files whose location the units must know."""

_UNIT = """\
# Written by `weave systemd install`. Options are in {options}; to change them, install again.
[Unit]
Description={description}
{order}
# What fails each time, as with wrong options, is given up after a while.
StartLimitIntervalSec=5min
StartLimitBurst=20

[Service]
Type=forking
PIDFile={pid}
EnvironmentFile=-{options}
ExecStart={program} {command}
{ending}TimeoutStartSec=10min
TimeoutStopSec=15
Restart=on-failure
RestartSec=1
# No more of the host than it takes: containers' namespaces and processes, /proc/sys, the engine's files, the network.
CapabilityBoundingSet={capabilities}
NoNewPrivileges=yes
ProtectSystem=full
ProtectHome=read-only
PrivateTmp=yes
ProtectClock=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies={families}
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""
_ROUTER_ENDS = """\
# Ends without a farewell, as by `weave stop --for-restart`: containers talk on while the router is away.
KillSignal=SIGUSR1
# What it has started, as wireguard-go, goes on until the next router.
KillMode=process
"""
_ROUTER_MAY = (
    *("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_CHROOT"),
    *("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN", "CAP_FOWNER", "CAP_KILL"),
)
_PROXY_MAY = ("CAP_NET_BIND_SERVICE", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER")


def unit_texts(program: str) -> dict[str, str]:
    """The text of each unit, by its name. `program`: the path of the `weave` to run."""

    inet = "AF_UNIX AF_INET AF_INET6"
    router = {
        "description": "Router of the container overlay network",
        "order": "After=network-online.target docker.service\nWants=network-online.target",
        "pid": _run(Path(DEFAULT_CONTROL).with_suffix(".pid")),
        "command": "launch $WEAVE_FLAGS",
        "ending": _ROUTER_ENDS,
        "capabilities": " ".join(_ROUTER_MAY),
        "families": f"{inet} AF_NETLINK AF_PACKET",
    }
    proxy = {
        "description": "Docker API proxy of the container overlay network",
        "order": f"After=docker.service {ROUTER}",
        "pid": _run(f"{DEFAULT_PROXY}.pid"),
        "command": "launch-proxy $WEAVE_PROXY_FLAGS",
        "ending": "",
        "capabilities": " ".join(_PROXY_MAY),
        "families": inet,
    }
    common = {"options": OPTIONS, "program": _escaped(program)}
    return {ROUTER: _UNIT.format(**router, **common), PROXY: _UNIT.format(**proxy, **common)}


def systemd(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Execute the command; returns the text to print. Raises `OverlayError`."""
    verb, rest = (words[0], list(words[1:])) if words else ("print", [])
    if verb == "install":
        return _install(rest, environment)
    if rest or verb not in ("print", "remove"):
        raise Usage(f"systemd takes `install [FLAGS] [PEER ...]`, `remove`, or nothing, not `{' '.join(words)}`")
    if verb == "remove":
        return _remove()
    return "\n".join(f"# {FOLDER / name}\n{text}" for name, text in unit_texts(_program()).items())


def installed() -> bool:
    """Whether this host has a unit of ours for the router."""
    return (FOLDER / ROUTER).exists()


def _install(words: list[str], environment: Mapping[str, str]) -> str:
    for name in _PLACES:
        if environment.get(name):
            raise Usage(f"{name} is set, and units keep to the usual places: `unset {name}`")
    router, proxy = split_proxy_words(words)
    options = parse_launch(router, environment)
    if options.in_container or (proxy is not None and parse_proxy(proxy).in_container):
        raise Usage("--in-container needs no units: the engine brings its containers back after a crash and a boot")
    _systemctl("is-system-running", check=False)
    names = [ROUTER, PROXY] if proxy is not None else [ROUTER]
    texts = unit_texts(_program())
    kept = {name: environment[name] for name in _KEPT if environment.get(name)}
    if options.password:  # in the environment file, which only root reads; the command line is public
        kept["WEAVE_PASSWORD"] = options.password
        router = _without(router, "password")
    kept["WEAVE_FLAGS"] = " ".join(map(_word, router))
    kept["WEAVE_PROXY_FLAGS"] = " ".join(map(_word, proxy or ()))
    lines = [f"# Of {ROUTER} and {PROXY}, by `weave systemd install`; systemd.exec(5) has the form."]
    lines += [f"{name}={_value(value)}" for name, value in sorted(kept.items())]
    try:
        _write(OPTIONS, "\n".join(lines) + "\n", 0o600)
        for name in names:
            _write(FOLDER / name, texts[name], 0o644)
    except OSError as error:
        raise RequestRefused(f"cannot write {error.filename}: {error.strerror}; run `weave` as root") from None
    if proxy is None and (FOLDER / PROXY).exists():
        _systemctl("disable", "--now", PROXY)
        (FOLDER / PROXY).unlink()
    _systemctl("daemon-reload")
    _systemctl("enable", *names)
    # Stop what runs already, started by hand or with other options.
    with contextlib.suppress(NotRunning):
        SocketClient(socket_path(environment)).end(restart=True)
    if proxy is not None:
        stop(environment)
    for name in names:
        try:
            _systemctl("restart", name)
        except RequestRefused as error:
            raise RequestRefused(
                f"{error} `journalctl -u {name} -n 20` says why, `weave systemd remove` ends the tries"
            ) from None
    return f"{' and '.join(names)}: started, now and at each boot"


def _remove() -> str:
    names = [name for name in (PROXY, ROUTER) if (FOLDER / name).exists()]
    if not names and not OPTIONS.exists():
        return "there are no units of weave"
    if names:
        _systemctl("disable", "--now", *names)
    for path in (*(FOLDER / name for name in names), OPTIONS):
        path.unlink(missing_ok=True)
    _systemctl("daemon-reload")
    return f"removed {' and '.join(names) or OPTIONS}"


def _systemctl(*words: str, check: bool = True) -> None:
    """Run systemctl. Raises `RequestRefused`, with systemctl's message."""
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RequestRefused("there is no systemd here (no systemctl): `weave launch` starts the router") from None
    if check and done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise RequestRefused(f"systemctl {' '.join(words)}: {said}")
    if not check and done.stdout.strip() == "offline":
        raise RequestRefused("systemd does not run on this host: `weave launch` starts the router")


def _program() -> str:
    """The path of this command."""
    here = Path(sys.argv[0])
    found = str(here.absolute()) if here.suffix != ".py" and os.access(here, os.X_OK) else shutil.which("weave")
    if not found:
        raise RequestRefused("units need the path of an installed `weave`: put it on PATH")
    return found


def _run(path: Path | str) -> str:
    """systemd's form of a path below /var/run."""
    return str(path).replace("/var/run/", "/run/", 1)


def _without(words: list[str], flag: str) -> list[str]:
    """The words of a launch without a flag that has a value."""
    rest, found = list(words), []
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and word.lstrip("-").partition("=")[0] == flag:
            if "=" not in word and rest:
                rest.pop(0)
            continue
        found.append(word)
    return found


def _escaped(program: str) -> str:
    """A path as the first word of an ExecStart line."""
    return '"' + program.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _word(word: str) -> str:
    """Quote a word, so that systemd does not split it when it splits a variable's value."""
    return (
        '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(word) & set(" \t\"'\\") or not word else word
    )


def _value(text: str) -> str:
    """Quote a value for a line of an EnvironmentFile."""
    for char in '\\"`$':
        text = text.replace(char, f"\\{char}")
    return f'"{text}"'


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)

"""`weave run`: addresses, then `docker run` words, converted to the body of a create request.

Owns the table of `docker run` flags. Pure except for `--env-file`. Unknown flags are refused by name, because silently
dropping a flag would start a different container than requested.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from overlay.cli.words import Usage, nearest, take_addresses

__all__ = ["HELP", "parse_run"]

HELP = """\
Usage: weave run [--without-dns] [--rewrite-hosts] [--no-multicast-route] [--allow-spoofing]
                 [ADDRESS ...] [DOCKER-RUN-FLAGS] IMAGE [COMMAND ...]

Starts a container on the overlay, detached, and prints its id. ADDRESS is a.b.c.d/n, net:a.b.c.0/n or net:default
(which is also what none means). Its --hostname, or else its --name, becomes a DNS name under the router's domain.
--allow-spoofing: it may send with foreign MACs and addresses (VRRP, a router, a bridge of its own).
Flags: as of `docker run`, the usual ones; any other is refused."""

Body = dict[str, Any]


def _host(body: Body) -> Body:
    host: Body = body.setdefault("HostConfig", {})
    return host


def _switch(*path: str) -> Callable[[Body], None]:
    def apply(body: Body) -> None:
        target = _host(body) if path[0] == "HostConfig" else body
        target[path[-1]] = True

    return apply


def _text(*path: str) -> Callable[[Body, str], None]:
    def apply(body: Body, value: str) -> None:
        (_host(body) if path[0] == "HostConfig" else body)[path[-1]] = value

    return apply


def _append(*path: str) -> Callable[[Body, str], None]:
    def apply(body: Body, value: str) -> None:
        (_host(body) if path[0] == "HostConfig" else body).setdefault(path[-1], []).append(value)

    return apply


def _pairs(*path: str) -> Callable[[Body, str], None]:
    def apply(body: Body, value: str) -> None:
        key, _, text = value.partition("=")
        (_host(body) if path[0] == "HostConfig" else body).setdefault(path[-1], {})[key] = text

    return apply


def _number(*path: str) -> Callable[[Body, str], None]:
    def apply(body: Body, value: str) -> None:
        if not value.isdigit():
            raise Usage(f"{value}: expected a number")
        (_host(body) if path[0] == "HostConfig" else body)[path[-1]] = int(value)

    return apply


def _size(*path: str) -> Callable[[Body, str], None]:
    def apply(body: Body, value: str) -> None:
        units = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
        unit = units.get(value[-1:].lower(), 0)
        digits = value[:-1] if unit else value
        if not digits.isdigit():
            raise Usage(f"{value}: expected a size, as 512m or 1g")
        _host(body)[path[-1]] = int(digits) * (unit or 1)

    return apply


def _interactive(body: Body) -> None:
    body["OpenStdin"] = True


def _terminal(body: Body) -> None:
    body["Tty"] = True


def _nothing(_body: Body) -> None:
    """`-d`: `weave run` is always detached."""


def _publish(body: Body, value: str) -> None:
    spec, _, protocol = value.partition("/")
    host, _, rest = spec.rpartition(":")
    address, _, port = host.rpartition(":") if host else ("", "", "")
    if not rest.isdigit() or (port and not port.isdigit()) or protocol not in ("", "tcp", "udp"):
        raise Usage(f"-p {value}: expected [IP:][PORT:]CONTAINER-PORT[/udp]")
    key = f"{rest}/{protocol or 'tcp'}"
    body.setdefault("ExposedPorts", {})[key] = {}
    places = _host(body).setdefault("PortBindings", {}).setdefault(key, [])
    places.append({"HostIp": address.strip("[]"), "HostPort": port})


def _expose(body: Body, value: str) -> None:
    body.setdefault("ExposedPorts", {})[value if "/" in value else f"{value}/tcp"] = {}


def _volume(body: Body, value: str) -> None:
    if ":" in value:
        _append("HostConfig", "Binds")(body, value)
    else:
        body.setdefault("Volumes", {})[value] = {}


def _restart(body: Body, value: str) -> None:
    name, _, count = value.partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure") or (count and not count.isdigit()):
        raise Usage(f"--restart {value}: expected no, always, unless-stopped or on-failure[:COUNT]")
    _host(body)["RestartPolicy"] = {"Name": name, "MaximumRetryCount": int(count or 0)}


def _cpus(body: Body, value: str) -> None:
    whole, _, fraction = value.partition(".")
    if not (whole + fraction).isdigit():
        raise Usage(f"--cpus {value}: expected a number, as 1.5")
    _host(body)["NanoCpus"] = int((whole or "0") + (fraction + "0" * 9)[:9])


def _entrypoint(body: Body, value: str) -> None:
    body["Entrypoint"] = [value]


_SWITCHES: dict[str, Callable[[Body], None]] = {
    "interactive": _interactive,
    "tty": _terminal,
    "detach": _nothing,
    "rm": _switch("HostConfig", "AutoRemove"),
    "publish-all": _switch("HostConfig", "PublishAllPorts"),
    "privileged": _switch("HostConfig", "Privileged"),
    "read-only": _switch("HostConfig", "ReadonlyRootfs"),
    "init": _switch("HostConfig", "Init"),
}
_VALUES: dict[str, Callable[[Body, str], None]] = {
    "publish": _publish,
    "expose": _expose,
    "volume": _volume,
    "env": _append("Env"),
    "hostname": _text("Hostname"),
    "domainname": _text("Domainname"),
    "user": _text("User"),
    "workdir": _text("WorkingDir"),
    "entrypoint": _entrypoint,
    "label": _pairs("Labels"),
    "restart": _restart,
    "cpus": _cpus,
    "cpu-shares": _number("HostConfig", "CpuShares"),
    "cpuset-cpus": _text("HostConfig", "CpusetCpus"),
    "memory": _size("HostConfig", "Memory"),
    "memory-swap": _size("HostConfig", "MemorySwap"),
    "shm-size": _size("HostConfig", "ShmSize"),
    "pids-limit": _number("HostConfig", "PidsLimit"),
    "dns": _append("HostConfig", "Dns"),
    "dns-search": _append("HostConfig", "DnsSearch"),
    "dns-option": _append("HostConfig", "DnsOptions"),
    "add-host": _append("HostConfig", "ExtraHosts"),
    "cap-add": _append("HostConfig", "CapAdd"),
    "cap-drop": _append("HostConfig", "CapDrop"),
    "security-opt": _append("HostConfig", "SecurityOpt"),
    "group-add": _append("HostConfig", "GroupAdd"),
    "volumes-from": _append("HostConfig", "VolumesFrom"),
    "link": _append("HostConfig", "Links"),
    "network": _text("HostConfig", "NetworkMode"),
    "pid": _text("HostConfig", "PidMode"),
    "ipc": _text("HostConfig", "IpcMode"),
    "sysctl": _pairs("HostConfig", "Sysctls"),
    "tmpfs": lambda body, value: _host(body).setdefault("Tmpfs", {}).update([value.partition(":")[::2]]),
    "stop-signal": _text("StopSignal"),
    "stop-timeout": _number("StopTimeout"),
}
_SHORT = {
    "i": "interactive", "t": "tty", "d": "detach", "P": "publish-all", "p": "publish", "v": "volume", "e": "env",
    "h": "hostname", "u": "user", "w": "workdir", "l": "label", "c": "cpu-shares", "m": "memory",
}  # fmt: skip
_ALIASES = {"net": "network", "dns-opt": "dns-option"}
_HOST_NAME = 63
"""Maximum length of a DNS label; a longer container name is not used as host name, as in the original."""
_OWN = {
    "without-dns": ("dns", False),
    "with-dns": ("dns", True),
    "no-multicast-route": ("multicast", False),
    "rewrite-hosts": ("hosts", True),
    "no-rewrite-hosts": ("hosts", False),
    "allow-spoofing": ("spoofing", True),
}


def parse_run(words: Sequence[str], environment: Mapping[str, str]) -> Body:
    """`addresses`, `name`, `dns`, `hosts`, `multicast`, `spoofing` and the `create` body of a `weave run`.

    Raises `Usage` and `UsageError`.
    """
    rest = list(words)
    own = {"dns": True, "hosts": False, "multicast": True, "spoofing": False}
    while rest and rest[0].lstrip("-") in _OWN and rest[0].startswith("-"):
        field, setting = _OWN[rest.pop(0).lstrip("-")]
        own[field] = setting
    addresses, rest = take_addresses(rest)
    body: Body = {}
    name = ""
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        for key, value in _split(word, rest):
            if key == "name":
                name = value or ""
            elif key == "env-file":
                body.setdefault("Env", []).extend(_env_file(value or ""))
            elif key in _SWITCHES:
                if value != "false":
                    _SWITCHES[key](body)
            else:
                _VALUES[key](body, value or "")
    if not rest:
        raise Usage("run which image? `weave run [ADDRESS ...] [DOCKER-RUN-FLAGS] IMAGE [COMMAND ...]`")
    body["Env"] = [_inherit(entry, environment) for entry in body.get("Env", []) if _known(entry, environment)]
    body["Image"] = rest[0]
    if rest[1:]:
        body["Cmd"] = rest[1:]
    if name and len(name) <= _HOST_NAME and not body.get("Hostname"):
        body["Hostname"] = name
    return {"addresses": addresses, "name": name, **own, "create": body}


def _split(word: str, rest: list[str]) -> list[tuple[str, str | None]]:
    """The (flag, value) pairs of one word, which may be a cluster such as `-ti` or `-p80:80`; may take a value from
    `rest`."""
    if word.startswith("--"):
        key, equals, value = word[2:].partition("=")
        key = _ALIASES.get(key, key)
        if key in _SWITCHES:
            if equals and value not in ("true", "false"):
                raise Usage(f"{word}: expected true or false")
            return [(key, value or None)]
        if key not in _VALUES and key not in ("name", "env-file"):
            known = (*_SWITCHES, *_VALUES, *_ALIASES, "name", "env-file")
            raise Usage(f"run does not know the flag `--{key}`{nearest(key, known, dashes=True)}")
        return [(key, value if equals else _take(word, rest))]
    found: list[tuple[str, str | None]] = []
    letters = word[1:]
    while letters:
        key = _SHORT.get(letters[0], "")
        if not key:
            dashed = (
                f", did you mean `-{word}`?" if word[1:].partition("=")[0] in (*_VALUES, *_SWITCHES, "name") else ""
            )
            raise Usage(f"run does not know the flag `-{letters[0]}` in `{word}`{dashed}")
        letters = letters[1:]
        if key in _SWITCHES:
            if letters.startswith("="):
                found.append((key, letters[1:]))
                letters = ""
            else:
                found.append((key, None))
            continue
        found.append((key, letters.removeprefix("=") if letters else _take(word, rest)))
        letters = ""
    return found


def _take(word: str, rest: list[str]) -> str:
    if not rest:
        raise Usage(f"{word} lacks its value")
    return rest.pop(0)


def _env_file(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Usage(f"--env-file {path}: {error.strerror}") from None
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


def _known(entry: str, environment: Mapping[str, str]) -> bool:
    return "=" in entry or entry in environment


def _inherit(entry: str, environment: Mapping[str, str]) -> str:
    return entry if "=" in entry else f"{entry}={environment[entry]}"

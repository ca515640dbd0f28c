"""`weave launch-proxy`, `stop-proxy`, `env`, `config`: their flags and what they print.

Owns the flags of the proxy, the original's spellings of 2015 among them. The proxy itself stands in `overlay.proxy`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import defstruct
from msgspec.structs import asdict

from overlay.cli.client import RequestRefused
from overlay.cli.container import FLAG, find, is_inside, refuse_beside, settle, start_proxy
from overlay.cli.variables import refuse_known
from overlay.cli.words import Usage, engine_socket, host_names, nearest
from overlay.options import DaemonPaths, differences
from overlay.proxy.policy import AttachmentPolicy
from overlay.proxy.process import (
    DEFAULT_TCP,
    ProxyOptions,
    Running,
    endpoint,
    hold_proxy,
    running,
    spawn_proxy,
    stop_proxy,
)

__all__ = ["HELP", "config_words", "env_words", "launch_proxy", "parse_proxy", "split_proxy_words", "stop", "warnings"]

HELP = """\
Usage: weave launch-proxy [FLAGS]         (`weave launch` takes these flags too; --proxy: none of them, but the proxy)

  -H ADDRESS                        tcp://IP:PORT or unix:///PATH, repeatable (tcp://127.0.0.1:12375 and a unix socket);
                                    whoever reaches it is root on this host: use TLS where others can
  --allow-host NAME,...             names of this host by which TCP is asked (localhost and IP addresses always are)
  --tls, --tlsverify                TLS on TCP; with client certificates
  --tlscacert, --tlscert, --tlskey FILE
  --without-dns                     containers keep the name servers of the engine
  --no-default-ipalloc              only containers with WEAVE_CIDR join
  --no-rewrite-hosts                leave /etc/hosts as the engine writes it
  --no-multicast-route              leave multicast to eth0
  --rewrite-inspect                 `docker inspect` shows the overlay's address
  --hostname-from-label LABEL       the host name is this label's value
  --hostname-match REGEX, --hostname-replacement TEXT
                                    how a name becomes a host name ("(.*)", "$1"); groups may have names, as in
                                    "(?P<app>[^-]*)-.*", "$app"
  --in-container                    run as a container named weaveproxy of the image overlay-lab/weave (docs/install.md)
  --docker-api SOCKET               the container engine (DOCKER_HOST, or /var/run/docker.sock)
  --log-level LEVEL                 debug, info, warning, error (info)

WEAVE_CIDR in a container's environment: addresses as those of weave run, or none."""

_SWITCHES = {
    "tls": "tls",
    "tlsverify": "tlsverify",
    "without-dns": "without_dns",
    "no-default-ipalloc": "no_default_ipalloc",
    "no-rewrite-hosts": "no_rewrite_hosts",
    "no-multicast-route": "no_multicast_route",
    "rewrite-inspect": "rewrite_inspect",
    "in-container": "in_container",
}
_VALUES = {
    "tlscacert": "tlscacert",
    "tlscert": "tlscert",
    "tlskey": "tlskey",
    "hostname-from-label": "hostname_from_label",
    "hostname-match": "hostname_match",
    "hostname-replacement": "hostname_replacement",
}
_SHARED = {"docker-api": "docker_api", "log-level": "log_level", "allow-host": "allow_host"}
"""Flags that the router has too."""
_OLD = {"no-default-ipam": "no-default-ipalloc", "D": "docker-api"}
_IGNORED = {
    "with-dns": "--without-dns says it",
    "with-ipam": "--no-default-ipalloc says it",
    "no-detect-tls": "the engine's own TLS is never looked for; --tls and --tlsverify switch the proxy's on",
}
"""Say what is so anyhow; how its opposite is said."""
_POLICY = tuple(AttachmentPolicy.__struct_fields__)


def parse_proxy(words: Sequence[str]) -> ProxyOptions:
    """The options of a proxy. Raises `Usage`."""
    found: dict[str, Any] = {}
    hosts: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            raise Usage(f"launch-proxy takes flags only, not `{word}`")
        key, equals, value = word.lstrip("-").partition("=")
        key = _OLD.get(key, key)
        if key in _IGNORED:
            if value == "false":
                raise Usage(f"{word}: {_IGNORED[key]}")
            continue
        if key in _SWITCHES:
            if equals and value not in ("true", "false"):
                raise Usage(f"{word}: expected true or false")
            found[_SWITCHES[key]] = value != "false"
            continue
        if key != "H" and key not in _VALUES and key not in _SHARED:
            known = (*_SWITCHES, *_VALUES, *_SHARED, "H")
            raise Usage(f"launch-proxy has no flag `{word}`{nearest(key, known, dashes=True)}")
        if not equals:
            if not rest:
                raise Usage(f"{word} lacks its value")
            value = rest.pop(0)
        if key == "H":
            hosts.append(f"tcp://0.0.0.0{value}" if value.startswith(":") else _unix(value))
        elif key == "docker-api":
            found["docker_api"] = engine_socket(word.partition("=")[0], value)
        elif key == "allow-host":
            found["allow_host"] = (*found.get("allow_host", ()), *host_names(value))
        else:
            found[{**_VALUES, **_SHARED}[key]] = value
    policy = AttachmentPolicy(**{key: found.pop(key) for key in _POLICY if key in found})
    options = ProxyOptions(host=tuple(hosts), policy=policy, **found)
    _check(options)
    return options


def split_proxy_words(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The words of `weave launch` without the proxy's, and the proxy's (None: no proxy is asked for)."""
    router: list[str] = []
    proxy: list[str] = []
    wanted: bool | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        key, equals, value = word.lstrip("-").partition("=") if word.startswith("-") else ("", "", "")
        if key in _OLD:
            key = _OLD[key]
            word = f"--{key}{equals}{value}"
        if key == "proxy":
            wanted = value != "false"
        elif key == FLAG[2:]:
            router.append(word)
            proxy.append(word)
        elif key in _SWITCHES or key in _IGNORED:
            proxy.append(word)
        elif key in _VALUES or key == "H":
            proxy += [word] if equals or not rest else [word, rest.pop(0)]
        else:
            taken = [word]
            if key in _SHARED and not equals and rest:
                taken.append(rest.pop(0))
            if key in _SHARED:
                proxy += taken
            router += taken
    shared = (*_SHARED, FLAG[2:])
    asked = any(word.lstrip("-").partition("=")[0] not in shared for word in proxy if word.startswith("-"))
    return router, proxy if wanted or (wanted is None and asked) else None


def launch_proxy(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Start a proxy, or find that the same one runs; says so, and what that means. Raises `OverlayError`."""
    refuse_known(environment)
    options = parse_proxy(words)
    places = DaemonPaths.of(environment)
    found = running(places)
    if found is None:
        if options.in_container and is_inside(environment):
            hold_proxy(options, places, environment)
            return "the proxy has ended"
        if options.in_container:
            start_proxy(words, options, environment)
        else:
            refuse_beside("proxy", environment)
            spawn_proxy(options, places, environment)
        return "\n".join(("the proxy runs", *warnings(options)))
    different = differences(_flat(found.options), _flat(options))
    if different:
        raise RequestRefused(
            "a proxy runs here already, with other options: " + "; ".join(different) + ". `weave stop-proxy` ends it"
        )
    return "the proxy runs already, with the same options" + (
        settle("proxy", words, environment) if options.in_container else ""
    )


def warnings(options: ProxyOptions) -> list[str]:
    """What a proxy with these options means for others who use this host."""
    hosts = options.host or (DEFAULT_TCP,)
    open_ones = [host for host in hosts if host.startswith("tcp:")] if not options.tlsverify else []
    if not open_ones:
        return []
    return [
        f"every user and program that reaches {' '.join(open_ones)} is root on this host, as with the Docker Engine;"
        " where others use this host: `-H unix:///var/run/weave/weave.sock`, or --tlsverify (web pages are refused)"
    ]


def stop(environment: Mapping[str, str]) -> bool:
    """End the proxy; False: none ran."""
    held = find("proxy", environment)
    if held is not None:
        held.remove()
        return True
    return stop_proxy(DaemonPaths.of(environment))


def env_words(environment: Mapping[str, str], *, restore: bool = False) -> str:
    """What a shell is to do to talk to the proxy (or, with `restore`, to what it talked to before): one command.

    One command without quotes, so that both `` `weave env` `` and `eval $(weave env)` work. Raises `RequestRefused`.
    """
    if restore:
        return _restore(environment)
    found = _running(environment)
    host = found.hosts[0].replace("//0.0.0.0:", "//127.0.0.1:")
    words = [f"DOCKER_HOST={host}", f"ORIG_DOCKER_HOST={_original(environment, 'DOCKER_HOST')}"]
    secured = found.options.secured and host.startswith("tcp:")
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        if not secured and (environment.get(name) or environment.get(f"ORIG_{name}")):
            # The shell's own engine speaks TLS, the proxy does not.
            words += [f"{name}=", f"ORIG_{name}={_original(environment, name)}"]
    return "export " + " ".join(words)


def config_words(environment: Mapping[str, str]) -> str:
    """The flags with which a docker command talks to the proxy. Raises `RequestRefused`."""
    found = _running(environment)
    host = found.hosts[0].replace("//0.0.0.0:", "//127.0.0.1:")
    words = [f"-H={host}"]
    if host.startswith("tcp:"):
        options = found.options
        words += ["--tlsverify"] if options.tlsverify else ["--tls"] if options.tls else []
        words += [f"--tlscacert={options.tlscacert}"] if options.tlsverify else []
    return " ".join(words)


def _original(environment: Mapping[str, str], name: str) -> str:
    return environment.get(f"ORIG_{name}", environment.get(name, "")).replace(" ", "\\ ")


def _restore(environment: Mapping[str, str]) -> str:
    back, gone = [], []
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        if f"ORIG_{name}" not in environment:
            continue
        before = environment[f"ORIG_{name}"]
        if before:
            back += [f"{name}={before}", f"ORIG_{name}="]
        else:
            gone += [name, f"ORIG_{name}"]
    if back:
        # Empty counts as unset for every one of them.
        return "export " + " ".join((*back, *(f"{name}=" for name in gone)))
    return "unset " + " ".join(gone) if gone else ":"


def _running(environment: Mapping[str, str]) -> Running:
    found = running(DaemonPaths.of(environment))
    if found is None:
        raise RequestRefused("the proxy is not running: start it with `weave launch-proxy`")
    return found


def _flat(options: ProxyOptions) -> Any:
    """All options in one level, for comparing."""
    fields = {**asdict(options), **asdict(options.policy)}
    del fields["policy"]
    return defstruct("Options", list(fields))(**fields)


def _unix(value: str) -> str:
    """A path alone means the socket there."""
    return f"unix://{value}" if value.startswith("/") else value


def _check(options: ProxyOptions) -> None:
    for host in options.host:
        try:
            endpoint(host)
        except ValueError as error:
            raise Usage(str(error)) from None
    if options.secured and not (options.tlscert and options.tlskey):
        raise Usage("--tls and --tlsverify need --tlscert FILE and --tlskey FILE")
    if options.tlsverify and not options.tlscacert:
        raise Usage("--tlsverify needs --tlscacert FILE, which signed the clients' certificates")
    for file in filter(None, (options.tlscacert, options.tlscert, options.tlskey)):
        if not Path(file).is_file():
            raise Usage(f"{file}: there is no such file")
    try:
        options.policy.check()
    except (re.error, ValueError) as error:
        raise Usage(f"--hostname-match and --hostname-replacement do not fit: {error}") from None
    if options.log_level not in ("debug", "info", "warning", "error"):
        raise Usage(f"--log-level {options.log_level}: one of debug, info, warning, error")

"""The words of `weave launch-proxy`: its flags, including the original's spellings of 2015, and their valid values."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overlay.cli.words import IN_CONTAINER, Usage, engine_socket, host_names, nearest
from overlay.proxy.policy import AttachmentPolicy
from overlay.proxy.process import ProxyOptions, endpoint

__all__ = ["HELP", "parse_proxy", "split_proxy_words"]

HELP = """\
Usage: weave launch-proxy [FLAGS]         (`weave launch` takes these flags too; --proxy: none of them, but the proxy)

  -H ADDRESS                        tcp://IP:PORT or unix:///PATH, repeatable (tcp://127.0.0.1:12375 and a unix socket);
                                    a client that reaches it is root on this host: use TLS where others can
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
"""Flags that state the default, each with the way to get the opposite."""
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
    """The words of `weave launch` without the proxy's, and the proxy's (None: no proxy is requested)."""
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
        elif key == IN_CONTAINER[2:]:
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
    shared = (*_SHARED, IN_CONTAINER[2:])
    asked = any(word.lstrip("-").partition("=")[0] not in shared for word in proxy if word.startswith("-"))
    return router, proxy if wanted or (wanted is None and asked) else None


def _unix(value: str) -> str:
    """A plain path means the socket at that path."""
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

"""`weave launch-proxy`, `stop-proxy`, `env`, `config`: their actions and output.

`proxy_flags` defines the flags; the proxy itself is in `overlay.proxy`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import defstruct
from msgspec.structs import asdict

from overlay.cli.client import RequestRefused
from overlay.cli.container import find, is_inside, refuse_beside, settle, start_proxy
from overlay.cli.proxy_flags import parse_proxy
from overlay.cli.variables import refuse_known
from overlay.options import DaemonPaths, differences
from overlay.proxy.process import DEFAULT_TCP, ProxyOptions, Running, hold_proxy, running, spawn_proxy, stop_proxy

__all__ = ["config_words", "env_words", "launch_proxy", "stop", "warnings"]


def launch_proxy(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Start a proxy, or find that the same one runs; returns a message with warnings. Raises `OverlayError`."""
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
    """Warnings about the effects of these options on other users of this host."""
    hosts = options.host or (DEFAULT_TCP,)
    open_ones = [host for host in hosts if host.startswith("tcp:")] if not options.tlsverify else []
    if not open_ones:
        return []
    return [
        f"every user and program that reaches {' '.join(open_ones)} is root on this host, as with the Docker Engine;"
        " where others use this host: `-H unix:///var/run/weave/weave.sock`, or --tlsverify (web pages are refused)"
    ]


def stop(environment: Mapping[str, str]) -> bool:
    """Stop the proxy; False: none was running."""
    held = find("proxy", environment)
    if held is not None:
        held.remove()
        return True
    return stop_proxy(DaemonPaths.of(environment))


def env_words(environment: Mapping[str, str], *, restore: bool = False) -> str:
    """The shell command to use the proxy (or, with `restore`, the engine used before).

    It is one command without quotes, so that both `` `weave env` `` and `eval $(weave env)` work. Raises
    `RequestRefused`.
    """
    if restore:
        return _restore(environment)
    found = _running(environment)
    host = found.hosts[0].replace("//0.0.0.0:", "//127.0.0.1:")
    words = [f"DOCKER_HOST={host}", f"ORIG_DOCKER_HOST={_original(environment, 'DOCKER_HOST')}"]
    secured = found.options.secured and host.startswith("tcp:")
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        if not secured and (environment.get(name) or environment.get(f"ORIG_{name}")):
            # The shell's own engine uses TLS, the proxy does not.
            words += [f"{name}=", f"ORIG_{name}={_original(environment, name)}"]
    return "export " + " ".join(words)


def config_words(environment: Mapping[str, str]) -> str:
    """The flags that make a docker command use the proxy. Raises `RequestRefused`."""
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
        # An empty value counts as unset.
        return "export " + " ".join((*back, *(f"{name}=" for name in gone)))
    return "unset " + " ".join(gone) if gone else ":"


def _running(environment: Mapping[str, str]) -> Running:
    found = running(DaemonPaths.of(environment))
    if found is None:
        raise RequestRefused("the proxy is not running: start it with `weave launch-proxy`")
    return found


def _flat(options: ProxyOptions) -> Any:
    """All options in one level, for comparison."""
    fields = {**asdict(options), **asdict(options.policy)}
    del fields["policy"]
    return defstruct("Options", list(fields))(**fields)

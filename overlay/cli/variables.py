"""Environment variables of the original's commands: each one takes effect, or is refused with an explanation.

Owns the table of both. `DaemonPaths` defines the variables for this overlay's own paths (WEAVE_DB, WEAVE_SOCK, …).
"""

from collections.abc import Callable, Mapping
from typing import Any

from overlay.cli.words import Usage, number

__all__ = ["REFUSED", "TAKEN", "from_environment", "refuse_known"]


def _text(_name: str, value: str) -> str:
    return value


def _switch(_name: str, value: str) -> bool:
    return value.lower() not in ("0", "false", "no")


def _mtu(name: str, value: str) -> int:
    return number(name, value, 1280, 65535)


def _port(name: str, value: str) -> int:
    return number(name, value, 1, 65535)


def _endpoint(name: str, value: str) -> str:
    if not value.rpartition(":")[2].isdigit():
        raise Usage(f"{name} {value}: expected IP:PORT")
    return value


TAKEN: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
    "WEAVE_PASSWORD": ("password", _text),
    "WEAVE_MTU": ("mtu", _mtu),
    "WEAVE_NO_FASTDP": ("no_fastdp", _switch),
    "WEAVE_PORT": ("port", _port),
    "WEAVE_HTTP_ADDR": ("http_addr", _endpoint),
    "WEAVE_STATUS_ADDR": ("status_addr", _endpoint),
}
"""Variable to the field of `LaunchOptions` that it sets if no flag does, and its parser."""

_NO_CONTAINER = "router and proxy are processes here, or containers whose names and flags are fixed (--in-container)"
REFUSED: Mapping[str, str] = {
    "WEAVE_CONTAINER_NAME": f"{_NO_CONTAINER}: WEAVE_SOCK and WEAVE_DB tell two routers of one host apart",
    "WEAVE_DOCKER_ARGS": f"{_NO_CONTAINER}: give their flags to `weave launch`",
    "WEAVEPROXY_DOCKER_ARGS": f"{_NO_CONTAINER}: give their flags to `weave launch-proxy`",
    "WEAVEPLUGIN_DOCKER_ARGS": f"{_NO_CONTAINER}: give their flags to `weave launch --plugin`",
    "WEAVEDNS_DOCKER_ARGS": f"{_NO_CONTAINER}: `weave launch` takes --dns-domain, --dns-ttl and --dns-listen-address",
    "WEAVE_NO_BRIDGED_FASTDP": "there is one fast path here, and it is always bridged: --no-fastdp switches it off",
    "WEAVE_DEBUG": "`weave launch --log-level debug` logs more",
    "WEAVE_METRICS_ADDR": "metrics are served with the status: --status-addr IP:PORT",
    "WEAVE_EXPOSE_IP": "`weave expose` gives this host an address",
}
"""Variables without effect here, with an alternative."""


def refuse_known(environment: Mapping[str, str]) -> None:
    """Raise `Usage` for a variable of the original that would be ignored."""
    for name, instead in REFUSED.items():
        if environment.get(name):
            raise Usage(f"{name} is set, and has no effect here: {instead}; `unset {name}`")


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `LaunchOptions` that the environment sets. Raises `Usage`."""
    refuse_known(environment)
    return {field: read(name, environment[name]) for name, (field, read) in TAKEN.items() if environment.get(name)}

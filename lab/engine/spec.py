"""The meaning of a create request: the Docker Engine API's container configuration as frozen data.

Owns the fields that this engine supports, their defaults and their validation. Unknown fields are kept as received, so
that `inspect` returns what the client sent. Pure: no container, no process, no file.
"""

import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from lab.engine.errors import ApiError, invalid, not_found
from lab.images import Image, find, reference

__all__ = [
    "CreateRequest",
    "ExecRequest",
    "HostConfig",
    "PortBinding",
    "RestartPolicy",
    "parse_create",
    "parse_exec",
    "parse_signal",
]

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp))?")


class PortBinding(Struct, frozen=True, rename="pascal"):
    """A host address and port at which a container's port is published; an empty or zero port: any free one."""

    host_ip: str = ""
    host_port: str = ""


class RestartPolicy(Struct, frozen=True, rename="pascal"):
    """`no` (or empty), `always`, `unless-stopped`, `on-failure` with a maximum (0: unlimited)."""

    name: str = ""
    maximum_retry_count: int = 0


class HostConfig(Struct, frozen=True, rename="pascal", kw_only=True):
    """Host-dependent settings of a container."""

    binds: tuple[str, ...] | None = None
    port_bindings: dict[str, tuple[PortBinding, ...] | None] | None = None
    publish_all_ports: bool = False
    network_mode: str = ""
    restart_policy: RestartPolicy | None = None
    auto_remove: bool = False
    dns: tuple[str, ...] | None = None
    dns_search: tuple[str, ...] | None = None
    dns_options: tuple[str, ...] | None = None
    extra_hosts: tuple[str, ...] | None = None
    tmpfs: dict[str, str] | None = None
    privileged: bool = False


class CreateRequest(Struct, frozen=True, rename="pascal", kw_only=True):
    """The body of `POST /containers/create`."""

    image: str = ""
    cmd: tuple[str, ...] | str | None = None
    entrypoint: tuple[str, ...] | str | None = None
    env: tuple[str, ...] | None = None
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    labels: dict[str, str] | None = None
    working_dir: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    exposed_ports: dict[str, Any] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    host_config: HostConfig | None = field(default_factory=HostConfig)

    @property
    def host(self) -> HostConfig:
        return self.host_config or HostConfig()


class ExecRequest(Struct, frozen=True, rename="pascal", kw_only=True):
    """The body of `POST /containers/{id}/exec`."""

    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    tty: bool = False
    working_dir: str = ""
    user: str = ""
    privileged: bool = False


def words(value: Sequence[str] | str | None) -> tuple[str, ...]:
    """A command as the API allows it: a list, or one string for one word."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def command(request: CreateRequest, image: Image) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(entrypoint, cmd) by Docker's rule: an entrypoint in the request drops the image's command.

    `[""]` as entrypoint means none.
    """
    entrypoint, cmd = words(request.entrypoint), words(request.cmd)
    if entrypoint:
        return (() if entrypoint == ("",) else entrypoint), cmd
    return image.entrypoint, cmd or image.cmd


def port_key(text: str) -> tuple[int, str]:
    """`8080/tcp` or `8080` -> (8080, "tcp")"""
    match = _PORT.fullmatch(text)
    if not match or not 0 < int(match[1]) < 65536:
        raise invalid(f"invalid port specification: {text!r}")
    return int(match[1]), match[2] or "tcp"


def bindings(request: CreateRequest, image: Image) -> list[tuple[int, str, PortBinding]]:
    """(container port, protocol, where) for each port to publish, in the order of the request."""
    found: list[tuple[int, str, PortBinding]] = []
    for key, places in (request.host.port_bindings or {}).items():
        port, protocol = port_key(key)
        for place in places or (PortBinding(),):
            if place.host_port and not (place.host_port.isdigit() and int(place.host_port) < 65536):
                raise invalid(f"invalid port specification: {place.host_port!r}")
            found.append((port, protocol, place))
    if request.host.publish_all_ports:
        published = {(port, protocol) for port, protocol, _ in found}
        for key in exposed(request, image):
            if port_key(key) not in published:
                found.append((*port_key(key), PortBinding()))
    return found


def exposed(request: CreateRequest, image: Image) -> list[str]:
    """`8080/tcp`, … of the image, the request and the published ports."""
    keys = [*image.exposed, *(request.exposed_ports or {}), *(request.host.port_bindings or {})]
    return list(dict.fromkeys("{}/{}".format(*port_key(key)) for key in keys))


def parse_create(body: bytes, images: Mapping[str, Image]) -> tuple[CreateRequest, Image, dict[str, Any]]:
    """The request, its image, and the body as received. Raises `ApiError` 400 or 404 with Docker's texts."""
    try:
        raw = msgspec.json.decode(body, type=dict[str, Any])
        request = msgspec.convert(_without_null(raw), CreateRequest)
    except msgspec.MsgspecError as error:
        raise invalid(f"invalid JSON: {error}") from None
    image = find(request.image, images)
    if image is None:
        raise missing_image(request.image)
    if not any(command(request, image)):
        raise invalid("No command specified")
    if request.user not in ("", "0", "root", "0:0", "root:root"):
        raise invalid(f"user {request.user!r}: process containers of this engine know only root")
    policy = request.host.restart_policy
    if policy is not None and policy.name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise invalid(f"invalid restart policy {policy.name!r}")
    if policy is not None and policy.name in ("always", "unless-stopped", "on-failure") and request.host.auto_remove:
        raise invalid("can't create 'AutoRemove' container with restart policy")
    mode = request.host.network_mode
    if mode not in ("", "default", "bridge", "host", "none") and not mode.startswith("container:"):
        raise not_found(f"network {mode} not found")
    if request.stop_signal:
        parse_signal(request.stop_signal)
    bindings(request, image)
    for bind in request.host.binds or ():
        if not bind.startswith("/") or not bind.split(":")[1:] or not bind.split(":")[1].startswith("/"):
            raise invalid(f"invalid volume specification: {bind!r}: only absolute paths can be bound here")
    return request, image, raw


def parse_exec(body: bytes) -> ExecRequest:
    """The body of an exec request. Raises `ApiError` 400."""
    try:
        return msgspec.convert(_without_null(msgspec.json.decode(body)), ExecRequest)
    except msgspec.MsgspecError as error:
        raise invalid(f"invalid JSON: {error}") from None


def missing_image(name: str) -> ApiError:
    """Docker's answer for a missing image."""
    return not_found("No such image: {}:{}".format(*reference(name)))


def parse_signal(text: str) -> signal.Signals:
    """`SIGTERM`, `TERM`, `15`; raises `ApiError` 400."""
    try:
        if text.isdigit():
            return signal.Signals(int(text))
        return signal.Signals["SIG" + text.upper().removeprefix("SIG")]
    except (KeyError, ValueError):
        raise invalid(f"Invalid signal: {text}") from None


def _without_null(value: Any) -> Any:
    """Go clients send null for every empty field; treat it as missing."""
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return value

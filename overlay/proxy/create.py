"""`POST /containers/create`: decides which containers go on the overlay, and changes the request for them. Pure.

The waiter runs before the container's own program. Entrypoint and command are resolved here as the engine would do it
(from the image if the request omits them), so that removing the waiter gives exactly what the engine would have shown.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from overlay.addresses import parse_address
from overlay.dns.search import search_list
from overlay.docker.cidr import VARIABLE, allows_spoofing, wanted_addresses
from overlay.docker.waiter import DIRECTORY, WAITER
from overlay.errors import UsageError
from overlay.proxy.policy import AttachmentPolicy, Rejected

__all__ = ["ContainerDefaults", "Joining", "joining", "named_network", "rewrite", "rewrite_dns"]

Json = dict[str, Any]
_HOSTNAME_MOST = 64
"""Maximum length of a host name in the kernel, in bytes (HOST_NAME_MAX)."""


class ContainerDefaults(Struct, frozen=True):
    """The router's settings for all containers."""

    resolver: str
    """Address of the router's DNS server; empty: it has none."""
    domain: str
    """Without leading and trailing dots."""
    waiter: str
    """The directory on the engine's host that holds the waiter."""


class Joining(Struct, frozen=True):
    """The settings of a container that goes on the overlay."""

    addresses: tuple[str, ...]
    """Specifications as on the command line; empty: the default subnet."""
    spoofing: bool = False
    """It may send with any MAC and any address."""
    asked: bool = False
    """The request itself asks for the overlay, not a default or the image."""


def joining(body: Mapping[str, Any], image_env: tuple[str, ...], policy: AttachmentPolicy) -> Joining | None:
    """Whether the container goes on the overlay. Raises `Rejected` for invalid settings."""
    own = tuple(entry for entry in body.get("Env") or () if isinstance(entry, str))
    env = (*image_env, *own)
    wanted = wanted_addresses(env, by_default=not policy.no_default_ipalloc)
    said = any(entry.startswith(VARIABLE + "=") for entry in own)
    mode = str((body.get("HostConfig") or {}).get("NetworkMode") or "")
    if wanted is None:
        return None
    if mode == "host" or mode.startswith("container:"):
        if said:
            kind = "the host's network" if mode == "host" else "another container's network"
            raise Rejected(400, f"{VARIABLE} asks for the overlay, but --net={mode} for {kind}: give one of them up")
        return None
    for text in wanted:
        try:
            parse_address(text)
        except UsageError as error:
            raise Rejected(400, f"{VARIABLE}: {error}") from None
    try:
        return Joining(wanted, allows_spoofing(own), said)
    except UsageError as error:
        raise Rejected(400, str(error)) from None


def rewrite(
    body: Mapping[str, Any], image: Mapping[str, Any], name: str, facts: ContainerDefaults, policy: AttachmentPolicy
) -> Json | None:
    """The request to send to the engine; None: it has no program to run, and the engine shall report that itself.

    `image`: the `Config` of the image.
    """
    entrypoint, command = _program(body, image)
    if not entrypoint and not command:
        return None
    changed = dict(body)
    changed["Entrypoint"] = [WAITER, *entrypoint]
    changed["Cmd"] = command
    host = changed["HostConfig"] = dict(changed.get("HostConfig") or {})
    host["Binds"] = [*(host.get("Binds") or ()), f"{facts.waiter}:{DIRECTORY}:ro"]
    _name(changed, image, name, facts, policy)
    _dns(changed, facts, policy)
    return changed


def rewrite_dns(body: Mapping[str, Any], facts: ContainerDefaults, policy: AttachmentPolicy) -> Json:
    """The request for a container on a network of the plugin, which connects it to the overlay but does not set up
    DNS."""
    changed = dict(body)
    changed["HostConfig"] = dict(changed.get("HostConfig") or {})
    _dns(changed, facts, policy)
    return changed


def named_network(body: Mapping[str, Any]) -> str:
    """The network that a container requests by name; empty: one of the engine's predefined ones."""
    mode = str((body.get("HostConfig") or {}).get("NetworkMode") or "")
    return "" if mode in ("default", "bridge", "host", "none") or mode.startswith("container:") else mode


def _dns(body: Json, facts: ContainerDefaults, policy: AttachmentPolicy) -> None:
    host: Json = body["HostConfig"]
    if facts.resolver and not policy.without_dns:
        if not host.get("Dns"):
            host["Dns"] = [facts.resolver]
        if not host.get("DnsSearch"):
            hostname, domainname = (str(body.get(key) or "") for key in ("Hostname", "Domainname"))
            host["DnsSearch"] = search_list(hostname, domainname, facts.domain)


def _program(body: Mapping[str, Any], image: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    entrypoint, command = _words(body.get("Entrypoint")), _words(body.get("Cmd"))
    if not entrypoint:
        command = command or _words(image.get("Cmd"))
        if body.get("Entrypoint") is None:
            entrypoint = _words(image.get("Entrypoint"))
    if entrypoint == [""]:  # no entrypoint: `--entrypoint ""`, or the image's own setting
        entrypoint = []
    return entrypoint, command


def _words(value: Any) -> list[str]:
    """Words as a list; like the engine, accepts a string in place of a list with one word."""
    if isinstance(value, str):
        return [value]
    return [str(word) for word in value or ()]


def _name(
    changed: Json, image: Mapping[str, Any], name: str, facts: ContainerDefaults, policy: AttachmentPolicy
) -> None:
    if changed.get("Hostname") or policy.without_dns:
        return
    labels = {**(image.get("Labels") or {}), **(changed.get("Labels") or {})}
    hostname = policy.hostname(name, labels) if name or policy.hostname_from_label else ""
    if not hostname or len(hostname) > _HOSTNAME_MOST - 1:
        return
    changed["Hostname"] = hostname
    if not changed.get("Domainname") and len(hostname) + 1 + len(facts.domain) <= _HOSTNAME_MOST:
        changed["Domainname"] = facts.domain

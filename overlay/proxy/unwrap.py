"""Shows clients the own program of a container that was created through the proxy, without the waiter. Pure.

Owns the responses of inspect, list and changes, and the request of commit.
"""

import ipaddress
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from overlay.docker.waiter import DIRECTORY, WAITER

__all__ = ["changes", "commit", "commit_by_hand", "container", "listing", "waits"]

Json = dict[str, Any]


def waits(inspected: Json) -> bool:
    """Whether the container was created through the proxy."""
    return inspected.get("Path") == WAITER


def container(inspected: Json, addresses: Sequence[str] = ()) -> bool:
    """Change an inspected container in place; returns whether anything was changed.

    `addresses` ("a.b.c.d/n"): shown as the container's own (`--rewrite-inspect`).
    """
    ours = waits(inspected)
    if ours:
        words = inspected.get("Args") or []
        inspected["Path"], inspected["Args"] = (words[0], words[1:]) if words else ("", [])
        own_config(inspected.get("Config") or {})
        host = inspected.get("HostConfig") or {}
        host["Binds"] = [bind for bind in host.get("Binds") or () if not _is_ours(bind)] or None
        _mounts(inspected)
    if addresses:
        _addresses(inspected.setdefault("NetworkSettings", {}), addresses)
    return ours or bool(addresses)


def own_config(config: Json) -> None:
    """Remove the waiter from a `Config`, in place."""
    entrypoint = config.get("Entrypoint") or []
    if entrypoint[:1] == [WAITER]:
        config["Entrypoint"] = entrypoint[1:] or None
        config["Cmd"] = config.get("Cmd") or None


def listing(entries: Any, waiter: str) -> bool:
    """Change the response of `GET /containers/json` in place; returns whether anything was changed.

    `waiter`: the directory on the engine's host that holds the waiter.
    """
    changed = False
    for entry in entries if isinstance(entries, list) else ():
        command = entry.get("Command") or ""
        if command == WAITER or command.startswith(WAITER + " "):
            entry["Command"] = command[len(WAITER) + 1 :]
        elif not any(mount.get("Source") == waiter for mount in entry.get("Mounts") or ()):
            continue  # Podman shows commands without their entrypoint
        _mounts(entry)
        changed = True
    return changed


def changes(entries: Any) -> list[Json] | None:
    """The response of `GET /containers/…/changes` without the waiter's mount point; None if it is empty, as in the
    engine."""
    kept = [entry for entry in entries or () if entry.get("Path") != DIRECTORY]
    return kept or None


def commit(body: Any, inspected: Json) -> Json:
    """The body of `POST /commit` for a container with the waiter: the body's own program, else the container's."""
    config = dict(inspected.get("Config") or {})
    own_config(config)
    changed = dict(body) if isinstance(body, dict) and body else dict(config)
    if not changed.get("Entrypoint"):
        # An empty list means "none"; null would make the engine use the container's.
        changed["Entrypoint"] = config.get("Entrypoint") or []
        if not changed.get("Cmd"):
            changed["Cmd"] = config.get("Cmd") or []
    return changed


def commit_by_hand(inspected: Json, query: Mapping[str, str]) -> str:
    """The command to type on Podman, whose `POST /commit` would always use the waiter as entrypoint."""
    config = dict(inspected.get("Config") or {})
    own_config(config)
    words = [("ENTRYPOINT", config.get("Entrypoint") or []), ("CMD", config.get("Cmd") or [])]
    changes = " ".join(f"--change {shlex.quote(f'{word} {json.dumps(value)}')}" for word, value in words)
    image = ":".join(filter(None, (query.get("repo"), query.get("tag")))) or "IMAGE"
    name = str(inspected.get("Name") or inspected.get("Id") or "CONTAINER").lstrip("/")
    return (
        "Podman would make the proxy's waiter the entrypoint of the image: "
        f"type `podman commit {changes} {shlex.quote(name)} {shlex.quote(image)}` on the host"
    )


def _mounts(holder: Json) -> None:
    if isinstance(holder.get("Mounts"), list):
        holder["Mounts"] = [mount for mount in holder["Mounts"] if mount.get("Destination") != DIRECTORY]


def _is_ours(bind: str) -> bool:
    """Whether a bind is `SOURCE:/w:ro`; Podman adds more options."""
    return bind.split(":")[1:2] == [DIRECTORY]


def _addresses(settings: Json, addresses: Sequence[str]) -> None:
    first = ipaddress.ip_interface(addresses[0])
    settings["Bridge"] = "weave"
    settings["IPAddress"] = str(first.ip)
    settings["IPPrefixLen"] = first.network.prefixlen

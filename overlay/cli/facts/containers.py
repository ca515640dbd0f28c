"""The engine, and this host's containers on the overlay: the addresses of their `ethwe`, and their name servers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from overlay.check.facts import ContainerFacts
from overlay.cli.unix_http import engine_answer
from overlay.errors import OverlayError
from overlay.kernel.attach import addresses_of
from overlay.kernel.netlink import NetlinkError
from overlay.owners import is_own

__all__ = ["ask_engine", "containers"]

_TIMEOUT = 10.0


def get(path: str, url: str) -> Any:
    """GET a path of the engine. Raises `OSError`, and `ValueError` if the answer is not a value."""
    status, answer = engine_answer(path, "GET", url, timeout=_TIMEOUT)
    if status >= 400 or isinstance(answer, bytes):
        raise ValueError(f"{status}")
    return answer


def ask_engine(path: str) -> tuple[str, str]:
    """The engine's name and version, and why it does not answer."""
    if not path:
        return "", "DOCKER_HOST is no unix socket, and there is no /var/run/docker.sock"
    try:
        told = get(path, "/version")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error) or "no answer"
        return "", f"the container engine does not answer at {path}: {reason}"
    version = told.get("Version", "?") if isinstance(told, dict) else "?"
    return f"engine {version} answers at {path}", ""


def containers(path: str, attached: Sequence[Mapping[str, Any]]) -> tuple[tuple[ContainerFacts, ...], str]:
    """The attached containers in the router's list, and why they cannot be examined."""
    found = []
    problem = ""
    for entry in attached:
        if is_own(str(entry["id"])):
            continue
        try:
            found.append(_container(path, entry))
        except (OSError, OverlayError) as error:
            problem = str(error)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # removed since
    return tuple(found), problem


def _container(path: str, entry: Mapping[str, Any]) -> ContainerFacts:
    raw = get(path, f"/containers/{quote(str(entry['id']), safe='')}/json")
    state, host = raw.get("State") or {}, raw.get("HostConfig") or {}
    pid = int(state.get("Pid") or 0) if state.get("Running", True) else 0
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    return ContainerFacts(
        id=str(entry["id"]),
        name=str(raw.get("Name", "")).lstrip("/"),
        pid=pid,
        addresses=tuple(entry["addresses"]),
        found=_on_interface(pid),
        servers=_servers(pid),
        asked=tuple(map(str, host.get("Dns") or ())),
        plugin=any(str(each.get("MacAddress", "")).lower() == entry["mac"] for each in networks.values() if each),
    )


def _on_interface(pid: int) -> tuple[str, ...] | None:
    if not pid:
        return None
    try:
        return addresses_of(pid)
    except (OSError, OverlayError, NetlinkError):
        return None


def _servers(pid: int) -> tuple[str, ...] | None:
    if not pid:
        return None
    try:
        text = Path(f"/proc/{pid}/root/etc/resolv.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = (line.split() for line in text.splitlines())
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")

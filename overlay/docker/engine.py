"""A client of the container engine: the part of the Docker Engine API that a router needs.

Owns paths, bodies and events; `api` sends the requests. Knows nothing of overlays.
"""

import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from overlay.docker.api import EngineApi, EngineRefusal
from overlay.docker.engine_facts import Container, EngineEvent, EngineNetworks, NetworkEndpoint, NetworkMembership
from overlay.errors import EnvironmentProblem, OverlayError, UsageError
from overlay.options import socket_path
from overlay.policy.names import labels_of

__all__ = ["EngineClient", "socket_path"]

log = logging.getLogger(__name__)

_ACTIONS = {
    "start": "start",
    "die": "die",
    "died": "die",
    "destroy": "destroy",
    "remove": "destroy",
    "connect": "connect",
}
"""The router's event for each of the engine's action names. Podman filters by other words (`died`, `remove`) than it
sends (`die`, `remove`)."""

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""A valid container reference: an id, a prefix of one, or a name."""


class EngineClient(EngineApi):
    """The container engine of this host."""

    async def ping(self) -> bool:
        """Check that the engine answers."""
        try:
            await self.call("GET", "/_ping")
        except (EnvironmentProblem, UsageError):
            return False
        return True

    async def inspect(self, reference: str) -> Container:
        """One container by id, prefix of an id, or name. Raises `UsageError` if there is none."""
        if _REFERENCE.fullmatch(reference) is None:  # `.` and `..` would change the path
            raise UsageError(f"No such container: {reference}")
        raw = await self.call("GET", f"/containers/{reference}/json")
        config, state = raw.get("Config") or {}, raw.get("State") or {}
        running = state.get("Running", bool(state.get("Pid")))
        return Container(
            id=str(raw["Id"]),
            name=str(raw.get("Name", "")).lstrip("/"),
            hostname=str(config.get("Hostname") or ""),
            pid=int(state.get("Pid") or 0) if running else 0,
            network_mode=str((raw.get("HostConfig") or {}).get("NetworkMode") or ""),
            domainname=str(config.get("Domainname") or ""),
            env=tuple(config.get("Env") or ()),
            hosts_path=str(raw.get("HostsPath") or ""),
            networks=_networks((raw.get("NetworkSettings") or {}).get("Networks") or {}),
            entry=str(raw.get("Path") or ""),
            labels=labels_of(config.get("Labels") or {}),
        )

    async def list(self) -> list[str]:
        """Ids of all containers, including stopped ones."""
        return [str(entry["Id"]) for entry in await self.call("GET", "/containers/json?all=1")]

    async def running(self) -> tuple[str, ...]:
        """Ids of all running containers."""
        return tuple(str(entry["Id"]) for entry in await self.call("GET", "/containers/json"))

    async def bridges(self) -> tuple[str, ...]:
        """The interface names of its bridge networks, if they were set explicitly. Raises `OverlayError`."""
        filters = quote(json.dumps({"driver": ["bridge"]}))
        networks = await self.call("GET", f"/networks?filters={filters}")
        options = [each.get("Options") or {} for each in networks or () if isinstance(each, dict)]
        names = [each.get("com.docker.network.bridge.name") for each in options if isinstance(each, dict)]
        return tuple(name for name in names if isinstance(name, str))

    async def is_podman(self) -> bool:
        """Whether the engine is Podman with Docker's API. Raises `OverlayError`."""
        components = (await self.call("GET", "/version") or {}).get("Components") or ()
        return any(str(each.get("Name")).startswith("Podman") for each in components)

    async def gateway(self) -> str:
        """This host's IPv4 address on the default network of containers; empty: none, or no engine."""
        try:
            network = await self.call("GET", "/networks/bridge")
            configs = (network.get("IPAM") or {}).get("Config") or ()
            return next((gateway for each in configs if "." in (gateway := str(each.get("Gateway") or ""))), "")
        except (OverlayError, AttributeError) as error:
            log.debug("the engine's default network: %s", error)
            return ""

    async def places(self) -> EngineNetworks:
        """The endpoints of all user-defined networks. Raises `OverlayError`."""
        endpoints: dict[str, NetworkEndpoint] = {}
        options: dict[str, dict[str, Any]] = {}
        taken: dict[str, None] = {}
        filters = quote(json.dumps({"type": ["custom"]}))
        for listed in await self.call("GET", f"/networks?filters={filters}") or ():
            try:
                network = await self.call("GET", f"/networks/{listed['Id']}")
            except UsageError:
                continue  # removed since
            options[listed["Id"]] = network.get("Options") or {}
            for container, raw in (network.get("Containers") or {}).items():
                place = NetworkEndpoint(
                    address=str(raw.get("IPv4Address") or ""),
                    mac=str(raw.get("MacAddress") or "").lower(),
                    container=container if re.fullmatch("[0-9a-f]{64}", container) else "",
                    network=str(listed["Id"]),
                )
                endpoints[str(raw.get("EndpointID"))] = place
                taken[place.address] = None
            for config in (network.get("IPAM") or {}).get("Config") or ():
                taken[str(config.get("Gateway") or "")] = None
                taken |= dict.fromkeys(map(str, (config.get("AuxiliaryAddresses") or {}).values()))
        return EngineNetworks(endpoints, frozenset(address.partition("/")[0] for address in taken if address), options)

    async def make_network(self, name: str, driver: str, subnet: str, options: Mapping[str, str]) -> bool:
        """Create a network unless there is one of this name; returns whether it was created. Raises `OverlayError`."""
        try:
            await self.call("GET", f"/networks/{name}")
        except UsageError:
            ipam = {"Driver": driver, "Config": [{"Subnet": subnet}]}
            body = {"Name": name, "Driver": driver, "IPAM": ipam, "Options": dict(options), "CheckDuplicate": True}
            await self.call("POST", "/networks/create", body)
            return True
        return False

    async def remove_network(self, name: str, driver: str) -> None:
        """Remove a network if it uses this driver. Raises `OverlayError`, also if containers are on it."""
        try:
            network = await self.call("GET", f"/networks/{name}")
        except UsageError:
            return
        if network.get("Driver") == driver:
            await self.call("DELETE", f"/networks/{name}")

    async def create(self, body: Mapping[str, Any], name: str = "") -> str:
        """Create a container, after pulling its image if necessary; returns its id."""
        path = "/containers/create" + (f"?name={quote(name, safe='', errors='replace')}" if name else "")
        try:
            return str((await self.call("POST", path, body))["Id"])
        except UsageError as error:
            if "no such image" not in str(error).lower():
                raise
            missing = error
        try:
            await self._pull(str(body.get("Image", "")))
        except UsageError as error:
            raise UsageError(f"{missing}, and it cannot be pulled: {error}") from None
        return str((await self.call("POST", path, body))["Id"])

    async def start(self, container: str) -> None:
        """Start a container."""
        await self.call("POST", f"/containers/{container}/start")

    async def kill(self, container: str) -> None:
        """Kill a container at once."""
        await self.call("POST", f"/containers/{container}/kill")

    async def stop(self, container: str, timeout: int = 10) -> None:
        """Stop a container, by force after `timeout` seconds."""
        await self.call("POST", f"/containers/{container}/stop?t={timeout}")

    async def remove(self, container: str) -> None:
        """Remove a container, running or not."""
        await self.call("DELETE", f"/containers/{container}?force=1")

    async def events(self) -> AsyncIterator[EngineEvent]:
        """Container events from now on, after one `connected`. Ends when the engine goes away."""
        filters = quote(json.dumps({"type": ["container", "network"], "event": list(_ACTIONS)}))
        try:
            async with self.stream("GET", f"/events?filters={filters}") as content:
                yield EngineEvent("connected", "")
                async for line in content:
                    event = _event(line)
                    if event is not None:
                        yield event
        except EngineRefusal as error:
            raise EnvironmentProblem(f"the engine has no events: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            log.debug("engine events: %s", error)

    async def _pull(self, image: str) -> None:
        name, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
        name, tag = (quote(word, safe="", errors="replace") for word in (name, tag))
        async with self.stream("POST", f"/images/create?fromImage={name}&tag={tag}") as content:
            async for line in content:
                if b'"error"' in line:
                    raise UsageError(str(json.loads(line).get("error")))


def _networks(raw: Mapping[str, Mapping[str, Any]]) -> tuple[NetworkMembership, ...]:
    return tuple(
        NetworkMembership(
            endpoint=str(each["EndpointID"]),
            aliases=tuple(map(str, each.get("Aliases") or ())),
            address=f"{each['IPAddress']}/{each.get('IPPrefixLen')}" if each.get("IPAddress") else "",
            mac=str(each.get("MacAddress") or "").lower(),
            gateway=str(each.get("Gateway") or ""),
        )
        for each in raw.values()
        if each and each.get("EndpointID")
    )


def _event(line: bytes) -> EngineEvent | None:
    try:
        raw = json.loads(line)
    except ValueError:
        return None
    if not isinstance(raw, dict):
        return None
    action = _ACTIONS.get(str(raw.get("Action") or raw.get("status") or ""), "")
    actor = raw.get("Actor") or {}
    container = str(actor.get("ID") or raw.get("id") or "")
    if raw.get("Type") == "network":
        container = str((actor.get("Attributes") or {}).get("container") or "") if action == "connect" else ""
    return EngineEvent(action, container) if action and container else None

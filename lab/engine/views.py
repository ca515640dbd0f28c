"""The JSON that Docker's clients expect. Pure: converts a container to plain data."""

from collections.abc import Callable, Mapping
from typing import Any

from lab.engine import spec
from lab.engine.clock import NEVER, duration, rfc3339
from lab.engine.container import ProcessContainer, Status
from lab.engine.engine import ContainerEvent
from lab.engine.execs import ExecInstance
from lab.engine.network import Lease, PublishedPort
from lab.images import Image, reference

__all__ = ["event", "exec_inspect", "image_inspect", "image_summary", "inspect", "matches", "summary"]

_CREATED = 1_435_190_400
"""Creation date of every process image: 25 June 2015, the day of the walk-through."""


def inspect(container: ProcessContainer, execs: list[str]) -> dict[str, Any]:
    """`GET /containers/{id}/json`"""
    record, request = container.record, container.request
    argv = [*container.entrypoint, *container.cmd]
    folder = str(container.folder)
    return {
        "Id": container.id,
        "Created": rfc3339(record.created),
        "Path": argv[0],
        "Args": argv[1:],
        "State": _state(container),
        "Image": container.image.id,
        "ResolvConfPath": f"{folder}/resolv.conf",
        "HostnamePath": f"{folder}/hostname",
        "HostsPath": f"{folder}/hosts",
        "LogPath": str(container.log.path),
        "Name": "/" + container.name,
        "RestartCount": record.restarts,
        "Driver": "process",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": execs or None,
        "HostConfig": _host_config(record.body.get("HostConfig") or {}, request.host),
        "Mounts": [_mount(text) for text in request.host.binds or ()],
        "Config": {
            "Hostname": container.hostname,
            "Domainname": request.domainname,
            "User": request.user,
            "AttachStdin": request.attach_stdin,
            "AttachStdout": request.attach_stdout,
            "AttachStderr": request.attach_stderr,
            "ExposedPorts": {key: {} for key in spec.exposed(request, container.image)},
            "Tty": request.tty,
            "OpenStdin": request.open_stdin,
            "StdinOnce": request.stdin_once,
            "Env": list(request.env or ()) + list(container.image.env),
            "Cmd": list(container.cmd) or None,
            "Image": request.image,
            "Volumes": None,
            "WorkingDir": request.working_dir,
            "Entrypoint": list(container.entrypoint) or None,
            "OnBuild": None,
            "Labels": dict(request.labels or {}),
            **({"StopSignal": request.stop_signal} if request.stop_signal else {}),
            **({} if request.stop_timeout is None else {"StopTimeout": request.stop_timeout}),
        },
        "NetworkSettings": _network_settings(container),
    }


def summary(container: ProcessContainer, now: int) -> dict[str, Any]:
    """One element of `GET /containers/json`"""
    lease = container.lease
    return {
        "Id": container.id,
        "Names": ["/" + container.name],
        "Image": container.request.image,
        "ImageID": container.image.id,
        "Command": " ".join([*container.entrypoint, *container.cmd]),
        "Created": container.record.created // 1_000_000_000,
        "Ports": _port_list(container),
        "Labels": dict(container.request.labels or {}),
        "State": container.status.value,
        "Status": _status_text(container, now),
        "HostConfig": {"NetworkMode": container.request.host.network_mode or "default"},
        "NetworkSettings": {"Networks": _networks(container, lease)},
        "Mounts": [_mount(text) for text in container.request.host.binds or ()],
    }


def matches(container: ProcessContainer, filters: Mapping[str, list[str]]) -> bool:
    """Docker's rule: any of the values of one filter, all of the filters. The API handles unknown filters."""
    labels = container.request.labels or {}
    tests: dict[str, Callable[[str], bool]] = {
        "id": lambda value: container.id.startswith(value),
        "name": lambda value: value.removeprefix("/") in container.name or value.strip("^/$") == container.name,
        "status": lambda value: container.status.value == value,
        "label": lambda value: _label(labels, value),
        "ancestor": lambda value: reference(value) == reference(container.request.image),
        "exited": lambda value: container.status is Status.EXITED and str(container.record.exit_code) == value,
    }
    return all(any(tests[key](value) for value in values) for key, values in filters.items() if values)


FILTERS = ("id", "name", "status", "label", "ancestor", "exited")
EVENT_FILTERS = ("event", "container", "type", "label", "image")


def event(happened: ContainerEvent) -> dict[str, Any]:
    """One element of `GET /events`"""
    return {
        "status": happened.action,
        "id": happened.id,
        "from": happened.attributes.get("image", ""),
        "Type": "container",
        "Action": happened.action,
        "Actor": {"ID": happened.id, "Attributes": happened.attributes},
        "scope": "local",
        "time": happened.time // 1_000_000_000,
        "timeNano": happened.time,
    }


def event_matches(happened: ContainerEvent, filters: Mapping[str, list[str]]) -> bool:
    """Like `matches`, for events."""
    tests: dict[str, Callable[[str], bool]] = {
        "event": lambda value: value == happened.action,
        "type": lambda value: value == "container",
        "container": lambda value: happened.attributes["name"] == value or happened.id.startswith(value),
        "image": lambda value: reference(value) == reference(happened.attributes["image"]),
        "label": lambda value: _label(happened.attributes, value),
    }
    return all(any(tests[key](value) for value in values) for key, values in filters.items() if values)


def exec_inspect(made: ExecInstance) -> dict[str, Any]:
    """`GET /exec/{id}/json`"""
    request = made.request
    return {
        "ID": made.id,
        "Running": made.running,
        "ExitCode": made.exit_code,
        "ProcessConfig": {
            "tty": request.tty,
            "entrypoint": request.cmd[0],
            "arguments": list(request.cmd[1:]),
            "privileged": request.privileged,
        },
        "OpenStdin": request.attach_stdin,
        "OpenStderr": request.attach_stderr,
        "OpenStdout": request.attach_stdout,
        "CanRemove": False,
        "ContainerID": made.container.id,
        "DetachKeys": request.detach_keys,
        "Pid": made.pid,
    }


def image_summary(image: Image) -> dict[str, Any]:
    """One element of `GET /images/json`"""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": [f"{image.name}:latest"],
        "RepoDigests": [],
        "Created": _CREATED,
        "Size": 0,
        "SharedSize": -1,
        "VirtualSize": 0,
        "Labels": {"description": image.description},
        "Containers": -1,
    }


def image_inspect(image: Image) -> dict[str, Any]:
    """`GET /images/{name}/json`"""
    config: dict[str, Any] = {
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "Env": list(image.env) or None,
        "Cmd": list(image.cmd) or None,
        "Entrypoint": list(image.entrypoint) or None,
        "ExposedPorts": {key: {} for key in image.exposed} or None,
        "Image": "",
        "Volumes": None,
        "WorkingDir": "",
        "Labels": {"description": image.description},
    }
    return {
        "Id": image.id,
        "RepoTags": [f"{image.name}:latest"],
        "RepoDigests": [],
        "Parent": "",
        "Comment": image.description,
        "Created": rfc3339(_CREATED * 1_000_000_000),
        "Config": config,
        "ContainerConfig": config,
        "Architecture": "",
        "Os": "linux",
        "Size": 0,
        "VirtualSize": 0,
        "RootFS": {"Type": "layers", "Layers": []},
        "GraphDriver": {"Name": "process", "Data": None},
    }


def _state(container: ProcessContainer) -> dict[str, Any]:
    record, status = container.record, container.status
    return {
        "Status": status.value,
        "Running": status in (Status.RUNNING, Status.RESTARTING),
        "Paused": False,
        "Restarting": status is Status.RESTARTING,
        "OOMKilled": False,
        "Dead": False,
        "Pid": container.pid if status is Status.RUNNING else 0,
        "ExitCode": 0 if status is Status.RUNNING else record.exit_code,
        "Error": record.error,
        "StartedAt": rfc3339(record.started),
        "FinishedAt": rfc3339(record.finished) if record.finished else NEVER,
    }


def _status_text(container: ProcessContainer, now: int) -> str:
    record = container.record
    match container.status:
        case Status.RUNNING:
            return f"Up {duration(now - record.started)}"
        case Status.RESTARTING:
            return f"Restarting ({record.exit_code}) {duration(now - record.finished)} ago"
        case Status.EXITED:
            return f"Exited ({record.exit_code}) {duration(now - record.finished)} ago"
        case Status.REMOVING:
            return "Removal In Progress"
        case _:
            return "Created"


def _host_config(raw: Mapping[str, Any], host: spec.HostConfig) -> dict[str, Any]:
    """The client's settings, with Docker's defaults for missing ones."""
    policy = host.restart_policy or spec.RestartPolicy()
    return {
        "CapAdd": None,
        "CapDrop": None,
        "CgroupParent": "",
        "ContainerIDFile": "",
        "IpcMode": "private",
        "Links": None,
        "LogConfig": {"Type": "json-file", "Config": {}},
        "Memory": 0,
        "PidMode": "",
        "ReadonlyRootfs": False,
        "UTSMode": "",
        "VolumeDriver": "",
        "VolumesFrom": None,
        **raw,
        "Binds": None if host.binds is None else list(host.binds),
        "PortBindings": {
            key: [{"HostIp": place.host_ip, "HostPort": place.host_port} for place in places or ()]
            for key, places in (host.port_bindings or {}).items()
        },
        "PublishAllPorts": host.publish_all_ports,
        "NetworkMode": host.network_mode or "default",
        "RestartPolicy": {"Name": policy.name or "no", "MaximumRetryCount": policy.maximum_retry_count},
        "AutoRemove": host.auto_remove,
        "Dns": list(host.dns or ()),
        "DnsSearch": list(host.dns_search or ()),
        "DnsOptions": list(host.dns_options or ()),
        "ExtraHosts": None if host.extra_hosts is None else list(host.extra_hosts),
        "Privileged": host.privileged,
    }


def _network_settings(container: ProcessContainer) -> dict[str, Any]:
    lease = container.lease
    ports: dict[str, Any] = {}
    if lease is not None:
        ports = dict.fromkeys(spec.exposed(container.request, container.image))
        for port in lease.ports:
            key = f"{port.container_port}/{port.protocol}"
            ports[key] = [*(ports[key] or ()), {"HostIp": port.host_ip, "HostPort": str(port.host_port)}]
    return {
        "Bridge": "",
        "SandboxID": "",
        "HairpinMode": False,
        "Ports": ports,
        "SandboxKey": f"/proc/{container.pid}/ns/net" if container.pid else "",
        "EndpointID": lease.veth if lease else "",
        "Gateway": lease.gateway if lease else "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": lease.address if lease else "",
        "IPPrefixLen": lease.prefix if lease else 0,
        "IPv6Gateway": "",
        "MacAddress": lease.mac if lease else "",
        "Networks": _networks(container, lease),
    }


def _networks(container: ProcessContainer, lease: Lease | None) -> dict[str, Any]:
    mode = container.request.host.network_mode or "bridge"
    if mode.startswith("container:"):
        return {}
    return {
        "bridge" if mode == "default" else mode: {
            "IPAMConfig": None,
            "Links": None,
            "Aliases": None,
            "NetworkID": "",
            "EndpointID": lease.veth if lease else "",
            "Gateway": lease.gateway if lease else "",
            "IPAddress": lease.address if lease else "",
            "IPPrefixLen": lease.prefix if lease else 0,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": lease.mac if lease else "",
            "DriverOpts": None,
        }
    }


def _port_list(container: ProcessContainer) -> list[dict[str, Any]]:
    if container.lease is None:
        return []
    shown = [_published(port) for port in container.lease.ports]
    taken = {(port.container_port, port.protocol) for port in container.lease.ports}
    for key in spec.exposed(container.request, container.image):
        port, protocol = spec.port_key(key)
        if (port, protocol) not in taken:
            shown.append({"PrivatePort": port, "Type": protocol})
    return shown


def _published(port: PublishedPort) -> dict[str, Any]:
    return {
        "IP": port.host_ip,
        "PrivatePort": port.container_port,
        "PublicPort": port.host_port,
        "Type": port.protocol,
    }


def _mount(text: str) -> dict[str, Any]:
    source, target, *options = text.split(":")
    mode = ",".join(options)
    return {
        "Type": "bind",
        "Source": source,
        "Destination": target,
        "Mode": mode,
        "RW": "ro" not in mode.split(","),
        "Propagation": "rprivate",
    }


def _label(labels: Mapping[str, str], wanted: str) -> bool:
    key, separator, value = wanted.partition("=")
    return key in labels and (not separator or labels[key] == value)

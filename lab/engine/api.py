"""The Docker Engine API (the subset of v1.41 that the package's docstring promises) over aiohttp.

Owns paths, parameters and status codes. Decides nothing: `engine.py` and `container.py` do. Every failure is answered
as `{"message": …}`.
"""

import contextlib
import errno
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from lab.engine import streaming, views
from lab.engine.container import ProcessContainer
from lab.engine.engine import ProcessEngine
from lab.engine.errors import ApiError, conflict, invalid, not_found
from lab.engine.hijack import Hijack, detach_keys
from lab.engine.logs import LogEntry
from lab.engine.processes import processes_of
from lab.engine.spec import missing_image, parse_signal
from lab.engine.streams import STDERR, STDOUT
from lab.images import find

__all__ = ["API_VERSION", "make_app"]

API_VERSION = "1.41"
_OLDEST = "1.12"
_VERSION = re.compile(r"/v(\d+)\.(\d+)(?=/)")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(engine: ProcessEngine) -> web.Application:
    """The application; not yet listening."""
    app = web.Application(middlewares=[_errors], client_max_size=16 << 20)
    api = Api(engine)
    plain: list[tuple[str, str, _Handler]] = [
        ("GET", "/_ping", api.ping),
        ("GET", "/version", api.version),
        ("GET", "/info", api.info),
        ("GET", "/events", api.events),
        ("GET", "/containers/json", api.list_containers),
        ("POST", "/containers/create", api.create),
        ("GET", "/containers/{id}/json", api.inspect),
        ("GET", "/containers/{id}/top", api.top),
        ("GET", "/containers/{id}/logs", api.logs),
        ("POST", "/containers/{id}/start", api.start),
        ("POST", "/containers/{id}/stop", api.stop),
        ("POST", "/containers/{id}/restart", api.restart),
        ("POST", "/containers/{id}/kill", api.kill),
        ("POST", "/containers/{id}/wait", api.wait),
        ("POST", "/containers/{id}/attach", api.attach),
        ("POST", "/containers/{id}/resize", api.resize),
        ("POST", "/containers/{id}/rename", api.rename),
        ("DELETE", "/containers/{id}", api.remove),
        ("POST", "/containers/{id}/exec", api.create_exec),
        ("POST", "/exec/{id}/start", api.start_exec),
        ("POST", "/exec/{id}/resize", api.resize_exec),
        ("GET", "/exec/{id}/json", api.inspect_exec),
        ("GET", "/images/json", api.list_images),
        ("GET", "/images/{name:.+}/json", api.inspect_image),
        ("POST", "/images/create", api.pull),
    ]
    for prefix in ("", r"/v{version:\d+\.\d+}"):
        for method, path, handler in plain:
            app.router.add_route(method, prefix + path, handler)
        app.router.add_route("HEAD", prefix + "/_ping", api.ping)
    return app


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    match = _VERSION.match(request.path)
    try:
        if match and (int(match[1]), int(match[2])) > (1, 41):
            newer = f"{match[1]}.{match[2]}"
            raise invalid(f"client version {newer} is too new. Maximum supported API version is {API_VERSION}")
        return await handler(request)
    except ApiError as error:
        if error.status == 304:
            return web.Response(status=304)
        return _json({"message": error.message}, error.status)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _json({"message": f"write {error.filename or 'state'}: no space left on device"}, 500)
    except web.HTTPNotFound:
        return _json({"message": "page not found"}, 404)
    except web.HTTPException as error:
        return _json({"message": error.reason}, error.status)


class Api:
    """One handler per endpoint."""

    def __init__(self, engine: ProcessEngine) -> None:
        self._engine = engine

    async def ping(self, request: web.Request) -> web.Response:
        headers = {
            "API-Version": API_VERSION,
            "OSType": "linux",
            "Docker-Experimental": "false",
            "Cache-Control": "no-cache",
        }
        return web.Response(text="OK" if request.method == "GET" else "", headers=headers)

    async def version(self, _: web.Request) -> web.Response:
        uname = os.uname()
        return _json(
            {
                "Platform": {"Name": "overlay-lab process containers"},
                "Components": [],
                "Version": "20.10.0",
                "ApiVersion": API_VERSION,
                "MinAPIVersion": _OLDEST,
                "Os": "linux",
                "Arch": uname.machine,
                "KernelVersion": uname.release,
            }
        )

    async def info(self, _: web.Request) -> web.Response:
        containers = self._engine.all()
        running = sum(container.running for container in containers)
        uname = os.uname()
        return _json(
            {
                "ID": self._engine.id,
                "Name": self._engine.hostname,
                "Containers": len(containers),
                "ContainersRunning": running,
                "ContainersPaused": 0,
                "ContainersStopped": len(containers) - running,
                "Images": len(self._engine.images),
                "Driver": "process",
                "LoggingDriver": "json-file",
                "CgroupDriver": "none",
                "OperatingSystem": "overlay-lab process containers",
                "OSType": "linux",
                "Architecture": uname.machine,
                "KernelVersion": uname.release,
                "NCPU": os.cpu_count(),
                "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                "IPv4Forwarding": True,
                "ServerVersion": "20.10.0",
                "Plugins": {
                    "Volume": [],
                    "Network": ["bridge", "host", "null"],
                    "Authorization": None,
                    "Log": ["json-file"],
                },
                "SecurityOptions": [],
                "Warnings": None,
            }
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        return await streaming.events(self._engine, request, _filters(request, views.EVENT_FILTERS))

    async def list_containers(self, request: web.Request) -> web.Response:
        filters = _filters(request, views.FILTERS)
        # A filter by status or exit code includes stopped containers, as in Docker.
        everything = _flag(request, "all") or "status" in filters or "exited" in filters
        found = [c for c in self._engine.all() if (everything or c.running) and views.matches(c, filters)]
        if limit := _number(request, "limit", 0):
            found = found[:limit]
        return _json([views.summary(container, self._engine.now()) for container in found])

    async def create(self, request: web.Request) -> web.Response:
        container = self._engine.create(await request.read(), request.query.get("name", ""))
        return _json({"Id": container.id, "Warnings": []}, 201)

    async def inspect(self, request: web.Request) -> web.Response:
        container = self._find(request)
        return _json(views.inspect(container, self._engine.execs_of(container)))

    async def top(self, request: web.Request) -> web.Response:
        container = self._find(request)
        if not container.running:
            raise conflict(f"Container {container.id} is not running")
        titles, rows = processes_of(container.pid)
        return _json({"Titles": titles, "Processes": rows})

    async def logs(self, request: web.Request) -> web.StreamResponse:
        return await streaming.logs(self._find(request), request)

    async def start(self, request: web.Request) -> web.Response:
        await self._find(request).start()
        return web.Response(status=204)

    async def stop(self, request: web.Request) -> web.Response:
        await self._find(request).stop(_patience(request))
        return web.Response(status=204)

    async def restart(self, request: web.Request) -> web.Response:
        container = self._find(request)
        with contextlib.suppress(ApiError):  # not running: then it is only started
            await container.stop(_patience(request))
        await container.start()
        self._engine.emit(container, "restart")
        return web.Response(status=204)

    async def kill(self, request: web.Request) -> web.Response:
        await self._find(request).kill(parse_signal(request.query.get("signal") or "SIGKILL"))
        return web.Response(status=204)

    async def wait(self, request: web.Request) -> web.StreamResponse:
        container = self._find(request)
        condition = request.query.get("condition") or "not-running"
        if condition not in ("not-running", "next-exit", "removed"):
            raise invalid(f"invalid condition: {condition!r}")
        return await streaming.wait(container, request, condition)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        container = self._find(request)
        if container.removed:
            raise not_found(f"No such container: {container.id}")
        keys = detach_keys(request.query.get("detachKeys", ""))
        streams = tuple(number for name, number in (("stdout", STDOUT), ("stderr", STDERR)) if _flag(request, name))
        stdin = container.stdin if _flag(request, "stdin") and container.request.open_stdin else None
        await request.read()
        hijack = Hijack(
            container.output,
            stdin,
            tty=container.request.tty,
            streams=streams,
            end_stdin=container.request.stdin_once,
            keys=keys,
        )
        stream = _flag(request, "stream")
        hijack.take(request, listen=stream)
        if _flag(request, "logs"):
            for entry in container.log.read():
                hijack.feed(_stream_of(entry), entry.log.encode())
        if not stream:
            hijack.finish()
        await hijack.done
        return web.Response()

    async def resize(self, request: web.Request) -> web.Response:
        self._find(request).resize(_number(request, "h", 0), _number(request, "w", 0))
        return web.Response()

    async def rename(self, request: web.Request) -> web.Response:
        container = self._find(request)
        self._engine.rename(container, request.query.get("name", ""))
        return web.Response(status=204)

    async def remove(self, request: web.Request) -> web.Response:
        await self._find(request).remove(force=_flag(request, "force"))
        return web.Response(status=204)

    async def create_exec(self, request: web.Request) -> web.Response:
        container = self._find(request)
        return _json({"Id": self._engine.create_exec(container, await request.read()).id}, 201)

    async def start_exec(self, request: web.Request) -> web.StreamResponse:
        made = self._engine.find_exec(request.match_info["id"])
        try:
            body: Any = msgspec.json.decode(await request.read() or b"{}")
        except msgspec.MsgspecError as error:
            raise invalid(f"invalid JSON: {error}") from None
        if not isinstance(body, dict):
            raise invalid("invalid JSON: expected an object")
        tty = bool(body.get("Tty", made.request.tty))
        size = body.get("ConsoleSize") or [0, 0]
        made.check_startable()
        if body.get("Detach"):
            made.start(tty=tty)
            return web.Response()
        stdin = made.stdin if made.request.attach_stdin else None
        streams = tuple(
            number
            for number, wanted in ((STDOUT, made.request.attach_stdout), (STDERR, made.request.attach_stderr))
            if wanted
        )
        hijack = Hijack(made.output, stdin, tty=tty, streams=streams, keys=detach_keys(made.request.detach_keys))
        hijack.take(request)
        try:
            made.start(tty=tty, size=(int(size[0]), int(size[1])))
        except ApiError as error:
            hijack.feed(STDOUT, f"{error.message}\r\n".encode())
            hijack.finish()
        await hijack.done
        return web.Response()

    async def resize_exec(self, request: web.Request) -> web.Response:
        made = self._engine.find_exec(request.match_info["id"])
        made.resize(_number(request, "h", 0), _number(request, "w", 0))
        return web.Response()

    async def inspect_exec(self, request: web.Request) -> web.Response:
        return _json(views.exec_inspect(self._engine.find_exec(request.match_info["id"])))

    async def list_images(self, request: web.Request) -> web.Response:
        wanted = _filters(request, ("reference", "dangling", "label")).get("reference")
        shown = [find(name, self._engine.images) for name in wanted] if wanted else [*self._engine.images.values()]
        return _json([views.image_summary(image) for image in shown if image is not None])

    async def inspect_image(self, request: web.Request) -> web.Response:
        image = find(request.match_info["name"], self._engine.images)
        if image is None:
            raise missing_image(request.match_info["name"])
        return _json(views.image_inspect(image))

    async def pull(self, request: web.Request) -> web.Response:
        name, tag = request.query.get("fromImage", ""), request.query.get("tag", "")
        reference = f"{name}:{tag}" if tag else name
        if find(reference, self._engine.images) is None:
            raise not_found(
                f"pull access denied for {name}, repository does not exist or may require 'docker login': "
                "denied: requested access to the resource is denied"
            )
        lines = [
            {"status": f"Pulling from {name}", "id": tag or "latest"},
            {"status": f"Status: Image is up to date for {reference}"},
        ]
        return web.Response(
            body=b"".join(msgspec.json.encode(line) + b"\r\n" for line in lines), content_type="application/json"
        )

    def _find(self, request: web.Request) -> ProcessContainer:
        return self._engine.find(request.match_info["id"])


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json")


def _flag(request: web.Request, name: str) -> bool:
    """Docker's rule for booleans in a query."""
    return request.query.get(name, "").strip().lower() not in ("", "0", "no", "false", "none")


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise invalid(f"invalid value for {name}: {text!r}") from None


def _patience(request: web.Request) -> float | None:
    return float(_number(request, "t", 0)) if request.query.get("t") else None


def _filters(request: web.Request, known: tuple[str, ...]) -> dict[str, list[str]]:
    """`filters={"name": ["a"]}`, or the older `{"name": {"a": true}}`."""
    text = request.query.get("filters", "")
    if not text:
        return {}
    try:
        found = msgspec.json.decode(text, type=dict[str, dict[str, bool] | list[str]])
    except msgspec.MsgspecError as error:
        raise invalid(f"invalid filters: {error}") from None
    for key in found:
        if key not in known:
            raise invalid(f"Invalid filter '{key}'")
    return {key: list(values) for key, values in found.items()}


def _stream_of(entry: LogEntry) -> int:
    return STDERR if entry.stream == "stderr" else STDOUT

"""The Docker API proxy between clients and the container engine; it asks this host's router in between.

Owns the handling of the few rewritten requests, and the errors of failed ones: the client gets an error in the engine's
format with our reason in it, and no container or address is left behind. The other modules of `overlay.proxy` rewrite;
`overlay.proxy.relay` passes everything else on unchanged.
"""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from overlay.clean import LINES, clean
from overlay.errors import EnvironmentProblem
from overlay.http.guard import refusal
from overlay.http.listener import faults
from overlay.plugin.requests import DRIVERS
from overlay.proxy import unwrap
from overlay.proxy.connections import ConnectionLost, Side, TlsSide, tcp_options
from overlay.proxy.create import ContainerDefaults, joining, named_network, rewrite, rewrite_dns
from overlay.proxy.http import MAX_HEAD, BadMessage, Head, ResponseHead, parse_request, reply
from overlay.proxy.policy import AttachmentPolicy, Rejected
from overlay.proxy.relay import EngineGone, fetch, read_body, relay
from overlay.proxy.router import RouterGone, RouterRefused, RouterSide
from overlay.proxy.routes import Call, route

__all__ = ["Proxy"]

log = logging.getLogger(__name__)

Json = dict[str, Any]
_PODMAN = "Libpod-Api-Version"
"""The response header that identifies Podman."""
_PASS = None
"""The result of a handler for a request to pass on unchanged; other results say whether another request may follow."""


class Exchange:
    """One request that is rewritten, and its connection."""

    def __init__(self, client: Side, head: Head, call: Call, content: bytes) -> None:
        self.client = client
        self.head = head
        self.call = call
        self.content = content


class Proxy:
    """Handles all connections of one proxy process; `serve_client` is the callback of its listeners."""

    def __init__(
        self,
        engine: str,
        router: RouterSide,
        waiter: str,
        policy: AttachmentPolicy,
        names: tuple[str, ...] = (),
        install: Callable[[], None] = lambda: None,
    ) -> None:
        """`names`: host names that clients may use over TCP, in addition to `localhost` and IP addresses.

        `install` restores the waiter's file if somebody has removed it.
        """
        self._install = install
        self._engine = engine
        self._router = router
        self._waiter = waiter
        self._policy = policy
        self._names = names
        self._clients: dict[asyncio.Task[Any], None] = {}
        self._do: dict[str, Callable[[Exchange], Coroutine[Any, Any, bool | None]]] = {
            "create": self._create,
            "start": self._start,
            "restart": self._start,
            "exec": self._exec,
            "inspect": self._inspect,
            "list": self._list,
            "changes": self._changes,
            "commit": self._commit,
        }

    def close(self) -> None:
        """Disconnect all clients."""
        for task in list(self._clients):
            task.cancel()

    async def serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext | None = None
    ) -> None:
        """Serve one client's connection."""
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = None
        over_tcp = tcp_options(writer)
        client = Side(reader, writer)
        try:
            if context is not None:
                client = secured = TlsSide(reader, writer, context)
                await secured.handshake()
            while await self._one(client, over_tcp):
                pass
            with contextlib.suppress(ConnectionError):
                await client.send_eof()
        except (OSError, asyncio.CancelledError) as error:  # includes errors of TLS
            log.debug("client: %s", error)
        except Exception as error:
            faults.complain_of(error, "a client's request")
        finally:
            self._clients.pop(task, None)
            client.close()

    async def _one(self, client: Side, over_tcp: bool) -> bool:
        """Serve one request; returns whether another may follow."""
        try:
            raw = await client.until(b"\r\n\r\n", MAX_HEAD)
            if not raw:
                return False
            head, body = parse_request(raw)
            refused = refusal(head.headers, self._names) if over_tcp else None
            if refused is not None:
                await client.send(_error(403, f"weave: {refused}"))
                return False
            call = route(head.method, head.target)
            if call is None:
                return await relay(client, self._engine, head, body)
            if head.header("expect").lower() == "100-continue":
                await client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            content = await read_body(client, body)
        except (BadMessage, ValueError) as error:
            await client.send(_error(400, f"weave: {error}"))
            return False
        except EngineGone as error:
            await client.send(_error(503, str(error)))
            return False
        exchange = Exchange(client, head, call, content)
        try:
            answered = await self._attended(client, self._do[call.endpoint](exchange))
            if answered is _PASS:
                return await relay(client, self._engine, head, body, content)
            return answered
        except Rejected as error:
            answer = _error(error.status, f"weave: {error}", call)
        except RouterGone as error:
            answer = _error(503, f"weave: {error}", call)
        except RouterRefused as error:
            answer = _error(503 if error.status == 503 else 409, f"weave: {error}", call)
        except EngineGone as error:
            answer = _error(503, str(error), call)
        await client.send(answer)
        return head.keeps_alive

    @staticmethod
    async def _attended(client: Side, work: Coroutine[Any, Any, bool | None]) -> bool | None:
        """Run `work` while the client waits for it; cancel it when the client disconnects.

        Data read from the client in the meantime stays in its buffer.
        """
        loop = asyncio.get_running_loop()
        doing = loop.create_task(work)
        watching: asyncio.Task[bool] | None = loop.create_task(client.fill()) if not client.buffer else None
        try:
            if watching is not None:
                await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
                if not doing.done() and not watching.result():
                    doing.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await doing
                    raise ConnectionLost("the client left before its answer")
            return await doing
        finally:
            for task in (doing, watching):
                if task is not None and not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

    # --- requests that create or start containers ------------------------------------------------------------------

    def _prepare(self) -> None:
        """Prepare for creating or starting a container. Raises `Rejected`."""
        try:
            self._install()
        except EnvironmentProblem as error:
            raise Rejected(503, str(error)) from None

    async def _create(self, x: Exchange) -> bool | None:
        body = _object(x.content)
        if body is None or (joining(body, (), self._policy) is None and not self._policy.no_default_ipalloc):
            return _PASS
        image = await self._get(x, f"/images/{quote(str(body.get('Image') or ''), safe='/:@')}/json")
        if image is None:
            return _PASS  # the engine shall report the error itself
        config = image.get("Config") or {}
        wanted = joining(body, tuple(config.get("Env") or ()), self._policy)
        if wanted is None:
            return _PASS
        said = await self._router.facts()
        self._prepare()
        facts = ContainerDefaults(resolver=said["resolver"], domain=said["domain"], waiter=self._waiter)
        network = named_network(body)
        if network and not wanted.asked and await self._driver_of(x, network) in DRIVERS:
            content = json.dumps(rewrite_dns(body, facts, self._policy)).encode()
            return await self._answer(x, *await fetch(self._engine, x.head, content))
        changed = rewrite(body, config, x.call.query.get("name", "").lstrip("/"), facts, self._policy)
        if changed is None:
            return _PASS
        making = asyncio.create_task(fetch(self._engine, x.head, json.dumps(changed).encode()))
        made = ""
        try:
            response, answer = await asyncio.shield(making)
            made = _made(response, answer)
            if made:
                await self._router.reserve(
                    made,
                    wanted.addresses,
                    dns=not self._policy.without_dns,
                    hosts=not self._policy.no_rewrite_hosts,
                    multicast=not self._policy.no_multicast_route,
                    spoofing=wanted.spoofing,
                )
        except BaseException:
            # The client disconnected, or the router refused: remove the container if it exists, because nobody wants
            # it.
            with contextlib.suppress(EngineGone):
                made = made or _made(*await making)
            if made:
                await self._engine_does("DELETE", f"{x.call.prefix}/containers/{made}?force=1&v=1")
            raise
        return await self._answer(x, response, answer)

    async def _start(self, x: Exchange) -> bool | None:
        """Start or restart: respond once the container is on the overlay."""
        found = await self._inspected(x)
        if found is None or not unwrap.waits(found):
            return _PASS
        self._prepare()
        await self._router.renew(found["Id"], multicast=not self._policy.no_multicast_route)
        response, answer = await fetch(self._engine, x.head, x.content)
        if response.status == 204:
            await self._ensure(found["Id"])
        return await self._answer(x, response, answer)

    async def _exec(self, x: Exchange) -> bool | None:
        """Attach the container first if its own program still waits, because a command in it would find no overlay."""
        found = await self._inspected(x)
        if found is not None and unwrap.waits(found) and (found.get("State") or {}).get("Running"):
            with contextlib.suppress(RouterGone, RouterRefused):
                await self._router.ensure(found["Id"])
        return _PASS

    async def _ensure(self, container: str) -> None:
        try:
            await self._router.ensure(container)
        except (RouterGone, RouterRefused) as error:
            log.error("container %.12s cannot be attached: %s", container, error)
            await self._engine_does("POST", f"/containers/{container}/kill")
            raise

    # --- requests that show containers -----------------------------------------------------------------------------

    async def _inspect(self, x: Exchange) -> bool | None:
        response, answer = await fetch(self._engine, x.head, None)
        found = _object(answer) if response.status == 200 else None
        if found is not None:
            addresses: tuple[str, ...] = ()
            if self._policy.rewrite_inspect:
                with contextlib.suppress(RouterGone, RouterRefused):
                    addresses = await self._router.addresses(str(found.get("Id")))
            if unwrap.container(found, addresses):
                answer = json.dumps(found).encode() + b"\n"
        return await self._answer(x, response, answer)

    async def _list(self, x: Exchange) -> bool | None:
        response, answer = await fetch(self._engine, x.head, None)
        if response.status == 200:
            with contextlib.suppress(ValueError):
                entries = json.loads(answer)
                if unwrap.listing(entries, self._waiter):
                    answer = json.dumps(entries).encode() + b"\n"
        return await self._answer(x, response, answer)

    async def _changes(self, x: Exchange) -> bool | None:
        found = await self._inspected(x)
        if found is None or not unwrap.waits(found):
            return _PASS
        response, answer = await fetch(self._engine, x.head, None)
        if response.status == 200:
            answer = json.dumps(unwrap.changes(json.loads(answer))).encode() + b"\n"
        return await self._answer(x, response, answer)

    async def _commit(self, x: Exchange) -> bool | None:
        if not x.call.container:
            return _PASS
        said, found = await self._ask(x, self._container(x))
        if found is None or not unwrap.waits(found):
            return _PASS
        if said.header(_PODMAN):
            raise Rejected(501, unwrap.commit_by_hand(found, x.call.query))
        changed = unwrap.commit(_object(x.content), found)
        head = x.head
        if not head.header("content-type"):
            head = msgspec.structs.replace(head, headers=(*head.headers, ("Content-Type", "application/json")))
        response, answer = await fetch(self._engine, head, json.dumps(changed).encode())
        return await self._answer(x, response, answer)

    # --- helpers -----------------------------------------------------------------------------------------------------

    async def _answer(self, x: Exchange, response: ResponseHead, content: bytes) -> bool:
        """Send the client a response whose body was read, and possibly changed."""
        framing = () if response.status in (204, 304) else (("Content-Length", str(len(content))),)
        head = response.encode(without=("content-length", "transfer-encoding", "connection"), add=framing)
        await x.client.send(head + (b"" if response.status in (204, 304) else content))
        return x.head.keeps_alive

    @staticmethod
    def _container(x: Exchange) -> str:
        return f"/containers/{quote(x.call.container, safe='')}/json"

    async def _inspected(self, x: Exchange) -> Json | None:
        return await self._get(x, self._container(x)) if x.call.container else None

    async def _get(self, x: Exchange, path: str) -> Json | None:
        """The engine's object at a path; None: the engine refuses."""
        return (await self._ask(x, path))[1]

    async def _ask(self, x: Exchange, path: str) -> tuple[ResponseHead, Json | None]:
        """The engine's response for a path, in the API version of the client, and the object in it."""
        head = _request("GET", x.call.prefix + path, x.head.header("host"))
        response, answer = await fetch(self._engine, head, None)
        return response, _object(answer) if response.status == 200 else None

    async def _driver_of(self, x: Exchange, network: str) -> str:
        """The driver of a network; empty: there is no such network, and the engine will report that."""
        found = await self._get(x, f"/networks/{quote(network, safe='')}")
        return str((found or {}).get("Driver") or "")

    async def _engine_does(self, method: str, path: str) -> None:
        """Send the engine a request that undoes something; errors are only logged."""
        try:
            response, answer = await fetch(self._engine, _request(method, path), b"")
        except EngineGone as error:
            log.warning("%s %s: %s", method, path, error)
            return
        if response.status >= 400:
            log.info("%s %s: %s", method, path, answer.decode(errors="replace").strip())


def _request(method: str, path: str, host: str = "") -> Head:
    """A request of the proxy itself to the engine."""
    return Head("HTTP/1.1", (("Host", host or "docker"),), method, path)


def _object(content: bytes) -> Json | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _made(response: ResponseHead, answer: bytes) -> str:
    """The id of the created container; "" if none was created."""
    return str((_object(answer) or {}).get("Id") or "") if response.status == 201 else ""


def _error(status: int, text: str, call: Call | None = None) -> bytes:
    """An error in the engine's format: JSON, or plain text up to API version 1.23."""
    text = clean(text, keep=LINES)
    phrase = HTTPStatus(status).phrase
    if call is not None and call.speaks_text:
        return reply(status, phrase, text.encode() + b"\n", "text/plain; charset=utf-8")
    return reply(status, phrase, json.dumps({"message": text}).encode() + b"\n")

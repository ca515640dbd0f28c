"""The control API: HTTP on a unix socket, and the original's paths on 127.0.0.1:6784.

Owns paths, forms, and which of them change something. Every handler turns a request into inputs of the node or calls
of `Containers`. Who may come in and what an error becomes stands in `http_listener`.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import asdict, replace

from overlay import __version__
from overlay import inputs as i
from overlay.addresses import matching, parse_address, parse_peer_name, parse_target
from overlay.clean import LINES, clean, clean_json
from overlay.config import Address
from overlay.daemon import metrics, status
from overlay.daemon.original_report import entries, views
from overlay.daemon.template import render
from overlay.docker.containers import Containers
from overlay.docker.expose import Exposure
from overlay.errors import EnvironmentProblem, UsageError
from overlay.http.listener import Door, NotFound, guarded, sentences
from overlay.options import LaunchOptions, differences
from overlay.owners import EXPOSED
from overlay.runtime.router import Router
from overlay.view import PeerView

__all__ = ["Control"]

Body = TypeVar("Body")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_json = msgspec.json.Encoder()
WATCH_QUEUE = 256
"""Views that wait for a slow watcher; beyond it the oldest are dropped, the newest always arrives."""
WATCHERS = 64
WATCHERS_TCP = 8
"""Watchers at once, and of these such as came over TCP, where every user of this host comes from."""
WATCH_REFRESH = 2.0
"""Seconds without a change after which a watcher is told again: what the counters say is news too."""


CLOCK_PATIENCE = 2.0
"""Seconds for the neighbours' clocks."""

FAREWELL_TIMEOUT = 1.0
"""Seconds that a watcher has to take its last line."""


class Control:
    """Everything that can be asked of a running daemon.

    `leave(surrender, restart)` ends it: the first hands its addresses over, the second says no farewell."""

    def __init__(
        self,
        router: Router,
        containers: Containers,
        options: LaunchOptions,
        report: Callable[[], dict[str, Any]],
        leave: Callable[[bool, bool], Awaitable[None]],
        lookup: Callable[[str], Awaitable[tuple[str, ...]]],
        resolve: Callable[[str], Awaitable[str]],
        exposure: Exposure,
    ) -> None:
        self._router = router
        self._containers = containers
        self._options = options
        self._report = report
        self._leave = leave
        self._lookup = lookup
        self._resolve = resolve
        self._exposure = exposure
        self._streams: dict[asyncio.Task[Any], bool] = {}
        """Tasks of watchers, and whether they came over TCP."""
        self._last_words: dict[asyncio.Task[Any], Callable[[], None]] = {}
        """What puts the last line into a watcher's stream."""

    def application(self, door: Door | None = None, *, read_only: bool = False) -> web.Application:
        """The routes for the unix socket, or for TCP with `door`; `read_only`: status, report and metrics alone.

        Every route that is not in the list of those that only look needs the token of the door.
        """
        app = web.Application(middlewares=[sentences] if door is None else [sentences, guarded(door.names)])
        add = app.router.add_route

        def act(method: str, path: str, handler: Handler) -> None:
            add(method, path, handler if door is None else door.with_token(handler))

        def show(path: str, handler: Handler) -> None:
            add("GET", path, handler if door is None else door.in_turn(handler))

        show("/status", self._status)
        show("/status/{part}", self._status)
        add("GET", "/status-json", _gone("the status as JSON is `GET /report`, `weave report` on the command line"))
        show("/report", self._get_report)
        show("/metrics", self._metrics)
        if read_only:
            return app
        add("GET", "/options", self._get_options)
        add("GET", "/watch", self._watch)
        add("GET", "/ip", self._get_ips)
        add("GET", "/ip/{container}", self._get_ip)
        add("GET", "/ip/{container}/{ip}/{length}", self._get_ip)
        add("GET", "/name", self._get_names)
        add("GET", "/lookup/{name}", self._get_lookup)
        add("GET", "/domain", self._domain)
        add("GET", "/dns-address", self._dns_address)
        add("GET", "/dns-address-port", self._dns_address_port)
        add("GET", "/ipinfo/defaultsubnet", self._default_subnet)
        add("GET", "/ipinfo/tracker", _nothing)
        show("/proxyaddrs", self._proxy_addresses)
        add("GET", "/ps", self._ps)
        add("GET", "/proxy", self._proxy_facts)
        show("/policy", self._policies)
        show("/policy/explain", self._explain)
        # By effect: comparing tells whether a password is guessed, and asking for the ring primes it.
        act("POST", "/options", self._compare_options)
        act("POST", "/clocks", self._clocks)
        act("POST", "/connect", self._connect)
        act("POST", "/forget", self._forget)
        act("POST", "/leave", self._post_leave)
        act("DELETE", "/peer", self._surrender)
        act("DELETE", "/peer/{peer}", self._remove_peer)
        act("GET", "/ring", self._ring)
        act("POST", "/ip/{container}", self._allocate)
        act("POST", "/ip/{container}/{ip}/{length}", self._allocate)
        act("PUT", "/ip/{container}/{ip}/{length}", self._claim)
        act("DELETE", "/ip/{container}", self._release)
        act("DELETE", "/ip/{container}/{ip}", self._release)
        act("PUT", "/name/{container}/{ip}", self._add_name)
        act("DELETE", "/name/{container}/{ip}", self._remove_name)
        act("DELETE", "/name/{container}", self._remove_name)
        act("POST", "/policy/{verb}", self._set_policy)
        act("DELETE", "/policy/{verb}", self._remove_policy)
        act("DELETE", "/policy", self._remove_policies)

        act("DELETE", "/name", self._remove_names)
        act("POST", "/run", self._run)
        act("POST", "/start/{container}", self._start)
        act("POST", "/attach/{container}", self._attach)
        act("POST", "/detach/{container}", self._detach)
        act("POST", "/expose", self._expose)
        act("POST", "/expose/{ip}/{length}", self._expose)
        act("POST", "/hide", self._hide)
        act("POST", "/proxy/{container}/{step}", self._proxy_step)
        return app

    async def farewell(self) -> None:
        """Tell watchers that the daemon was asked to end, which a crash never says; their streams end with that."""
        for last_words in self._last_words.values():
            last_words()
        if self._streams:
            await asyncio.wait(list(self._streams), timeout=FAREWELL_TIMEOUT)

    async def close(self) -> None:
        """End all watch streams."""
        for task in list(self._streams):
            task.cancel()

    # --- looking ---------------------------------------------------------------------------------------------------

    async def _status(self, request: web.Request) -> web.Response:
        part = request.match_info.get("part", "")
        if part and part not in status.PARTS:
            raise NotFound(f"there is no status `{part}`: there are {', '.join(status.PARTS)}")
        return web.Response(text=status.text(self._report(), part))

    async def _get_report(self, request: web.Request) -> web.Response:
        template = request.query.get("format", "")
        report = self._report()
        if not template:
            # The original has JSON for those who ask for it by this word, and its clients do.
            as_original = "application/json" in request.headers.get("Accept", "")
            return _reply({**report, **views(report)} if as_original else report)
        return web.Response(text=render(template, {**report, **views(report)}))

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(self._report()).encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _get_options(self, _request: web.Request) -> web.Response:
        told = replace(self._options, password="(set)" if self._options.password else "")
        return _reply({"version": __version__, "options": told})

    async def _compare_options(self, request: web.Request) -> web.Response:
        return _reply(differences(self._options, await _json_body(request, LaunchOptions)))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        over_tcp = request.transport is not None and bool(request.transport.get_extra_info("peername"))
        if len(self._streams) >= WATCHERS or (over_tcp and sum(self._streams.values()) >= WATCHERS_TCP):
            raise EnvironmentProblem(f"too many watch already: {WATCHERS} at most, {WATCHERS_TCP} of them over TCP")
        task = asyncio.current_task()
        assert task is not None
        self._streams[task] = over_tcp
        try:
            return await self._tell(request)
        finally:
            self._streams.pop(task, None)

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        peer = self._router.node.config.name

        def push(t: int, view: PeerView) -> None:
            while queue.qsize() >= WATCH_QUEUE:
                queue.get_nowait()
            queue.put_nowait(_json.encode({"t": t, "view": {"peer": peer, **asdict(view)}}) + b"\n")

        last = _json.encode({"leaves": True}) + b"\n"

        def leave() -> None:
            self._router.unwatch(push)
            queue.put_nowait(last)

        task = asyncio.current_task()
        assert task is not None
        self._last_words[task] = leave
        self._router.watch(push)
        told = b""
        try:
            while told is not last:
                try:
                    told = await asyncio.wait_for(queue.get(), WATCH_REFRESH)
                except TimeoutError:
                    self._router.watch(push)
                    continue
                await response.write(told)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            del self._last_words[task]
            self._router.unwatch(push)
        return response

    # --- peers -----------------------------------------------------------------------------------------------------

    async def _connect(self, request: web.Request) -> web.Response:
        form = await _form(request)
        peers = await self._targets(form.get("peer", []))
        replace = form.get("replace", [""])[-1].lower() in ("true", "1", "on", "yes")
        if not peers and not replace:
            raise UsageError("no peer is named: expected a form with `peer`, repeated")
        await self._router.ask(lambda n: i.Connect(n, peers, replace))
        return web.Response(status=200)

    async def _clocks(self, _request: web.Request) -> web.Response:
        """Ask all neighbours for their clocks; those that have not answered in time have no offset."""
        router = self._router
        with suppress(TimeoutError):
            await router.ask(lambda n: i.AskClocks(n, router.wall()), timeout=CLOCK_PATIENCE)
        told = [
            {"peer": peer, "offset": each.clock and each.clock[0], "error": each.clock and each.clock[1]}
            for peer, each in sorted(router.node.mesh.connections.established.items())
        ]
        return _reply(told)

    async def _forget(self, request: web.Request) -> web.Response:
        texts = (await _form(request)).get("peer", [])
        # A target of the command line keeps the name that it was given, one of `connect` has become an address.
        peers = tuple(parse_target(text, self._options.port) for text in texts)
        if not peers:
            raise UsageError("no peer is named: expected a form with `peer`, repeated")
        for text in texts:
            with suppress(EnvironmentProblem):  # a name that leads nowhere any more
                peers += await self._targets([text])
        await self._router.ask(lambda n: i.Forget(n, peers))
        return web.Response(status=200)

    async def _targets(self, texts: list[str]) -> tuple[Address, ...]:
        found = []
        for text in texts:
            target = parse_target(text, self._options.port)
            found.append(Address(await self._resolve(target.host), target.port))
        return tuple(found)

    async def _post_leave(self, request: web.Request) -> web.Response:
        surrender, restart = (request.query.get(key, "") in ("1", "true") for key in ("surrender", "restart"))
        await self._leave(surrender, restart)
        return web.Response(status=200)

    async def _surrender(self, _request: web.Request) -> web.Response:
        """As `weave reset`: this peer hands its addresses over, and goes."""
        await self._leave(True, False)
        return web.Response(status=200)

    async def _remove_peer(self, request: web.Request) -> web.Response:
        peer = request.match_info["peer"]
        with suppress(UsageError):  # a nickname
            peer = parse_peer_name(peer)
        answer = await self._router.ask(lambda n: i.RemovePeer(n, peer))
        return _answer(answer)

    async def _ring(self, _request: web.Request) -> web.Response:
        return _answer(await self._router.ask(i.Prime))

    # --- addresses -------------------------------------------------------------------------------------------------

    async def _get_ips(self, _request: web.Request) -> web.Response:
        """What each owner holds, whoever has booked it: containers, this host, and others that asked by this API."""
        held = self._router.node.ipam.by_container()
        return _reply({"owned": [{"containerid": owner, "addrs": addresses} for owner, addresses in held.items()]})

    async def _get_ip(self, request: web.Request) -> web.Response:
        """What an owner holds of a subnet (none named: the default one), as the original looks it up."""
        owner = request.match_info["container"]
        subnet = _cidr(request) if "ip" in request.match_info else self._default
        spec = parse_address(f"net:{subnet}")
        held = self._router.node.ipam.addresses(owner)
        if not held:
            known = [entry for entry in await self._containers.table() if owner in (entry["id"], entry["name"])]
            held = tuple(known[0]["addresses"]) if known else ()
        found = matching(spec, held, subnet)
        if not found:
            raise NotFound(f"container {owner} has no address of {subnet}")
        return web.Response(text=clean(" ".join(found)))

    async def _allocate(self, request: web.Request) -> web.Response:
        self._check_room()
        subnet = parse_address("net:" + _cidr(request)).value if "ip" in request.match_info else ""
        answer = await self._router.ask(lambda n: i.Allocate(n, request.match_info["container"], subnet))
        return _answer(answer)

    async def _claim(self, request: web.Request) -> web.Response:
        self._check_room()
        cidr = parse_address(_cidr(request)).value
        await self._containers.lives.make_way(request.match_info["container"], (cidr,))
        answer = await self._router.ask(lambda n: i.Claim(n, request.match_info["container"], cidr))
        return _answer(answer)

    async def _release(self, request: web.Request) -> web.Response:
        address = request.match_info.get("ip", "")
        if address:
            address = _literal(address)
        answer = await self._router.ask(lambda n: i.Release(n, request.match_info["container"], address))
        return _answer(answer)

    def _check_room(self) -> None:
        room = self._router.disk.check_room()
        if room:
            raise EnvironmentProblem(room)

    async def _default_subnet(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._default)

    @property
    def _default(self) -> str:
        """The subnet that is meant where none is named."""
        return self._options.ipalloc_default_subnet or self._options.ipalloc_range

    # --- names -----------------------------------------------------------------------------------------------------

    async def _add_name(self, request: web.Request) -> web.Response:
        fqdn = await self._fqdn(request)
        if not fqdn:
            raise UsageError("no name is given: expected `fqdn`")
        self._inside(fqdn)
        address = _literal(request.match_info["ip"])
        await self._containers.add_name(request.match_info["container"], fqdn, address)
        return web.Response(status=200)

    async def _remove_name(self, request: web.Request) -> web.Response:
        address = request.match_info.get("ip", "")
        if address:
            address = _literal(address)
        await self._containers.remove_name(request.match_info["container"], await self._fqdn(request), address)
        return web.Response(status=200)

    async def _remove_names(self, request: web.Request) -> web.Response:
        fqdn = await self._fqdn(request)
        if not fqdn:
            raise UsageError("no name is given, and without one all names of this host would go: expected `fqdn`")
        for owner in self._containers.owners_of(fqdn):
            await self._containers.remove_name(owner, fqdn, "")
        return web.Response(status=200)

    async def _get_names(self, _request: web.Request) -> web.Response:
        """The DNS entries of all peers, with the original's words."""
        return _reply(entries(self._router.node.registry.report(self._router.clock())))

    async def _fqdn(self, request: web.Request) -> str:
        form = await _form(request)
        name = (form.get("fqdn") or [request.query.get("fqdn", "")])[-1]
        return self._qualified(name) if name else ""

    def _qualified(self, name: str) -> str:
        domain = self._options.dns_domain.rstrip(".")
        bare = name.rstrip(".")
        return f"{bare}." if bare.lower().endswith("." + domain.lower()) or "." in bare else f"{bare}.{domain}."

    def _inside(self, fqdn: str) -> None:
        """Raises `UsageError` for a name that this overlay's DNS would never be asked for."""
        domain = self._options.dns_domain.rstrip(".")
        if not fqdn.lower().endswith(f".{domain.lower()}."):
            bare = fqdn.rstrip(".")
            raise UsageError(f"{bare} is outside of {domain}, whose names are served here: use {bare}.{domain}")

    async def _get_lookup(self, request: web.Request) -> web.Response:
        return _reply(list(await self._lookup(self._qualified(request.match_info["name"]))))

    async def _domain(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._options.dns_domain.rstrip(".") + ".")

    async def _dns_address(self, _request: web.Request) -> web.Response:
        if not self._containers.resolver:
            raise NotFound("this router serves no DNS")
        return web.Response(text=self._containers.resolver)

    async def _dns_address_port(self, request: web.Request) -> web.Response:
        address = (await self._dns_address(request)).text or ""
        return web.Response(text=f"[{address}]:53" if ":" in address else f"{address}:53")

    # --- policies --------------------------------------------------------------------------------------------------

    async def _policies(self, _request: web.Request) -> web.Response:
        return _reply(self._router.node.report(self._router.clock())["policy"])

    async def _explain(self, request: web.Request) -> web.Response:
        lines = self._router.node.explain(request.query.get("from", ""), request.query.get("to", ""))
        return web.Response(text=clean("\n".join(lines), keep=LINES))

    async def _set_policy(self, request: web.Request) -> web.Response:
        self._check_room()
        form = await _form(request)
        force = form.get("force", [""])[-1] in ("true", "1")
        return await self._policy(request, form, remove=False, force=force)

    async def _remove_policy(self, request: web.Request) -> web.Response:
        form = {key: [value] for key, value in request.query.items()}
        return await self._policy(request, form, remove=True, force=False)

    async def _policy(
        self, request: web.Request, form: Mapping[str, list[str]], *, remove: bool, force: bool
    ) -> web.Response:
        verb = request.match_info["verb"]
        if verb not in ("allow", "deny"):
            raise NotFound(f"no policy says `{verb}`: there are allow and deny")
        rule = f"from {form.get('from', ['all'])[-1]} to {form.get('to', ['all'])[-1]}"
        answer = await self._router.ask(lambda n: i.ChangePolicy(n, rule, verb == "allow", remove, force))
        return _answer(answer, keep=LINES)

    async def _remove_policies(self, request: web.Request) -> web.Response:
        words = request.query.getall("number", [])
        everything = request.query.get("all", "") in ("true", "1")
        if not words and not everything:
            raise UsageError("which policies? expected `number`, repeated, or `all=true`")
        if any(not (word.isascii() and word.isdigit() and len(word) < 6) for word in words):
            raise UsageError(f"policies are removed by number, found `{' '.join(words):.80}`")
        numbers = tuple(map(int, words))
        return _answer(await self._router.ask(lambda n: i.RemovePolicies(n, numbers, everything)), keep=LINES)

    # --- containers ------------------------------------------------------------------------------------------------

    async def _run(self, request: web.Request) -> web.Response:
        body = await _json_body(request, _RunRequest)
        container = await self._containers.run(
            body.create,
            body.name,
            body.addresses,
            dns=body.dns,
            hosts=body.hosts,
            multicast=body.multicast,
            spoofing=body.spoofing,
        )
        return web.Response(text=container)

    async def _start(self, request: web.Request) -> web.Response:
        form = await _form(request)
        addresses = await self._containers.start(
            request.match_info["container"], form.get("address", []), dns=_yes(form, "dns", "true")
        )
        return web.Response(text=" ".join(addresses))

    async def _attach(self, request: web.Request) -> web.Response:
        form = await _form(request)
        addresses = await self._containers.attach(
            request.match_info["container"],
            form.get("address", []),
            dns=_yes(form, "dns", "true"),
            hosts=_yes(form, "hosts", "false"),
            multicast=_yes(form, "multicast", "true"),
            spoofing=_yes(form, "spoofing", "false"),
        )
        return web.Response(text=" ".join(addresses))

    async def _detach(self, request: web.Request) -> web.Response:
        form = await _form(request)
        return web.Response(
            text=" ".join(await self._containers.detach(request.match_info["container"], form.get("address", [])))
        )

    async def _ps(self, request: web.Request) -> web.Response:
        return _reply(await self._containers.table(request.query.getall("container", [])))

    async def _expose(self, request: web.Request) -> web.Response:
        form = await _form(request)
        addresses = form.get("address", []) + ([_cidr(request)] if "ip" in request.match_info else [])
        name = form.get("fqdn", [""])[-1]
        if name:
            self._inside(self._qualified(name))
        await self._containers.lives.make_way(EXPOSED, addresses)
        found = await self._exposure.expose(
            addresses, self._qualified(name) if name else "", masquerade=_yes(form, "masquerade", "true")
        )
        return web.Response(text=" ".join(found))

    async def _hide(self, request: web.Request) -> web.Response:
        found = await self._exposure.hide((await _form(request)).get("address", []))
        return web.Response(text=" ".join(found))

    # --- the proxy -------------------------------------------------------------------------------------------------

    async def _proxy_facts(self, _request: web.Request) -> web.Response:
        """What the proxy puts into containers."""
        return _reply({"resolver": self._containers.resolver, "domain": self._options.dns_domain.rstrip(".")})

    async def _proxy_addresses(self, _request: web.Request) -> web.Response:
        return web.Response(text=" ".join(self._report()["driver"].get("proxy", ())))

    async def _proxy_step(self, request: web.Request) -> web.Response:
        container, step = request.match_info["container"], request.match_info["step"]
        if step == "reserve":
            body = await _json_body(request, _Reserve)
            flags = asdict(body)
            return _reply(await self._containers.reserve(container, flags.pop("addresses"), **flags))
        if step == "renew":
            await self._containers.renew(container, multicast=(await _json_body(request, _Renew)).multicast)
            return _reply([])
        if step == "ensure":
            return _reply(await self._containers.ensure(container))
        raise NotFound(f"the proxy knows no `{step}`: there are reserve, renew and ensure")


class _RunRequest(Struct, frozen=True):
    """The body of `POST /run`."""

    create: dict[str, Any] = {}
    """As the engine takes it."""
    name: str = ""
    addresses: tuple[str, ...] = ()
    dns: bool = True
    hosts: bool = False
    multicast: bool = True
    spoofing: bool = False


class _Reserve(Struct, frozen=True):
    """The body of `POST /proxy/CONTAINER/reserve`."""

    addresses: tuple[str, ...] = ()
    dns: bool = True
    hosts: bool = True
    multicast: bool = True
    spoofing: bool = False


class _Renew(Struct, frozen=True):
    """The body of `POST /proxy/CONTAINER/renew`."""

    multicast: bool = True


async def _form(request: web.Request) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        pairs = list((await request.post()).items())
    except (ValueError, LookupError, AssertionError, RuntimeError) as error:  # whatever reading a form can raise
        raise UsageError(f"the body is no form: {error}") from None
    for key, value in pairs:
        if not isinstance(value, str):
            raise UsageError(f"`{key}` is a file: expected a plain form")
        found.setdefault(key, []).append(value)
    return found


async def _json_body(request: web.Request, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is not the JSON object that is expected: {error}") from None


def _yes(form: dict[str, list[str]], key: str, default: str) -> bool:
    return form.get(key, [default])[-1] != "false"


def _literal(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"`{text}` is no address: expected a.b.c.d") from None


def _gone(instead: str) -> Handler:
    """A path of the original that has another name today."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        raise NotFound(instead)

    return answer


async def _nothing(_request: web.Request) -> web.StreamResponse:
    """There is no such thing here, which the original says by an empty answer."""
    return web.Response()


def _cidr(request: web.Request) -> str:
    return f"{request.match_info['ip']}/{request.match_info['length']}"


def _reply(value: Any) -> web.Response:
    return web.Response(text=clean_json(_json.encode(value).decode()), content_type="application/json")


def _answer(value: Any, keep: str = "") -> web.Response:
    return web.Response(text=clean(value if isinstance(value, str) else " ".join(value or ()), keep=keep))

"""Containers on the overlay, this host's own addresses on it, and the proxy's requests for the containers it
creates."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Json, Takes
from overlay.http.sentence import NotFound
from overlay.owners import EXPOSED

__all__ = ["ROUTES"]


class RunBody(Struct, frozen=True):
    """The body of `POST /run`."""

    create: dict[str, Any] = {}
    """The create request in the engine's format."""
    name: str = ""
    addresses: tuple[str, ...] = ()
    dns: bool = True
    hosts: bool = False
    multicast: bool = True
    spoofing: bool = False


class ReserveBody(Struct, frozen=True):
    """The body of `POST /proxy/CONTAINER/reserve`."""

    addresses: tuple[str, ...] = ()
    dns: bool = True
    hosts: bool = True
    multicast: bool = True
    spoofing: bool = False


class RenewBody(Struct, frozen=True):
    """The body of `POST /proxy/CONTAINER/renew`."""

    multicast: bool = True


async def run(parts: Parts, body: RunBody) -> str:
    """Create and start a container on the overlay; returns its id."""
    return await parts.containers.run(
        body.create,
        body.name,
        body.addresses,
        dns=body.dns,
        hosts=body.hosts,
        multicast=body.multicast,
        spoofing=body.spoofing,
    )


async def start(parts: Parts, container: str, addresses: Sequence[str], *, dns: bool) -> str:
    """Start a stopped container on the overlay; returns its addresses."""
    return " ".join(await parts.containers.start(container, addresses, dns=dns))


async def attach(
    parts: Parts,
    container: str,
    addresses: Sequence[str],
    *,
    dns: bool,
    hosts: bool,
    multicast: bool,
    spoofing: bool,
) -> str:
    """Attach a running container to the overlay; returns the requested addresses."""
    found = await parts.containers.attach(
        container, addresses, dns=dns, hosts=hosts, multicast=multicast, spoofing=spoofing
    )
    return " ".join(found)


async def detach(parts: Parts, container: str, addresses: Sequence[str]) -> str:
    """Remove addresses from a container, or all if none is given."""
    return " ".join(await parts.containers.detach(container, addresses))


async def table(parts: Parts, containers: Sequence[str]) -> Json:
    """The attached containers and this host, or only the given containers."""
    return Json(await parts.containers.table(containers))


async def expose(parts: Parts, addresses: Sequence[str], name: str, *, masquerade: bool) -> str:
    """Give this host addresses on the overlay."""
    fqdn = parts.qualified(name) if name else ""
    if fqdn:
        parts.check_inside(fqdn)
    await parts.containers.lives.make_way(EXPOSED, addresses)
    return " ".join(await parts.exposure.expose(addresses, fqdn, masquerade=masquerade))


async def hide(parts: Parts, addresses: Sequence[str]) -> str:
    """Remove addresses from this host, or all if none is given."""
    return " ".join(await parts.exposure.hide(addresses))


# --- for the proxy --------------------------------------------------------------------------------------------------


async def proxy_facts(parts: Parts) -> Json:
    """The settings that the proxy writes into containers."""
    return Json({"resolver": parts.containers.resolver, "domain": parts.domain})


async def proxy_addresses(parts: Parts) -> str:
    """The addresses on which the proxy listens."""
    return " ".join(parts.report()["driver"].get("proxy", ()))


async def reserve(parts: Parts, container: str, body: ReserveBody) -> Json:
    """Book a container's addresses and names before it starts."""
    flags = asdict(body)
    return Json(await parts.containers.reserve(container, flags.pop("addresses"), **flags))


async def renew(parts: Parts, container: str, body: RenewBody) -> Json:
    """Book a container's addresses again before a restart."""
    await parts.containers.renew(container, multicast=body.multicast)
    return Json([])


async def ensure(parts: Parts, container: str) -> Json:
    """Make sure that a started container is on the overlay."""
    return Json(await parts.containers.ensure(container))


async def no_step(_parts: Parts, step: str) -> None:
    """Reject any step other than the three above."""
    raise NotFound(f"the proxy knows no `{step}`: there are reserve, renew and ensure")


ROUTES = (
    ControlRoute("GET", "/ps", lambda p, q: table(p, q.query.every("container")), Access.LOOK),
    ControlRoute("POST", "/run", lambda p, q: run(p, q.json(RunBody)), Access.CHANGE, Takes.JSON),
    ControlRoute(
        "POST",
        "/start/{container}",
        lambda p, q: start(p, q["container"], q.form.every("address"), dns=q.form.unless_false("dns", default=True)),
        Access.CHANGE,
        Takes.FORM,
    ),
    ControlRoute(
        "POST",
        "/attach/{container}",
        lambda p, q: attach(
            p,
            q["container"],
            q.form.every("address"),
            dns=q.form.unless_false("dns", default=True),
            hosts=q.form.unless_false("hosts", default=False),
            multicast=q.form.unless_false("multicast", default=True),
            spoofing=q.form.unless_false("spoofing", default=False),
        ),
        Access.CHANGE,
        Takes.FORM,
    ),
    ControlRoute(
        "POST",
        "/detach/{container}",
        lambda p, q: detach(p, q["container"], q.form.every("address")),
        Access.CHANGE,
        Takes.FORM,
    ),
    *(
        ControlRoute(
            "POST",
            path,
            lambda p, q: expose(
                p,
                [*q.form.every("address"), *([q.cidr] if q.cidr else [])],
                q.form.last("fqdn"),
                masquerade=q.form.unless_false("masquerade", default=True),
            ),
            Access.CHANGE,
            Takes.FORM,
        )
        for path in ("/expose", "/expose/{ip}/{length}")
    ),
    ControlRoute("POST", "/hide", lambda p, q: hide(p, q.form.every("address")), Access.CHANGE, Takes.FORM),
    ControlRoute("GET", "/proxy", lambda p, q: proxy_facts(p), Access.LOOK),
    ControlRoute("GET", "/proxyaddrs", lambda p, q: proxy_addresses(p), Access.REPORT),
    ControlRoute(
        "POST",
        "/proxy/{container}/reserve",
        lambda p, q: reserve(p, q["container"], q.json(ReserveBody)),
        Access.CHANGE,
        Takes.JSON,
    ),
    ControlRoute(
        "POST",
        "/proxy/{container}/renew",
        lambda p, q: renew(p, q["container"], q.json(RenewBody)),
        Access.CHANGE,
        Takes.JSON,
    ),
    ControlRoute("POST", "/proxy/{container}/ensure", lambda p, q: ensure(p, q["container"]), Access.CHANGE),
    ControlRoute("POST", "/proxy/{container}/{step}", lambda p, q: no_step(p, q["step"]), Access.CHANGE),
)

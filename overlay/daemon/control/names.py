"""DNS names: list them, add and remove them by hand."""

from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Json, Question, Takes, literal
from overlay.daemon.original_report import entries
from overlay.errors import UsageError
from overlay.http.sentence import NotFound

__all__ = ["ROUTES"]


async def add_name(parts: Parts, owner: str, name: str, ip: str) -> None:
    """Add a name for an address of an owner."""
    fqdn = _qualified(parts, name)
    if not fqdn:
        raise UsageError("no name is given: expected `fqdn`")
    parts.check_inside(fqdn)
    await parts.containers.add_name(owner, fqdn, literal(ip))


async def remove_name(parts: Parts, owner: str, name: str, ip: str) -> None:
    """Remove one name or all names of an owner, for one address or all."""
    address = literal(ip) if ip else ""
    await parts.containers.remove_name(owner, _qualified(parts, name), address)


async def remove_names(parts: Parts, name: str) -> None:
    """Remove a name of this host, whichever container has it."""
    fqdn = _qualified(parts, name)
    if not fqdn:
        raise UsageError("no name is given, and without one all names of this host would go: expected `fqdn`")
    for owner in parts.containers.owners_of(fqdn):
        await parts.containers.remove_name(owner, fqdn, "")


async def all_names(parts: Parts) -> Json:
    """The DNS entries of all peers, with the original's field names."""
    return Json(entries(parts.router.node.registry.report(parts.router.clock())))


async def look_up(parts: Parts, name: str) -> Json:
    """The addresses of a name."""
    return Json(list(await parts.lookup(parts.qualified(name))))


async def domain(parts: Parts) -> str:
    """The domain of the overlay."""
    return parts.domain + "."


async def dns_address(parts: Parts) -> str:
    """The address of the DNS server for containers."""
    if not parts.containers.resolver:
        raise NotFound("this router serves no DNS")
    return parts.containers.resolver


async def dns_address_port(parts: Parts) -> str:
    """The address and port of the DNS server for containers."""
    address = await dns_address(parts)
    return f"[{address}]:53" if ":" in address else f"{address}:53"


def _qualified(parts: Parts, name: str) -> str:
    return parts.qualified(name) if name else ""


def _fqdn(question: Question) -> str:
    """The name in a form or a query."""
    return question.form.last("fqdn") if "fqdn" in question.form else question.query.first("fqdn")


ROUTES = (
    ControlRoute("GET", "/name", lambda p, q: all_names(p), Access.LOOK),
    ControlRoute("GET", "/lookup/{name}", lambda p, q: look_up(p, q["name"]), Access.LOOK),
    ControlRoute("GET", "/domain", lambda p, q: domain(p), Access.LOOK),
    ControlRoute("GET", "/dns-address", lambda p, q: dns_address(p), Access.LOOK),
    ControlRoute("GET", "/dns-address-port", lambda p, q: dns_address_port(p), Access.LOOK),
    ControlRoute(
        "PUT",
        "/name/{container}/{ip}",
        lambda p, q: add_name(p, q["container"], _fqdn(q), q.ip),
        Access.CHANGE,
        Takes.FORM,
    ),
    ControlRoute(
        "DELETE",
        "/name/{container}/{ip}",
        lambda p, q: remove_name(p, q["container"], _fqdn(q), q.ip),
        Access.CHANGE,
        Takes.FORM,
    ),
    ControlRoute(
        "DELETE",
        "/name/{container}",
        lambda p, q: remove_name(p, q["container"], _fqdn(q), ""),
        Access.CHANGE,
        Takes.FORM,
    ),
    ControlRoute("DELETE", "/name", lambda p, q: remove_names(p, _fqdn(q)), Access.CHANGE, Takes.FORM),
)

"""Addresses: list them by owner, allocate and release them by hand."""

from overlay import inputs as i
from overlay.addresses import matching, parse_address
from overlay.clean import clean
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Json, cleaned, literal
from overlay.http.sentence import NotFound

__all__ = ["ROUTES"]


async def all_owned(parts: Parts) -> Json:
    """The addresses of each owner: containers, this host, and other clients of this API."""
    held = parts.router.node.ipam.by_container()
    return Json({"owned": [{"containerid": owner, "addrs": addresses} for owner, addresses in held.items()]})


async def owned(parts: Parts, owner: str, cidr: str) -> str:
    """The addresses of an owner in a subnet (default subnet if none is given), in the original's format."""
    subnet = cidr or parts.default_subnet
    spec = parse_address(f"net:{subnet}")
    held = parts.router.node.ipam.addresses(owner)
    if not held:
        known = [entry for entry in await parts.containers.table() if owner in (entry["id"], entry["name"])]
        held = tuple(known[0]["addresses"]) if known else ()
    found = matching(spec, held, subnet)
    if not found:
        raise NotFound(f"container {owner} has no address of {subnet}")
    return clean(" ".join(found))


async def allocate(parts: Parts, owner: str, cidr: str) -> str:
    """Allocate any free address of a subnet (default subnet if none is given)."""
    parts.check_room()
    subnet = parse_address("net:" + cidr).value if cidr else ""
    return cleaned(await parts.router.ask(lambda n: i.Allocate(n, owner, subnet)))


async def claim(parts: Parts, owner: str, cidr: str) -> str:
    """Claim exactly this address."""
    parts.check_room()
    wanted = parse_address(cidr).value
    await parts.containers.lives.make_way(owner, (wanted,))
    return cleaned(await parts.router.ask(lambda n: i.Claim(n, owner, wanted)))


async def release(parts: Parts, owner: str, ip: str) -> str:
    """Release one address of an owner, or all if none is given."""
    address = literal(ip) if ip else ""
    return cleaned(await parts.router.ask(lambda n: i.Release(n, owner, address)))


async def ring(parts: Parts) -> str:
    """Wait until addresses can be allocated."""
    return cleaned(await parts.router.ask(i.Prime))


async def default_subnet(parts: Parts) -> str:
    """The subnet used when a request names none."""
    return parts.default_subnet


async def tracker(_parts: Parts) -> None:
    """This router has no tracker; the original returns an empty answer in that case."""


_IN_SUBNET = "/ip/{container}/{ip}/{length}"

ROUTES = (
    ControlRoute("GET", "/ip", lambda p, q: all_owned(p), Access.LOOK),
    ControlRoute("GET", "/ip/{container}", lambda p, q: owned(p, q["container"], ""), Access.LOOK),
    ControlRoute("GET", _IN_SUBNET, lambda p, q: owned(p, q["container"], q.cidr), Access.LOOK),
    ControlRoute("GET", "/ipinfo/defaultsubnet", lambda p, q: default_subnet(p), Access.LOOK),
    ControlRoute("GET", "/ipinfo/tracker", lambda p, q: tracker(p), Access.LOOK),
    ControlRoute("GET", "/ring", lambda p, q: ring(p), Access.CHANGE),  # changes state: asking for the ring creates it
    ControlRoute("POST", "/ip/{container}", lambda p, q: allocate(p, q["container"], ""), Access.CHANGE),
    ControlRoute("POST", _IN_SUBNET, lambda p, q: allocate(p, q["container"], q.cidr), Access.CHANGE),
    ControlRoute("PUT", _IN_SUBNET, lambda p, q: claim(p, q["container"], q.cidr), Access.CHANGE),
    ControlRoute("DELETE", "/ip/{container}", lambda p, q: release(p, q["container"], ""), Access.CHANGE),
    ControlRoute("DELETE", "/ip/{container}/{ip}", lambda p, q: release(p, q["container"], q.ip), Access.CHANGE),
)

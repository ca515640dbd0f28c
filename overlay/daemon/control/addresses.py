"""Addresses: what owners hold, and booking and releasing by hand."""

from overlay import inputs as i
from overlay.addresses import matching, parse_address
from overlay.clean import clean
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Json, cleaned, literal
from overlay.http.sentence import NotFound

__all__ = ["ROUTES"]


async def all_owned(parts: Parts) -> Json:
    """What each owner holds, no matter who booked it: containers, this host, and others that asked by this API."""
    held = parts.router.node.ipam.by_container()
    return Json({"owned": [{"containerid": owner, "addrs": addresses} for owner, addresses in held.items()]})


async def owned(parts: Parts, owner: str, cidr: str) -> str:
    """What an owner holds of a subnet (none named: the default one), as the original looks it up."""
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
    """Any address of a subnet (none named: the default one)."""
    parts.check_room()
    subnet = parse_address("net:" + cidr).value if cidr else ""
    return cleaned(await parts.router.ask(lambda n: i.Allocate(n, owner, subnet)))


async def claim(parts: Parts, owner: str, cidr: str) -> str:
    """This very address."""
    parts.check_room()
    wanted = parse_address(cidr).value
    await parts.containers.lives.make_way(owner, (wanted,))
    return cleaned(await parts.router.ask(lambda n: i.Claim(n, owner, wanted)))


async def release(parts: Parts, owner: str, ip: str) -> str:
    """One address of an owner; none named: all."""
    address = literal(ip) if ip else ""
    return cleaned(await parts.router.ask(lambda n: i.Release(n, owner, address)))


async def ring(parts: Parts) -> str:
    """Wait until addresses can be given out."""
    return cleaned(await parts.router.ask(i.Prime))


async def default_subnet(parts: Parts) -> str:
    """Where an address comes from when none is asked for."""
    return parts.default_subnet


async def tracker(_parts: Parts) -> None:
    """There is no such thing here, which the original says by an empty answer."""


_IN_SUBNET = "/ip/{container}/{ip}/{length}"

ROUTES = (
    ControlRoute("GET", "/ip", lambda p, q: all_owned(p), Access.LOOK),
    ControlRoute("GET", "/ip/{container}", lambda p, q: owned(p, q["container"], ""), Access.LOOK),
    ControlRoute("GET", _IN_SUBNET, lambda p, q: owned(p, q["container"], q.cidr), Access.LOOK),
    ControlRoute("GET", "/ipinfo/defaultsubnet", lambda p, q: default_subnet(p), Access.LOOK),
    ControlRoute("GET", "/ipinfo/tracker", lambda p, q: tracker(p), Access.LOOK),
    ControlRoute("GET", "/ring", lambda p, q: ring(p), Access.CHANGE),  # by effect: asking for the ring makes it
    ControlRoute("POST", "/ip/{container}", lambda p, q: allocate(p, q["container"], ""), Access.CHANGE),
    ControlRoute("POST", _IN_SUBNET, lambda p, q: allocate(p, q["container"], q.cidr), Access.CHANGE),
    ControlRoute("PUT", _IN_SUBNET, lambda p, q: claim(p, q["container"], q.cidr), Access.CHANGE),
    ControlRoute("DELETE", "/ip/{container}", lambda p, q: release(p, q["container"], ""), Access.CHANGE),
    ControlRoute("DELETE", "/ip/{container}/{ip}", lambda p, q: release(p, q["container"], q.ip), Access.CHANGE),
)

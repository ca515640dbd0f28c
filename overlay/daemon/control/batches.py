"""Many names or addresses in one request: all of them or none, with an answer for each entry."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from overlay import inputs as i
from overlay.addresses import parse_address
from overlay.daemon.control.lines import AddressLine, NameLine, address_lines, name_lines, read, refused
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Json, Takes, literal
from overlay.dns.names import check_name, packed
from overlay.errors import UsageError
from overlay.runtime.router import Answer

__all__ = ["ROUTES"]

_MAX_ADDRESSES = 10_000
"""Addresses of one batch: the allocator looks at all open requests with each change."""


async def add_names(parts: Parts, body: bytes) -> Json:
    """Add all names of the lines."""
    return await _change_names(parts, body, remove=False)


async def remove_names(parts: Parts, body: bytes) -> Json:
    """Remove all names of the lines; without an address, from all addresses of the owner."""
    return await _change_names(parts, body, remove=True)


async def _change_names(parts: Parts, body: bytes, *, remove: bool) -> Json:
    def made(line: NameLine) -> i.NameEntry:
        name = parts.qualified(line.name)
        check_name(name)
        if not remove:
            parts.check_inside(name)
        known = line.address if packed(line.address) and ":" not in line.address else ""
        address = known or (literal(line.address) if line.address or not remove else "")
        return i.NameEntry(line.container, name, address)

    # In a thread, because reading 100,000 lines would keep heartbeats waiting.
    found = (
        await asyncio.to_thread(read, body, name_lines, made) if len(body) > 1 << 16 else read(body, name_lines, made)
    )
    done = await parts.containers.change_names([entry for _, entry in found], remove=remove)
    words = ("removed", "unknown") if remove else ("added", "unchanged")
    return Json({words[0]: sum(done), words[1]: len(done) - sum(done), "entries": [words[not each] for each in done]})


async def allocate(parts: Parts, body: bytes) -> Json:
    """Allocate or claim an address for each line."""
    parts.check_room()
    found = _address_lines(body, _claimable)
    for _, line in found:
        if line.address:
            await parts.containers.lives.make_way(line.container, (line.address,))
    held = {line.container: parts.router.node.ipam.addresses(line.container) for _, line in found}
    try:
        answers = await parts.router.ask_all([_request(line) for _, line in found])
    except BaseException:  # the client is gone, or this router ends: nobody hears what was given already
        _give_back(parts, held)
        raise
    bad = [
        f"line {number}: {line.container}: {answer}"
        for (number, line), answer in zip(found, answers, strict=True)
        if isinstance(answer, UsageError)
    ]
    if bad:
        _give_back(parts, held)
        raise refused(bad[:20], len(bad))
    return _said(found, answers)


def _give_back(parts: Parts, held: Mapping[str, Sequence[str]]) -> None:
    """Release what these containers have in addition to what they held before."""
    runner, ipam = parts.router.runner, parts.router.node.ipam
    taken = [(each, cidr) for each, before in held.items() for cidr in ipam.addresses(each) if cidr not in before]
    releases = [i.Release(runner.number(), each, cidr.partition("/")[0]) for each, cidr in taken]
    if releases:
        runner.feed(i.AddressBatch(tuple(releases)))


async def release(parts: Parts, body: bytes) -> Json:
    """Release the address of each line, or all addresses of its container."""
    found = _address_lines(body, _releasable)
    answers = await parts.router.ask_all(
        [lambda n, line=line: i.Release(n, line.container, line.address) for _, line in found]  # type: ignore[misc]
    )
    return _said(found, answers)


def _claimable(line: AddressLine) -> AddressLine:
    if line.address and line.subnet:
        raise UsageError("found `address` and `subnet`, expected one of them")
    if line.subnet:
        parse_address(f"net:{line.subnet}")
    if line.address and parse_address(line.address).kind != "claim":
        raise UsageError(f"found {line.address} as `address`, expected one as 10.2.1.3/24")
    return line


def _releasable(line: AddressLine) -> AddressLine:
    if line.subnet:
        raise UsageError("found a subnet, expected an address, or neither to release all addresses of the container")
    address = literal(line.address.partition("/")[0]) if line.address else ""
    return AddressLine(line.container, address)


def _address_lines(body: bytes, check: Callable[[AddressLine], AddressLine]) -> list[tuple[int, AddressLine]]:
    def made(line: AddressLine) -> AddressLine:
        if not line.container:
            raise UsageError("found no container")
        return check(line)

    found = read(body, address_lines, made)
    if len(found) > _MAX_ADDRESSES:
        raise UsageError(f"found {len(found)} addresses, expected at most {_MAX_ADDRESSES} in one batch")
    return found


def _request(line: AddressLine) -> Any:
    if line.address:
        return lambda n: i.Claim(n, line.container, parse_address(line.address).value)
    subnet = parse_address(f"net:{line.subnet}").value if line.subnet else ""
    return lambda n: i.Allocate(n, line.container, subnet)


def _said(found: list[tuple[int, AddressLine]], answers: list[Answer | UsageError]) -> Json:
    return Json(
        {
            "entries": [
                {"container": line.container, "addresses": [answer] if isinstance(answer, str) else list(answer or ())}
                for (_, line), answer in zip(found, answers, strict=True)
                if not isinstance(answer, UsageError)
            ]
        }
    )


ROUTES = (
    ControlRoute("POST", "/names", lambda p, q: add_names(p, q.body), Access.CHANGE, Takes.LINES),
    ControlRoute("DELETE", "/names", lambda p, q: remove_names(p, q.body), Access.CHANGE, Takes.LINES),
    ControlRoute("POST", "/ips", lambda p, q: allocate(p, q.body), Access.CHANGE, Takes.LINES),
    ControlRoute("DELETE", "/ips", lambda p, q: release(p, q.body), Access.CHANGE, Takes.LINES),
)

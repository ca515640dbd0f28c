"""Netlink messages packed by hand are the bytes that pyroute2 encodes."""

from typing import Any

import pytest

from overlay.kernel import packed, rtnl
from overlay.kernel.messages import RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_NEWNEIGH
from overlay.kernel.netlink import AddressMessage, LinkMessage, NeighbourMessage, NetlinkRequest

MAC = "02:00:0a:ff:00:01"


def _message(make: Any, attributes: list[tuple[str, Any]], **fields: int) -> Any:
    message = make()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    return message


def _neighbour(family: int, state: int, flags: int, *attributes: tuple[str, Any]) -> Any:
    return _message(NeighbourMessage, list(attributes), family=family, ifindex=7, state=state, flags=flags)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (RTM_GETLINK, packed.link_query(), _message(LinkMessage, [])),
        (RTM_GETLINK, packed.link_query("weave"), _message(LinkMessage, [("IFLA_IFNAME", "weave")])),
        (RTM_GETLINK, packed.link_query("vethwe-1234567"), _message(LinkMessage, [("IFLA_IFNAME", "vethwe-1234567")])),
        (RTM_GETADDR, packed.address_query(), _message(AddressMessage, [])),
        (RTM_GETADDR, packed.address_query(2), _message(AddressMessage, [], family=2)),
        (RTM_GETNEIGH, packed.neighbour_query(), _message(NeighbourMessage, [])),
        (RTM_GETNEIGH, packed.neighbour_query(7), _message(NeighbourMessage, [], family=7)),
    ],
)
def test_queries(kind: int, body: bytes, message: Any) -> None:
    assert NetlinkRequest(kind, body, flags=0x300).encode(9) == NetlinkRequest(kind, message, flags=0x300).encode(9)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (rtnl.replace_bridge_fdb(7, MAC), _neighbour(7, 0x40, 0x44, ("NDA_LLADDR", MAC))),
        (
            rtnl.replace_vxlan_fdb(7, MAC, "192.0.2.1"),
            _neighbour(7, 0x80, 2, ("NDA_DST", "192.0.2.1"), ("NDA_LLADDR", MAC)),
        ),
        (
            rtnl.replace_vxlan_fdb(7, MAC, "fe80::1", 12),
            _neighbour(7, 0x80, 2, ("NDA_DST", "fe80::1"), ("NDA_LLADDR", MAC), ("NDA_IFINDEX", 12)),
        ),
        (
            rtnl.replace_neighbour(7, "10.32.0.1", MAC),
            _neighbour(2, 0x80, 0, ("NDA_DST", "10.32.0.1"), ("NDA_LLADDR", MAC)),
        ),
        (
            rtnl.replace_neighbour(7, "fd00::5", MAC),
            _neighbour(10, 0x80, 0, ("NDA_DST", "fd00::5"), ("NDA_LLADDR", MAC)),
        ),
    ],
)
def test_neighbours(request_: NetlinkRequest, message: Any) -> None:
    reference = NetlinkRequest(RTM_NEWNEIGH, message, flags=request_.flags)
    assert request_.encode(1 << 20) == reference.encode(1 << 20)


def test_neighbours_that_are_removed() -> None:
    flood = rtnl.del_fdb(7, rtnl.ALL_ZERO, rtnl.NTF_SELF, "192.0.2.9")
    wanted = _neighbour(7, 0, 2, ("NDA_DST", "192.0.2.9"), ("NDA_LLADDR", rtnl.ALL_ZERO))
    assert flood.encode(3) == NetlinkRequest(flood.kind, wanted).encode(3)
    gone = rtnl.del_neighbour(7, "fd00::5")
    assert gone.encode(3) == NetlinkRequest(gone.kind, _neighbour(10, 0, 0, ("NDA_DST", "fd00::5"))).encode(3)
    with pytest.raises(OSError, match="illegal"):
        rtnl.del_neighbour(7, "fd00::zz")

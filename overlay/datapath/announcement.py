"""Frames that tell neighbour caches about a changed MAC. Works on bytes; knows neither sockets nor receivers."""

from ipaddress import ip_address
from struct import pack

from overlay.datapath.inner import ones_sum

__all__ = ["announcement"]

ARP = 0x0806
IPV6 = 0x86DD
_ICMPV6 = 58
_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_TARGET_LINK_LAYER = 2


def announcement(address: str, mac: str) -> bytes:
    """A broadcast frame that announces `mac` for `address`; a host with a cache entry for it updates that at once.

    IPv4: a gratuitous ARP request (RFC 5227, 3). IPv6: an unsolicited advertisement that overrides (RFC 4861, 7.2.6).
    """
    hardware = bytes.fromhex(mac.replace(":", ""))
    found = ip_address(address)
    if found.version == 4:
        body = pack("!HHBBH", 1, 0x0800, 6, 4, 1) + hardware + found.packed + bytes(6) + found.packed
        return b"\xff" * 6 + hardware + pack("!H", ARP) + body
    everybody = b"\xff\x02" + bytes(13) + b"\x01"
    body = pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + found.packed + pack("!BB", _TARGET_LINK_LAYER, 1) + hardware
    total = 65535 - ones_sum(found.packed + everybody + pack("!II", len(body), _ICMPV6) + body)
    body = body[:2] + pack("!H", total) + body[4:]
    header = pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + found.packed + everybody
    return b"\x33\x33\x00\x00\x00\x01" + hardware + pack("!H", IPV6) + header + body

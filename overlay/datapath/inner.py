"""Operations on the Ethernet frames in the tunnel: splitting, joining, checksums, and "too big" replies.

Works on bytes alone. Knows IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293) and UDP far enough to cut a packet at the
right places; must not know peers, sessions or sockets. Frames that it does not recognise stay unchanged.
"""

from enum import IntEnum
from struct import Struct as Layout
from typing import Final

from msgspec import Struct

ETHERNET: Final = 14
_IPV4_TYPE: Final = b"\x08\x00"
_IPV6_TYPE: Final = b"\x86\xdd"
_TCP: Final = 6
_UDP: Final = 17
_ICMP: Final = 1
_ICMPV6: Final = 58
_DF: Final = 0x4000
_MF: Final = 0x2000
_OFFSET: Final = 0x1FFF
_FIN_PSH: Final = 0x09
_CWR: Final = 0x80
_CHECKSUM_AT: Final = {_TCP: 16, _UDP: 6}
_IPV4_MINIMUM: Final = 68
"""The smallest MTU of a link that carries IPv4 (RFC 791); a path with a smaller MTU cannot exist."""

VNET: Final = Layout("=BBHHHH")
"""`struct virtio_net_hdr` (virtio 1.2, 5.1.6) in host byte order: flags, gso_type, hdr_len, gso_size, csum_start,
csum_offset. It precedes every frame of a packet socket with PACKET_VNET_HDR."""
NEEDS_CSUM: Final = 1


class Gso(IntEnum):
    """`gso_type` of a virtio-net header: into what kind of packets a frame above the MTU is cut."""

    NONE = 0
    TCPV4 = 1
    TCPV6 = 4
    UDP_L4 = 5


_PLAIN: Final = VNET.pack(0, Gso.NONE, 0, 0, 0, 0)


class Layers(Struct, frozen=True):
    """The offsets of a frame's layers. `transport` is 0 without a whole, unfragmented TCP or UDP header."""

    version: int
    protocol: int
    transport: int
    end: int
    """The end of the transport header, where its payload begins."""


def layers(frame: bytes) -> Layers | None:
    """The layers of an IP frame with a complete header; None for anything else, and for IPv6 extension headers."""
    kind = frame[12:14]
    if kind == _IPV4_TYPE and len(frame) >= ETHERNET + 20:
        transport = ETHERNET + (frame[14] & 15) * 4
        if frame[14] >> 4 != 4 or transport < ETHERNET + 20 or len(frame) < transport:
            return None
        protocol = frame[23]
        if (frame[20] << 8 | frame[21]) & (_MF | _OFFSET):
            return Layers(4, protocol, 0, 0)
        version = 4
    elif kind == _IPV6_TYPE and len(frame) >= ETHERNET + 40 and frame[14] >> 4 == 6:
        protocol, transport, version = frame[20], ETHERNET + 40, 6
    else:
        return None
    if protocol == _TCP and len(frame) >= transport + 20:
        end = transport + (frame[transport + 12] >> 4) * 4
        if end >= transport + 20 and len(frame) >= end:
            return Layers(version, protocol, transport, end)
    elif protocol == _UDP and len(frame) >= transport + 8:
        return Layers(version, protocol, transport, transport + 8)
    return Layers(version, protocol, 0, 0)


def ones_sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071), 0 to 65534; an odd byte counts as a high byte.

    2^16 is 1 modulo 65535, so the whole buffer as one number has the same remainder as the sum of its words.
    """
    number = int.from_bytes(data, "big")
    return (number << 8 if len(data) & 1 else number) % 65535


def _pseudo_sum(frame: bytes, found: Layers, length: int) -> int:
    addresses = frame[26:34] if found.version == 4 else frame[22:54]
    return ones_sum(addresses) + found.protocol + length


def partial_sum(frame: bytes, found: Layers, length: int) -> bytes:
    """The two bytes of the checksum field in a segment of `length` bytes whose checksum must be completed later."""
    return (_pseudo_sum(frame, found, length) % 65535).to_bytes(2, "big")


def completed(frame: bytes, start: int, offset: int) -> bytes:
    """`frame` with the checksum at `start + offset` computed over all bytes from `start` on, as a network card does it.

    Raises `IndexError` if there is no such place.
    """
    at = start + offset
    if not ETHERNET <= start <= at <= len(frame) - 2:
        raise IndexError(f"checksum at {start} + {offset} of {len(frame)} bytes")
    total = 65535 - ones_sum(frame[start:])
    return frame[:at] + (total or 65535).to_bytes(2, "big") + frame[at + 2 :]


def finished(frame: bytes, found: Layers) -> bytes:
    """`frame` with its TCP or UDP checksum computed, whatever the field contains."""
    at = found.transport + _CHECKSUM_AT[found.protocol]
    summed = partial_sum(frame, found, len(frame) - found.transport)
    return completed(frame[:at] + summed + frame[at + 2 :], found.transport, _CHECKSUM_AT[found.protocol])


def _ipv4_checked(header: bytes) -> bytes:
    total = 65535 - ones_sum(header[:10] + header[12:])
    return header[:10] + (total % 65535).to_bytes(2, "big") + header[12:]


def with_length(head: bytes, found: Layers, length: int) -> bytes:
    """The headers `head` of a frame, updated for `length` bytes of payload, with a correct IP checksum."""
    if found.version == 6:
        return head[:18] + (len(head) - ETHERNET - 40 + length).to_bytes(2, "big") + head[20:]
    header = head[14:16] + (len(head) - ETHERNET + length).to_bytes(2, "big") + head[18 : found.transport]
    return head[:14] + _ipv4_checked(header) + head[found.transport :]


def split_tcp(frame: bytes, found: Layers, size: int) -> list[bytes]:
    """Split a TCP super-packet into packets of at most `size` bytes of payload.

    All packets except the last have the same length. Their TCP checksums must be completed (the field is 0). The flags
    FIN and PSH stay on the last packet, CWR on the first (RFC 3168, 6.1.2).
    """
    transport, end = found.transport, found.end
    total = len(frame) - end
    count = max(1, -(-total // size))
    flags = frame[transport + 13]
    sequence = int.from_bytes(frame[transport + 4 : transport + 8], "big")
    head = with_length(frame[:end], found, min(size, total))
    before, acknowledged = head[: transport + 4], head[transport + 8 : transport + 13]
    after = head[transport + 14 : transport + 16] + bytes(2) + head[transport + 18 :]
    middle = acknowledged + bytes((flags & ~(_FIN_PSH | _CWR),)) + after
    offset = sequence - end
    pieces = [
        before + (offset + start & 0xFFFFFFFF).to_bytes(4, "big") + middle + frame[start : start + size]
        for start in range(end, end + max(1, total), size)
    ]
    if flags & _CWR and count > 1:
        first = pieces[0]
        pieces[0] = first[: transport + 13] + bytes((flags & ~_FIN_PSH,)) + first[transport + 14 :]
    last = pieces[-1]
    head = with_length(last[:end], found, len(last) - end)
    mine = flags if count == 1 else flags & ~_CWR
    pieces[-1] = head[: transport + 13] + bytes((mine,)) + head[transport + 14 :] + last[end:]
    return pieces


def split_udp(frame: bytes, found: Layers, size: int) -> list[bytes]:
    """Split UDP datagrams that the stack passed as one (UDP_SEGMENT), like `split_tcp`."""
    transport, end = found.transport, found.end
    pieces = []
    for start in range(end, len(frame), size):
        payload = frame[start : start + size]
        head = with_length(frame[:end], found, len(payload))
        length = (8 + len(payload)).to_bytes(2, "big")
        pieces.append(head[: transport + 4] + length + bytes(2) + payload)
    return pieces


def offload_header(found: Layers, size: int, many: bool) -> bytes:
    """The virtio-net header of a frame whose TCP or UDP checksum must be completed; `many`: cut at `size`."""
    kind: int = Gso.NONE
    if many:
        kind = (Gso.TCPV4 if found.version == 4 else Gso.TCPV6) if found.protocol == _TCP else Gso.UDP_L4
    at = _CHECKSUM_AT[found.protocol]
    return VNET.pack(NEEDS_CSUM, kind, found.end if many else 0, size if many else 0, found.transport, at)


def plain(frame: bytes) -> list[bytes]:
    """The buffers to write to the port for a complete frame."""
    return [_PLAIN, frame]


def join(frames: list[bytes], found: Layers, size: int) -> list[bytes]:
    """Join consecutive packets of one flow (`same_flow`, `same_datagrams`) to one super-packet, as buffers.

    All packets except the last carry `size` bytes. The kernel completes the checksum, even of a single packet.
    """
    first = frames[0]
    transport, end = found.transport, found.end
    many = len(frames) > 1
    length = (len(frames) - 1) * size + len(frames[-1]) - end
    head = first[:end]
    if many:
        head = with_length(head, found, length)
        if found.protocol == _TCP:
            flags = first[transport + 13] | frames[-1][transport + 13] & _FIN_PSH
            head = head[: transport + 13] + bytes((flags,)) + head[transport + 14 :]
        else:
            head = head[: transport + 4] + (8 + length).to_bytes(2, "big") + head[transport + 6 :]
    at = transport + _CHECKSUM_AT[found.protocol]
    # As the kernel does it: for TCP super-packets it computes the sum for the whole length again when it cuts them.
    check = partial_sum(first, found, end - transport + length)
    head = head[:at] + check + head[at + 2 :]
    return [offload_header(found, size, many), head, *[frame[end:] for frame in frames]]


def whole_packet(frame: bytes, found: Layers) -> bool:
    """Whether the IP packet of this frame has the length that it says. Joined to others it would get the right one."""
    at, before = (16, ETHERNET) if found.version == 4 else (18, ETHERNET + 40)
    return (frame[at] << 8 | frame[at + 1]) == len(frame) - before


def same_flow(first: bytes, other: bytes, found: Layers) -> bool:
    """Whether TCP packet `other` may follow `first` in a super-packet: equal headers except sequence, PSH and FIN.

    IP's total length, identification and checksum may differ, as in GRO.
    """
    transport = found.transport
    if found.version == 4:
        if first[:16] != other[:16] or first[20:24] != other[20:24]:
            return False
        start = 26
    else:
        if first[:18] != other[:18]:
            return False
        start = 20
    return (
        first[start : transport + 4] == other[start : transport + 4]
        and first[transport + 8 : transport + 13] == other[transport + 8 : transport + 13]
        and first[transport + 14 : transport + 16] == other[transport + 14 : transport + 16]
        and first[transport + 18 : found.end] == other[transport + 18 : found.end]
        and not first[transport + 13] & _FIN_PSH
        and (first[transport + 13] & ~_CWR) == other[transport + 13] & ~_FIN_PSH
        and whole_packet(other, found)
    )


def whole_datagram(frame: bytes, found: Layers) -> bool:
    """Whether this UDP datagram has the length that it says, and a payload: others may follow it as one."""
    said = frame[found.transport + 4] << 8 | frame[found.transport + 5]
    return found.end < len(frame) == found.transport + said and whole_packet(frame, found)


def same_datagrams(first: bytes, other: bytes, found: Layers, number: int) -> bool:
    """Whether UDP datagram `other` may be number `number` (from 0) of those that begin with `first`.

    When the kernel cuts them it counts IPv4's identifications up from the first. So they must do so already, unless
    they may not be fragmented, which makes them meaningless (RFC 6864).
    """
    if found.version == 4:
        if first[:16] != other[:16] or first[20:24] != other[20:24] or first[26:34] != other[26:34]:
            return False
        counted = (first[18] << 8 | first[19]) + number & 0xFFFF
        if not first[20] & 0x40 and counted != other[18] << 8 | other[19]:
            return False
        options = ETHERNET + 20
    else:
        if first[:18] != other[:18]:
            return False
        options = 20
    return first[options : found.transport + 4] == other[options : found.transport + 4] and whole_datagram(other, found)


def fragments(frame: bytes, mtu: int) -> list[bytes]:
    """Split an IPv4 frame without DF into fragments for links of MTU `mtu` (RFC 791); [] if that is impossible.

    The transport checksum must be complete.
    """
    if frame[12:14] != _IPV4_TYPE or len(frame) < ETHERNET + 20 or mtu < _IPV4_MINIMUM:
        return []
    word = frame[20] << 8 | frame[21]
    end = ETHERNET + (frame[14] & 15) * 4
    total = ETHERNET + (frame[16] << 8 | frame[17])
    if word & _DF or not ETHERNET + 20 <= end <= total <= len(frame):
        return []
    room = (mtu - (end - ETHERNET)) & ~7
    if room <= 0:
        return []
    pieces = []
    base = word & _OFFSET
    for start in range(end, total, room):
        payload = frame[start : min(start + room, total)]
        more = _MF if start + room < total else word & _MF
        place = (base + (start - end) // 8 & _OFFSET) | more
        header = frame[14:16] + (end - ETHERNET + len(payload)).to_bytes(2, "big") + frame[18:20]
        header += place.to_bytes(2, "big") + frame[22:end]
        pieces.append(frame[:14] + _ipv4_checked(header) + payload)
    return pieces


def too_big(frame: bytes, mtu: int) -> bytes | None:
    """The reply to a frame that is too big and must not be cut: a frame to its sender, or None if no reply is allowed.

    ICMP "fragmentation needed" (RFC 1191, 4) or ICMPv6 "packet too big" (RFC 4443, 3.2), with the packet's destination
    as its source. ICMP errors and multicasts get no reply.
    """
    found = layers(frame)
    if found is None or frame[0] & 1 or frame[6] & 1:
        return None
    ethernet = frame[6:12] + frame[:6] + frame[12:14]
    if found.version == 4:
        end = ETHERNET + (frame[14] & 15) * 4
        if frame[30] >= 224 or (found.protocol == _ICMP and len(frame) > end and frame[end] not in (0, 8)):
            return None
        body = b"\x03\x04" + bytes(4) + mtu.to_bytes(2, "big") + frame[14 : end + 8]
        body = body[:2] + ((65535 - ones_sum(body)) % 65535).to_bytes(2, "big") + body[4:]
        header = b"\x45\x00" + (20 + len(body)).to_bytes(2, "big") + bytes(4) + b"\x40\x01" + bytes(2)
        return ethernet + _ipv4_checked(header + frame[30:34] + frame[26:30]) + body
    if frame[38] == 0xFF or (found.protocol == _ICMPV6 and len(frame) > 54 and frame[54] < 128):
        return None
    body = b"\x02\x00" + bytes(2) + max(mtu, 0).to_bytes(4, "big") + frame[14 : 14 + 1232]
    addresses = frame[38:54] + frame[22:38]
    total = ones_sum(addresses + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body)
    body = body[:2] + ((65535 - total) % 65535 or 65535).to_bytes(2, "big") + body[4:]
    return ethernet + b"\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x3a\x40" + addresses + body

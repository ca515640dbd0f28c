"""A plain netlink socket of any family: batched requests, synchronous answers, no event loop.

Owns framing, acknowledgements and error codes. pyroute2 defines the message formats. Its own sockets are not usable
here: the synchronous one refuses to run inside a running event loop, and the asynchronous one would let other effects
overtake a kernel change. `bridge`, `forwarding` and `attach` decide what to request.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

from overlay.kernel import packed
from overlay.kernel.messages import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETNSID,
    RTM_GETROUTE,
    ctrlmsg,
    ifaddrmsg,
    ifinfmsg,
    ndmsg,
    nsidmsg,
    rtmsg,
)

__all__ = [
    "GENERIC",
    "AddressMessage",
    "LinkFacts",
    "LinkMessage",
    "NeighbourMessage",
    "Netlink",
    "NetlinkError",
    "NetlinkRequest",
    "RouteMessage",
    "attributes",
    "error_of",
]

_BATCH = 64
"""Requests in one system call; their acknowledgements fit easily into the default receive buffer."""

_TRIES = 20
"""Maximum number of interrupted dumps in a row. Any program on the host interrupts a dump by changing a table."""
_INTERRUPTED = 0x10
"""NLM_F_DUMP_INTR: the table changed during the dump."""

GENERIC = 16
"""NETLINK_GENERIC."""
_CONTROL = 0x10
"""The family that resolves the numbers of all others, and the request for it."""
_GET_FAMILY = 3

_HEADER = 16
_AF_BRIDGE = 7
_NTF_SELF = 0x02
_IFLA_IFNAME = 3
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_NDA_LLADDR = 2
_NDA_CACHEINFO = 3
_NETNSA_NSID = 1
# pyroute2 has no annotations; these names give its messages the type Any in one place.
LinkMessage: Any = ifinfmsg
AddressMessage: Any = ifaddrmsg
NeighbourMessage: Any = ndmsg
RouteMessage: Any = rtmsg
_ControlMessage: Any = ctrlmsg
_NamespaceMessage: Any = nsidmsg

_DUMPS: dict[int, Any] = {
    RTM_GETLINK: LinkMessage,
    RTM_GETADDR: AddressMessage,
    RTM_GETNEIGH: NeighbourMessage,
    RTM_GETROUTE: RouteMessage,
}


class LinkFacts(Struct, frozen=True):
    """An interface; `kind` is "" for hardware."""

    index: int
    name: str
    kind: str


class NetlinkError(OSError):
    """The kernel refused a request; `errno` is the reason, `request` the request."""

    def __init__(self, code: int, request: "NetlinkRequest") -> None:
        super().__init__(code, f"{os.strerror(code)} (netlink: {request.what})")
        self.request = request


class NetlinkRequest:
    """One message for the kernel. `ignore`: error numbers that mean that the state is already as requested."""

    __slots__ = ("flags", "ignore", "kind", "message", "what")

    def __init__(self, kind: int, message: Any, *, flags: int = 0, ignore: Sequence[int] = (), what: str = "") -> None:
        """`message`: of pyroute2, or the packed body."""
        self.kind = kind
        self.message = message
        self.flags = flags
        self.ignore = frozenset(ignore)
        self.what = what

    def encode(self, sequence: int) -> bytes:
        """The message as bytes."""
        message, flags = self.message, NLM_F_REQUEST | NLM_F_ACK | self.flags
        if isinstance(message, bytes):
            return struct.pack("=IHHII", _HEADER + len(message), self.kind, flags, sequence, 0) + message
        message["header"]["type"] = self.kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = sequence
        message.reset()
        message.encode()
        return bytes(message.data)


class Netlink:
    """A netlink socket in the network namespace of the thread that creates it."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        """`protocol`: rtnetlink, or `GENERIC`. Raises `OSError`."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        # If the kernel never answers, that is a bug in the kernel; blocking the event loop would hide it.
        self._socket.settimeout(5.0)
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, requests: Iterable[NetlinkRequest]) -> None:
        """Carry out all requests in order, even if some fail; then raise the first `NetlinkError` that is not
        ignored."""
        pending = list(requests)
        first: NetlinkError | None = None
        for start in range(0, len(pending), _BATCH):
            batch = pending[start : start + _BATCH]
            base = self._sequence + 1
            self._sequence += len(batch)
            self._socket.send(b"".join(request.encode(base + i) for i, request in enumerate(batch)))
            missing = len(batch)
            while missing:
                for kind, _, sequence, payload in self._receive():
                    if kind != NLMSG_ERROR or not base <= sequence < base + len(batch):
                        continue
                    missing -= 1
                    code = error_of(payload)
                    request = batch[sequence - base]
                    if code and code not in request.ignore and first is None:
                        first = NetlinkError(code, request)
        if first is not None:
            raise first

    def one(self, request: NetlinkRequest) -> None:
        """Carry out one request."""
        self.run((request,))

    def dump(self, kind: int, family: int = 0) -> list[Any]:
        """All objects of a kind (`RTM_GETLINK`, `…ADDR`, `…NEIGH`, `…ROUTE`), decoded."""
        message = _DUMPS[kind]()
        message["family"] = family
        what = f"dump {message.__class__.__name__}"
        return [
            _decoded(kind, payload) for payload in self.raw(NetlinkRequest(kind, message, flags=NLM_F_DUMP, what=what))
        ]

    def family(self, name: str) -> int:
        """The id of a generic netlink family, used as message type. Raises `NetlinkError` if there is none."""
        message = _ControlMessage()
        message["cmd"], message["version"] = _GET_FAMILY, 1
        message["attrs"] = [("CTRL_ATTR_FAMILY_NAME", name)]
        (payload,) = self.raw(NetlinkRequest(_CONTROL, message, what=f"generic netlink family {name}"))
        answer = _ControlMessage(payload)
        answer.decode()
        return int(answer.get_attr("CTRL_ATTR_FAMILY_ID"))

    def forwarding_ages(self, port: int) -> list[tuple[str, int]]:
        """(MAC, clock ticks since its last use) for the entries of a bridge port.

        Parsed by hand, because it is read every second and pyroute2's decoder takes fifty times as long.
        """
        query = packed.neighbour_query(_AF_BRIDGE)
        found = []
        for payload in self.raw(NetlinkRequest(RTM_GETNEIGH, query, flags=NLM_F_DUMP, what="dump forwarding")):
            if int.from_bytes(payload[20:24], "little") != port or payload[26] & _NTF_SELF:
                continue
            mac, used = "", -1
            for kind, value in attributes(payload[28:]):
                if kind == _NDA_LLADDR:
                    mac = value[:6].hex(":")
                elif kind == _NDA_CACHEINFO:
                    used = int.from_bytes(value[4:8], "little")
            if mac and used >= 0:
                found.append((mac, used))
        return found

    def links(self) -> list[LinkFacts]:
        """All interfaces. Parsed by hand, because it is read at every change of an interface."""
        found = []
        for payload in self.raw(NetlinkRequest(RTM_GETLINK, packed.link_query(), flags=NLM_F_DUMP, what="dump links")):
            fields = dict(attributes(payload[_HEADER + 16 :]))
            kind = dict(attributes(fields.get(_IFLA_LINKINFO, b""))).get(_IFLA_INFO_KIND, b"")
            index = int.from_bytes(payload[_HEADER + 4 : _HEADER + 8], "little")
            found.append(LinkFacts(index, _text(fields.get(_IFLA_IFNAME, b"")), _text(kind)))
        return found

    def addresses(self) -> list[str]:
        """All addresses of this host, as literals without zone."""
        found = []
        for payload in self._raw_addresses():
            fields = dict(attributes(payload[_HEADER + 8 :]))
            packed = fields.get(_IFA_LOCAL, fields.get(_IFA_ADDRESS, b""))
            if len(packed) in (4, 16):
                found.append(str(ip_address(packed)))
        return found

    def holder(self, literal: str) -> int:
        """The index of the interface with this address; 0 if there is none."""
        wanted = ip_address(literal.partition("%")[0]).packed
        for payload in self._raw_addresses():
            fields = dict(attributes(payload[_HEADER + 8 :]))
            if wanted == fields.get(_IFA_LOCAL, fields.get(_IFA_ADDRESS)):
                return int.from_bytes(payload[_HEADER + 4 : _HEADER + 8], "little")
        return 0

    def _raw_addresses(self) -> list[bytes]:
        return self.raw(NetlinkRequest(RTM_GETADDR, packed.address_query(), flags=NLM_F_DUMP, what="dump addresses"))

    def namespace(self, descriptor: int) -> int:
        """The id of another network namespace in this one (IFLA_LINK_NETNSID); -1 if it has none.

        The kernel assigns an id when it reports a link that leads to that namespace.
        """
        message = _NamespaceMessage()
        message["attrs"] = [("NETNSA_FD", descriptor)]
        for payload in self.raw(NetlinkRequest(RTM_GETNSID, message, what="number of a network namespace")):
            found = dict(attributes(payload[_HEADER + 4 :])).get(_NETNSA_NSID, b"")
            return int.from_bytes(found, "little", signed=True) if found else -1
        return -1

    def index(self, name: str) -> int:
        """The index of an interface; 0 if there is none of that name. Not decoded, because it is asked often."""
        payload = self._raw_link(name)
        return int.from_bytes(payload[_HEADER + 4 : _HEADER + 8], "little")

    def link(self, name: str) -> Any | None:
        """The decoded link of that name, or None."""
        payload = self._raw_link(name)
        return _decoded(RTM_GETLINK, payload) if payload else None

    def _raw_link(self, name: str) -> bytes:
        """The link of that name; empty if there is none."""
        try:
            found = self.raw(NetlinkRequest(RTM_GETLINK, packed.link_query(name), what=f"get link {name}"))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return b""
            raise
        return found[0] if found else b""

    def raw(self, request: NetlinkRequest) -> list[bytes]:
        """All replies to a request, undecoded.

        Raises `NetlinkError`, with EINTR if the tables change too often to be read now.
        """
        for _ in range(_TRIES):
            self._sequence += 1
            self._socket.send(request.encode(self._sequence))
            found, interrupted = self._answers(request)
            if not interrupted:
                return found
        raise NetlinkError(errno.EINTR, request)

    def _answers(self, request: NetlinkRequest) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, answered, payload in self._receive():
                if answered != self._sequence:
                    continue
                interrupted |= bool(flags & _INTERRUPTED)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    code = error_of(payload)
                    if code not in (0, errno.EINTR):
                        raise NetlinkError(code, request)
                    return found, interrupted or code == errno.EINTR
                found.append(payload)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        """(kind, flags, sequence, the whole message) of the next messages."""
        data = self._socket.recv(1 << 18)
        offset = 0
        while offset + _HEADER <= len(data):
            length, kind, flags, sequence = struct.unpack_from("=IHHI", data, offset)
            yield kind, flags, sequence, data[offset : offset + length]
            offset += (length + 3) & ~3


def _decoded(kind: int, payload: bytes) -> Any:
    message = _DUMPS[kind](payload)
    message.decode()
    return message


def error_of(payload: bytes) -> int:
    """The error number in the final message of a reply; 0: no error."""
    return -int.from_bytes(payload[_HEADER : _HEADER + 4], "little", signed=True)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each attribute."""
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 2], "little")
        yield int.from_bytes(data[at + 2 : at + 4], "little") & 0x3FFF, data[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")

"""The probe `dns`: one query over UDP for the addresses of a name, sent to the overlay's name server."""

import socket
from select import EPOLLIN

from dnslib import AAAA, EDNS0, RCODE, A, DNSError, DNSRecord

from lab.contracts.lab import Probe
from lab.contracts.probe import Done, Poller, SharedByTries, SimulatedTry
from lab.kinds.probes import ProbeKind
from lab.probes.tries import SocketTry

__all__ = ["KIND", "DnsTry"]

_UDP_ANSWER = 4096
"""The maximum UDP response size that we announce (EDNS0, RFC 6891)."""


class DnsTry(SocketTry):
    """A query for A records of `probe.target` (for a name ending in `/AAAA`: AAAA); ok when there is an answer."""

    __slots__ = ("_id",)

    def start(self, poller: Poller, done: Done) -> None:
        name, _, kind = self.probe.target.partition("/")
        query = DNSRecord.question(name, kind or "A")  # type: ignore[no-untyped-call]
        query.add_ar(EDNS0(udp_len=_UDP_ANSWER))  # type: ignore[no-untyped-call]
        self._id = query.header.id = self.number & 0xFFFF
        self.open(poller, done, socket.SOCK_DGRAM, self.probe.port or 53, EPOLLIN).send(query.pack())

    def ready(self) -> None:
        data = self.received(65536)
        if data is None:
            return
        try:
            answer = DNSRecord.parse(data)  # type: ignore[no-untyped-call]
        except DNSError:
            self.done(self, False, "malformed answer", ())
            return
        if answer.header.id != self._id or not answer.header.qr:
            return
        found = tuple(sorted({str(record.rdata) for record in answer.rr if isinstance(record.rdata, A | AAAA)}))
        problem = ""
        if answer.header.rcode:
            problem = RCODE.get(answer.header.rcode)  # type: ignore[no-untyped-call]
        elif answer.header.tc:
            problem = "truncated"
        elif not found:
            problem = "no records"
        self.done(self, not problem, problem, found)


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> DnsTry:
    return DnsTry(probe, due, number)


def _simulate(attempt: SimulatedTry) -> None:
    attempt.resolve()


KIND = ProbeKind(
    name="dns",
    title="DNS",
    about="a query for the A records of `name` (`name/AAAA`: the AAAA records), to the overlay's name server on the "
    "same host; good with at least one address",
    asks="name",
    protocol="udp",
    attempt=_attempt,
    simulate=_simulate,
)

"""What a link does to numbered datagrams, measured from both ends: for `lab doctor --links` and the benchmarks.

    python -m lab.probes.one_way receive PORT SECONDS       prints a JSON line once nothing came for SECONDS
    python -m lab.probes.one_way send SIZE RATE COUNT PORT ADDRESS...   RATE a second, to these in turn

Both ends must be on one machine, because they compare its clock. Arrival is the kernel's time stamp, so that a receiver
which is not scheduled for a while measures nothing of itself. Owns the form of the datagrams and the arithmetic.
"""

import contextlib
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

__all__ = ["NumberedFlow", "main"]

_HEAD = struct.Struct("!IQ")
"""Number, send time."""
_STAMP = struct.Struct("@qq")
_TIMESTAMPNS, _RCVBUFFORCE = 35, 33
_BUFFER = 32 << 20
_AHEAD = 0.0002
"""Seconds before a datagram's send time in which the sender polls instead of sleeping."""
_PATIENCE = 30.0
"""Seconds within which the first datagram must arrive."""


class NumberedFlow:
    """Datagrams from one sender address."""

    def __init__(self) -> None:
        self.delays: list[int] = []
        self.bytes = 0
        self.first = self.last = 0
        self._seen: set[int] = set()
        self.duplicates = self.overtaken = 0
        self._highest = -1

    def add(self, data: bytes, at: int) -> None:
        """Record one datagram that arrived at this time."""
        if len(data) < _HEAD.size:
            return
        number, sent = _HEAD.unpack_from(data)
        self.last, self.first = at, self.first or at
        self.bytes += len(data)
        if number in self._seen:
            self.duplicates += 1
            return
        self._seen.add(number)
        self.delays.append(at - sent)
        self.overtaken += number < self._highest
        self._highest = max(self._highest, number)

    def result(self) -> dict[str, Any]:
        """The statistics; times in nanoseconds."""
        ordered = sorted(self.delays)
        count = len(ordered)
        mean = sum(ordered) / count if count else 0.0
        spread = (sum((value - mean) ** 2 for value in ordered) / count) ** 0.5 if count else 0.0
        percents = {f"p{part}": ordered[min(count * part // 100, count - 1)] if count else 0 for part in (1, 50, 99)}
        return {
            "count": count, "bytes": self.bytes, "took": self.last - self.first, "spread": round(spread),
            "duplicates": self.duplicates, "overtaken": self.overtaken, **percents,
        }  # fmt: skip


def receive(port: int, quiet: float) -> dict[str, dict[str, Any]]:
    """Receive at a port until nothing arrives for `quiet` seconds: sender address -> statistics."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        for option in (_RCVBUFFORCE, socket.SO_RCVBUF):
            with contextlib.suppress(PermissionError):
                found.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
                break
        found.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        found.bind(("", port))
        print("ready", flush=True)
        senders: dict[str, NumberedFlow] = {}
        while select.select([found], [], [], quiet if senders else _PATIENCE)[0]:
            data, notes, _, (address, _) = found.recvmsg(65_536, 64)
            seconds, rest = _STAMP.unpack(notes[0][2])
            if address not in senders:
                senders[address] = NumberedFlow()
            senders[address].add(data, seconds * 1_000_000_000 + rest)
    return {address: one.result() for address, one in senders.items()}


def send(size: int, rate: float, count: int, port: int, addresses: Sequence[str]) -> None:
    """Send `count` datagrams to each address, `rate` a second to all of them together; never before their time."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    targets = [(address, port) for address in addresses]
    padding = bytes(max(size - _HEAD.size, 0))
    begun, clock = time.monotonic(), time.monotonic
    for number in range(count * len(targets)):
        due = begun + number / rate
        if due - clock() > _AHEAD:
            time.sleep(max(due - clock() - _AHEAD / 2, 0))
        while clock() < due:
            pass
        turn, which = divmod(number, len(targets))
        found.sendto(_HEAD.pack(turn, time.time_ns()) + padding, targets[which])


def main(argv: Sequence[str]) -> int:
    """The command; see the module docstring."""
    if argv[0] == "receive":
        print(json.dumps(receive(int(argv[1]), float(argv[2]))), flush=True)
    else:
        send(int(argv[1]), float(argv[2]), int(argv[3]), int(argv[4]), argv[5:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

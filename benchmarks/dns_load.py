"""A client of DNS servers under load: `python -m benchmarks.dns_load flood|paced …` prints one line of JSON.

`flood` keeps a number of queries in flight and counts answers: what a server can do. `paced` sends at a stated rate,
whatever comes back (open loop); the latency of a query counts from the moment when it was due, so a client that is late
does not hide a server that is. Packets are made before, and sent and received in batches. Knows no server.
"""

import argparse
import ctypes
import json
import select
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np

MOST = 1 << 17
"""Prepared queries; their order is random, and repeats."""
ROOM = 512
BATCH = 256
SILENCE = 0.05
"""Seconds without an answer after which the queries in flight count as lost."""
_DONTWAIT = 0x40
_libc = ctypes.CDLL(None, use_errno=True)
Array = Any


class Row:
    """`mmsghdr` structures for these packets (one line each, of the given lengths), for sendmmsg and recvmmsg."""

    def __init__(self, packets: Array, lengths: Array) -> None:
        count, stride = packets.shape
        self.packets = packets
        self.vectors = np.zeros((count, 2), np.uint64)
        self.vectors[:, 0] = packets.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(stride)
        self.vectors[:, 1] = lengths
        self.headers = np.zeros((count, 8), np.uint64)
        self.headers[:, 2] = self.vectors.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(16)
        self.headers[:, 3] = 1

    def call(self, name: str, sock: socket.socket, first: int, count: int) -> int:
        """Send or receive up to `count` packets; returns how many, 0 for none."""
        at = ctypes.c_void_p(self.headers.ctypes.data + first * 64)
        if name == "sendmmsg":
            return max(0, int(_libc.sendmmsg(sock.fileno(), at, count, _DONTWAIT)))
        return max(0, int(_libc.recvmmsg(sock.fileno(), at, count, _DONTWAIT, None)))


class Client:
    """One socket, and the prepared queries for A records of these names."""

    def __init__(self, server: str, port: int, names: list[str], seed: int) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.connect((server, port))
        wires = [b"".join(bytes((len(part),)) + part.encode() for part in n.split(".") if part) for n in names]
        packets = [b"\0\0\1\0\0\1\0\0\0\0\0\0" + wire + b"\0\0\1\0\1" for wire in wires]
        chosen = np.random.default_rng(seed).integers(0, len(names), MOST)
        widest = max(map(len, packets))
        lines = np.frombuffer(b"".join(packet.ljust(widest, b"\0") for packet in packets), np.uint8)
        table = np.ascontiguousarray(lines.reshape(len(packets), widest)[chosen])
        lengths = np.array([len(packet) for packet in packets], np.uint64)[chosen]
        self._out = Row(table, lengths)
        self._in = Row(np.zeros((BATCH, ROOM), np.uint8), ROOM)
        self._poll = select.poll()
        self._poll.register(self.sock, select.POLLIN)
        self.sent = self.wrong = 0

    def send(self, count: int) -> int:
        """Send the next queries; returns how many the kernel took. Their ids count on."""
        first = self.sent % MOST
        count = min(count, MOST - first, BATCH)
        ids = np.arange(self.sent, self.sent + count)
        self._out.packets[first : first + count, 0] = (ids >> 8) & 255
        self._out.packets[first : first + count, 1] = ids & 255
        done = self._out.call("sendmmsg", self.sock, first, count)
        self.sent += done
        return done

    def receive(self, wait: float) -> Array:
        """The ids of the answers that are there, after waiting at most this number of seconds for the first."""
        number = self._in.call("recvmmsg", self.sock, 0, BATCH)
        if not number and wait > 0:
            self._poll.poll(wait * 1000)
            number = self._in.call("recvmmsg", self.sock, 0, BATCH)
        got = self._in.packets[:number]
        # Each query is for a name with one address: success, one answer.
        self.wrong += int(np.count_nonzero((got[:, 3] & 15 != 0) | (got[:, 7] != 1)))
        return got[:, 0].astype(np.int64) << 8 | got[:, 1]


def flood(client: Client, seconds: float, window: int, least: int = 0) -> dict[str, float]:
    """Answers a second with this number of queries in flight. Goes on until there are `least` answers, on a busy
    machine too, but at most ten times as long."""
    answered = lost = flying = 0
    begun = heard = time.monotonic()
    while (spent := (now := time.monotonic()) - begun) < seconds or (answered < least and spent < 10 * seconds):
        if flying <= window // 2:
            flying += client.send(window - flying)
        got = len(client.receive(SILENCE))
        if got:
            heard = now
            answered += got
            flying = max(0, flying - got)
        elif flying and now - heard >= SILENCE:
            lost += flying
            flying, heard = 0, now
    return {"answered": answered, "lost": lost, "wrong": client.wrong, "rate": answered / (time.monotonic() - begun)}


def paced(client: Client, seconds: float, rate: float) -> dict[str, float]:
    """Latencies at this number of queries a second, in milliseconds from when each was due."""
    due = np.zeros(1 << 16)
    found: list[Array] = []
    total = int(seconds * rate)
    begun = time.monotonic()
    while (now := time.monotonic()) - begun < seconds + 0.5:
        wanted = min(total, int((now - begun) * rate) + 1)
        if wanted > client.sent:
            first = client.sent
            done = client.send(wanted - first)
            numbers = np.arange(first, first + done)
            due[numbers & 0xFFFF] = begun + numbers / rate
        wait = 0.0 if client.sent < min(total, int((time.monotonic() - begun) * rate) + 1) else 0.0002
        ids = client.receive(wait)
        if len(ids):
            found.append((time.monotonic() - due[ids]) * 1000)
        elif client.sent >= total and sum(map(len, found)) >= total:
            break
    times = np.sort(np.concatenate(found)) if found else np.array([float("inf")])
    parts = {f"p{part:g}": float(np.percentile(times, part)) for part in (50, 90, 99, 99.9)}
    return {"sent": client.sent, "lost": client.sent - len(times), "wrong": client.wrong, "rate": rate, **parts}


def main() -> None:
    """As the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("flood", "paced"))
    parser.add_argument("server")
    parser.add_argument("port", type=int)
    parser.add_argument("names", help="a file with a name in each line")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--least", type=int, default=0)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    names = Path(given.names).read_text(encoding="utf-8").split()
    client = Client(given.server, given.port, names, given.seed)
    if given.kind == "flood":
        print(json.dumps(flood(client, given.seconds, given.window, given.least)))
    else:
        print(json.dumps(paced(client, given.seconds, given.rate)))


if __name__ == "__main__":
    main()

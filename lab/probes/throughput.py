"""Bulk throughput and round trip of TCP between two places: two small processes, started by the measuring side.

    python -m lab.probes.throughput server [--netns PATH] [--port N]
    python -m lab.probes.throughput client ADDRESS [--netns PATH] [--port N] [--seconds S] [--rounds R]

The server prints one line (`listening PORT`) once it is ready and serves until its standard input ends. The client
prints one JSON object: `throughput` (bits per second, counted where it was received) and `round_trip` (ns), each with
`median` and all `rounds`; round trips also `p90` and `p99`. Both know nothing of what carries the packets, so that each
candidate is measured alike: large `sendfile` calls from memory on one kernel socket, requests of one byte with Nagle's
algorithm off, the congestion control that the kernel has anyway, a warm-up that is not counted.
"""

import argparse
import json
import os
import select
import socket
import statistics
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from lab.probes.namespaces import NamespaceGone, Spaces

__all__ = ["main", "measure", "serve"]

PORT = 5201
_BLOCK = 4 << 20
_RECEIVE = 1 << 20
_BULK, _ECHO, _PACKETS = b"B", b"E", b"P"
_SMALL = 64
"""Bytes of a small datagram."""
FLOOD = 1350
"""Bytes of a datagram of a flood: what fits every overlay on Ethernet."""
_TOTAL = struct.Struct("!QQ")
"""The server's report at the end of a bulk round: bytes received, nanoseconds from the first to the last."""
_WARM_UP = 0.3
"""Seconds at the beginning of each round that do not count, because slow start is not compared."""


def serve(port: int, stop: int = 0) -> None:
    """Serve one connection after the other until `stop` (a descriptor) is readable; prints when it listens."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    listener = socket.create_server(("", port), family=family, dualstack_ipv6=family == socket.AF_INET6)
    with listener:
        print(f"listening {listener.getsockname()[1]}", flush=True)
        while True:
            ready, _, _ = select.select([listener.fileno(), stop], [], [])
            if stop in ready:
                return
            connection, _ = listener.accept()
            with connection:
                try:
                    _answer(connection)
                except (ConnectionError, TimeoutError):
                    # The client has disconnected: serve the next one.
                    continue


def _answer(connection: socket.socket) -> None:
    connection.settimeout(60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    kind = connection.recv(1)
    if kind == _ECHO:
        while data := connection.recv(1):
            connection.sendall(data)
    elif kind == _PACKETS:
        _count(connection)
    elif kind == _BULK:
        buffer = bytearray(_RECEIVE)
        first = last = 0
        total = 0
        begin = time.monotonic_ns() + int(_WARM_UP * 1e9)
        while count := connection.recv_into(buffer):
            last = time.monotonic_ns()
            if last < begin:
                continue
            if not first:
                # Data of this call arrived before the clock starts.
                first = last
                continue
            total += count
        connection.sendall(_TOTAL.pack(total, last - first))


def _count(connection: socket.socket) -> None:
    """Count datagrams at a port that the client is told, until the client reports that it has sent all."""
    with socket.socket(connection.family, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        connection.sendall(sock.getsockname()[1].to_bytes(2, "big"))
        buffer = bytearray(2 * FLOOD)
        total = first = last = 0
        poll = select.poll()
        for each in (sock, connection):
            poll.register(each, select.POLLIN)
        while True:
            ready = [number for number, _ in poll.poll()]
            if sock.fileno() in ready:
                with suppress(BlockingIOError):
                    while sock.recv_into(buffer, 0, socket.MSG_DONTWAIT):
                        total += 1
                last = time.monotonic_ns()
                first = first or last
            elif connection.fileno() in ready:
                connection.sendall(_TOTAL.pack(total, last - first))
                return


def measure(address: str, port: int, seconds: float, rounds: int, only: str = "") -> dict[str, object]:
    """Run all rounds against a server; raises `OSError` when it cannot be reached.

    `only`: "bulk", "flood" (datagrams as fast as they can be sent), or "rest" for round trips and small datagrams;
    default: throughput and round trips.
    """
    if only == "flood":
        floods = [_datagrams(address, port, seconds, FLOOD) for _ in range(rounds)]
        return {
            "goodput": {"median": round(statistics.median(rate * FLOOD * 8 for rate, _ in floods))},
            "lost": {"median": statistics.median(lost for _, lost in floods)},
        }
    if only == "bulk":
        rates = [_bulk(address, port, seconds) for _ in range(rounds)]
        return {"throughput": {"median": round(statistics.median(rates)), "rounds": [round(rate) for rate in rates]}}
    if only == "rest":
        small = [_datagrams(address, port, seconds, _SMALL) for _ in range(rounds)]
        return {
            "round_trip": _trips([_echo(address, port, seconds) for _ in range(rounds)]),
            "small_packets": {
                "median": round(statistics.median(rate for rate, _ in small)),
                "rounds": [round(rate) for rate, _ in small],
                "lost": statistics.median(lost for _, lost in small),
            },
        }
    bulk = [_bulk(address, port, seconds) for _ in range(rounds)]
    echo = [_echo(address, port, seconds) for _ in range(rounds)]
    return {
        "throughput": {"median": round(statistics.median(bulk)), "rounds": [round(value) for value in bulk]},
        "round_trip": _trips(echo),
    }


def _trips(echo: list[list[int]]) -> dict[str, object]:
    medians = [round(statistics.median(times)) for times in echo]
    everything = sorted(value for times in echo for value in times)
    return {
        "median": round(statistics.median(medians)),
        "p90": everything[len(everything) * 90 // 100],
        "p99": everything[len(everything) * 99 // 100],
        "rounds": medians,
    }


def _connect(address: str, port: int) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _bulk(address: str, port: int, seconds: float) -> float:
    """Bits per second in one round."""
    with open(os.memfd_create("bulk"), "wb+", buffering=0) as block, _connect(address, port) as connection:
        os.truncate(block.fileno(), _BLOCK)
        connection.sendall(_BULK)
        connection.settimeout(None)
        end = time.monotonic() + _WARM_UP + seconds
        while time.monotonic() < end:
            os.sendfile(connection.fileno(), block.fileno(), 0, _BLOCK)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        answer = b""
        while len(answer) < _TOTAL.size:
            data = connection.recv(_TOTAL.size - len(answer))
            if not data:
                raise ConnectionResetError("the server closed before it told what it received")
            answer += data
    total, elapsed = _TOTAL.unpack(answer)
    return float(total * 8 * 1e9 / elapsed) if elapsed else 0.0


def _datagrams(address: str, port: int, seconds: float, size: int) -> tuple[float, float]:
    """Datagrams received per second at the maximum sending rate, and the part of those sent that was lost."""
    sent = 0
    with _connect(address, port) as connection:
        connection.sendall(_PACKETS)
        target = int.from_bytes(connection.recv(2), "big")
        with socket.socket(connection.family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, target))
            end = time.monotonic() + seconds
            payload = bytes(size)
            while time.monotonic() < end:
                with suppress(BlockingIOError, ConnectionError):
                    for _ in range(50):
                        sock.send(payload)
                        sent += 1
        time.sleep(0.2)
        connection.sendall(b".")
        answer = connection.recv(_TOTAL.size)
    total, elapsed = _TOTAL.unpack(answer)
    return float(total * 1e9 / elapsed) if elapsed else 0.0, max(0.0, 1 - total / sent) if sent else 0.0


def _echo(address: str, port: int, seconds: float) -> list[int]:
    """Round trips of one round, in nanoseconds."""
    times: list[int] = []
    with _connect(address, port) as connection:
        connection.sendall(_ECHO)
        start = time.monotonic_ns()
        begin, end = start + int(_WARM_UP * 1e9), start + int((_WARM_UP + seconds) * 1e9)
        while True:
            sent = time.monotonic_ns()
            if sent >= end and times:
                return times
            connection.sendall(b".")
            if not connection.recv(1):
                raise ConnectionResetError("the server closed in the middle")
            if sent >= begin:
                times.append(time.monotonic_ns() - sent)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.probes.throughput")
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("address", nargs="?", default="")
    parser.add_argument("--netns", default="", help="path of the network namespace to measure from")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("bulk", "flood", "rest"), default="", help="one measurement alone")
    parser.add_argument("--at", type=int, default=0, help="begin at this time of the monotonic clock, in nanoseconds")
    options = parser.parse_args(argv)
    if (options.role == "client") != bool(options.address):
        parser.error("client needs an address, server has none")
    try:
        Spaces().enter(options.netns)
        if options.role == "server":
            serve(options.port)
        else:
            time.sleep(max(0, options.at - time.monotonic_ns()) / 1e9)
            print(json.dumps(measure(options.address, options.port, options.seconds, options.rounds, options.only)))
    except (NamespaceGone, OSError) as error:
        print(f"throughput {options.role}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

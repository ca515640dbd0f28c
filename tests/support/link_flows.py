"""Flows of datagrams between hosts of a lab of namespaces, counted one by one."""

import asyncio
import sys
from collections.abc import Callable

from lab.backends.netns.backend import NetnsLab

_TRIES = 5

_RECEIVE = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 25)  # SO_RCVBUFFORCE: who is not scheduled for long loses nothing
except PermissionError:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 25)
s.bind(("", 9)); s.settimeout(90)
count = bytes = 0; first = last = 0.0
try:
    while True:
        data = s.recv(65536)
        if data:
            bytes += len(data); count += 1
            last = time.monotonic(); first = first or last
        else:
            s.settimeout(0.5)  # the sender is done: only what is under way still counts
except TimeoutError:
    print(count, bytes, last - first)
"""
_DONE = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))"
_SEND = """
import socket, sys, time
address, size, count, segment = sys.argv[1], *map(int, sys.argv[2:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if segment: s.setsockopt(17, 103, segment)  # UDP_SEGMENT
for number in range(count):
    s.sendto(b"x" * size, (address, 9))
    if number % 20 == 19: time.sleep(0.001)
"""


async def flow(
    lab: NetnsLab, source: str, target: str, size: int, count: int, segment: int = 0
) -> tuple[int, int, float]:
    """(datagrams, bytes, seconds) that arrive of `count` that are sent."""
    receiver = asyncio.create_task(lab.hosts[target].exec(["python3", "-c", _RECEIVE], timeout=120))
    while ":9 " not in (await lab.hosts[target].exec(["ss", "-Hlun"])).out:
        pass
    words = [lab.hosts[target].address, str(size), str(count), str(segment)]
    result = await lab.hosts[source].exec(["python3", "-c", _SEND, *words], timeout=120)
    assert result.code == 0, result.err
    assert (await lab.hosts[target].exec(["python3", "-c", _DONE])).code == 0
    datagrams, arrived, seconds = (await receiver).out.split()
    return int(datagrams), int(arrived), float(seconds)


async def keeps_rate(
    lab: NetnsLab, source: str, target: str, size: int, count: int, fits: Callable[[float], bool], headers: int = 0
) -> bool:
    """Whether the bits per second that arrive fit; some tries, because a machine that stalls makes one slow."""
    found = []
    for _ in range(_TRIES):
        datagrams, arrived, seconds = await flow(lab, source, target, size, count)
        found.append((arrived + headers * datagrams) * 8 / seconds)
        if fits(found[-1]):
            return True
    print(f"{source} -> {target}: bits per second {found}", file=sys.stderr)
    return False

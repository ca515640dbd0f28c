"""Counting Ethernet frames in containers of real hosts: a sender of numbered ones, and a counter in every container."""

import json
import subprocess
from collections import Counter
from collections.abc import Mapping

from overlay_hosts import PYTHON, Host
from waiting import PATIENCE

BROADCAST = "ff:ff:ff:ff:ff:ff"
MULTICAST = "01:00:5e:01:02:03"

_SEND = """
import socket, sys, time
targets, first, count, pause = sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("ethwe", 0))
own = raw.getsockname()[4]
for number in range(first, first + count):
    for target in targets:
        raw.send(bytes.fromhex(target.replace(":", "")) + own + b"\\x88\\xb6" + number.to_bytes(4, "big") + bytes(42))
    time.sleep(pause)
"""
_COUNT = """
import json, select, socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B6))
raw.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING: what a container sends itself is not counted, what comes back is
raw.bind(("ethwe", 0x88B6))
print("ready", flush=True)
found = {}
ending = False
while ready := select.select([raw] if ending else [raw, sys.stdin], [], [], 1 if ending else None)[0]:
    if raw not in ready:  # told to end, it still counts what comes until there is a second of quiet
        ending = True
        continue
    frame = raw.recv(2000)
    key = frame[:6].hex(":") + " " + str(int.from_bytes(frame[14:18], "big"))
    found[key] = found.get(key, 0) + 1
print(json.dumps(found))
"""


class Counters:
    """A counter in each of these containers (name -> its host), from `start` to `stop`."""

    def __init__(self, containers: Mapping[str, Host]) -> None:
        self._containers = containers
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Counters":
        for name, host in self._containers.items():
            process = self._processes[name] = _inside(host, name, _COUNT)
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def stop(self) -> dict[str, Counter[tuple[str, int]]]:
        """Container -> how often each (destination, number) came."""
        found = {}
        for name, process in self._processes.items():
            out, err = process.communicate("\n", timeout=PATIENCE)
            assert process.returncode == 0, err
            pairs = ((*key.split(), count) for key, count in json.loads(out).items())
            found[name] = Counter({(target, int(number)): count for target, number, count in pairs})
        return found


def send(host: Host, container: str, first: int, count: int, pause: float, *targets: str) -> None:
    """Send numbered frames to each of these MACs out of a container."""
    process = _inside(host, container, _SEND, ",".join(targets), str(first), str(count), str(pause))
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err


def _inside(host: Host, container: str, script: str, *words: str) -> subprocess.Popen[str]:
    pid = host.container(container)["State"]["Pid"]
    return host.popen("nsenter", "--target", str(pid), "--net", PYTHON, "-c", script, *words, stdin=subprocess.PIPE)

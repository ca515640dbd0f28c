"""The relay's process: frames arrive through the sink, wait as their direction's model says, and leave by a port.

Owns the one loop and the queue of waiting frames. Decides nothing: `direction.py` and the model own what a direction
does. Ends when its input ends, because then the lab is gone. `python -m lab.fabric.relay.worker DEVICE`.
"""

import gc
import os
import select
import sys
import time
from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec

from lab.fabric.relay.direction import RelayedDirection
from lab.fabric.relay.frames import FrameTap, Port, flipped
from lab.fabric.relay.orders import DirectionCounts, RelayOrder, RelayReply
from lab.fabric.relay.punctual import Alarm, be_punctual
from lab.fabric.syscalls import set_process_name

_AT_ONCE = 64
"""Frames sent before the next check for arrivals."""
_ROOM = 256 << 20
"""Maximum bytes of waiting frames, and the memory overhead of each."""
_EACH = 250
_IDLE = 1_000_000_000
"""Nanoseconds to sleep while no frame waits."""
_LOOK = 64
"""Iterations between checks for orders, when there is no time to sleep."""


class Worker:
    """All directions that are relayed."""

    def __init__(self, device: str) -> None:
        self._sink = FrameTap(device)
        self._directions: dict[tuple[str, str], RelayedDirection] = {}
        self._ways: dict[int, tuple[RelayedDirection, Port]] = {}
        self._ports: dict[str, Port] = {}
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._queue: list[tuple[int, int, int, bytes, RelayedDirection, Port]] = []
        """(due, number, arrival, frame, direction, port)."""
        self._number = 0
        self._held = 0
        """Bytes of waiting frames."""
        self._text = b""

    def run(self) -> None:
        """Run until the orders end."""
        queue, clock, alarm = self._queue, time.monotonic_ns, Alarm()
        turns = 0
        while True:
            turns += 1
            now = clock()
            wait = alarm.sleep(now, queue[0][0] if queue else now + _IDLE)
            if wait or not turns % _LOOK:
                ready = select.select([0, self._sink.fd], [], [], wait / 1e9)[0]
                if not ready and wait:
                    alarm.woke(clock())
                if 0 in ready and not self._obey():
                    return
            self._take()
            if queue and queue[0][0] <= clock():
                self._release()

    def _take(self) -> bool:
        """Queue the frames that have arrived; returns whether there were any."""
        queue, ways, number = self._queue, self._ways, self._number
        came = 0
        for came, mark, size, frame in self._sink.frames():
            if (way := ways.get(mark)) is None:
                continue  # the machine's own, sent when it sees a new network
            direction, port = way
            for due, corrupt in direction.packet(came, size):
                if self._held > _ROOM:
                    direction.fails()
                    continue
                number += 1
                self._held += len(frame) + _EACH
                data = flipped(frame, direction.corrupts()) if corrupt else frame
                heappush(queue, (due, number, came, data, direction, port))
        self._number = number
        return came > 0

    def _release(self) -> None:
        """Send the frames that are due."""
        queue, clock = self._queue, time.monotonic_ns
        for _ in range(_AT_ONCE):
            if not queue or queue[0][0] > clock():
                return
            due, _, came, frame, direction, port = heappop(queue)
            self._held -= len(frame) + _EACH
            if direction.cut:
                direction.stopped()
            elif port.send(frame):
                direction.left(came, due, clock())
            else:
                direction.fails()

    def _obey(self) -> bool:
        """Execute waiting orders; False: the input has ended."""
        data = os.read(0, 1 << 20)
        for _ in range(_LOOK):
            if not self._take():  # frames that arrived before an order are not affected by it
                break
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            order = msgspec.json.decode(line, type=RelayOrder)
            try:
                reply = self._carry_out(order)
            except OSError as error:
                reply = RelayReply(id=order.id, error=str(error))
            os.write(1, msgspec.json.encode(reply) + b"\n")
        return bool(data)

    def _carry_out(self, order: RelayOrder) -> RelayReply:
        now = time.monotonic_ns()
        ended: list[DirectionCounts] = []
        for sender, receiver, link in order.links:
            pair = sender, receiver
            if (direction := self._directions.get(pair)) is None:
                direction = self._directions[pair] = RelayedDirection(sender, receiver, order.seed)
                direction.cut = pair in self._cut
            if (done := direction.change(link, now)) is not None:
                ended.append(done)
        for way in order.ways:
            if (port := self._ports.get(way.port)) is None:
                port = self._ports[way.port] = Port(way.port)
                port.open()
            self._ways[way.mark] = self._directions[way.sender, way.receiver], port
        for name in order.ports:
            if name in self._ports:
                self._ports[name].open()
        if order.cut is not None:
            self._cut = frozenset(order.cut)
            for pair, direction in self._directions.items():
                direction.cut = pair in self._cut
        counts = tuple(each.counts(now) for each in self._directions.values() if order.count and not each.idle)
        return RelayReply(
            id=order.id, ended=tuple(ended), counts=counts, overruns=self._sink.overruns() if order.count else 0
        )


def main(argv: Sequence[str]) -> int:
    """Relay the frames steered to the device."""
    set_process_name("lab-relay")
    worker = Worker(argv[0])
    gc.collect()
    gc.freeze()
    gc.disable()  # there are no reference cycles here, and a collection delays frames
    be_punctual()
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

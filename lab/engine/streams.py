"""Standard input, output and error of one process: pipes or a terminal, read by the event loop.

Owns the descriptors and the fan-out to sinks (logs, attached clients), with backpressure: while a sink holds, nothing
more is read and the process blocks in write(2), as with any pipe. Knows nothing of HTTP or containers.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Protocol

__all__ = ["STDERR", "STDOUT", "OutputFanOut", "Sink", "StandardInput", "Stdio"]

STDOUT, STDERR = 1, 2
_CHUNK = 65536


class Sink(Protocol):
    """A receiver of the output of a process."""

    def feed(self, stream: int, data: bytes) -> None:
        """Receive output; `stream` is `STDOUT` or `STDERR`."""
        ...

    def finish(self) -> None:
        """This run produces no more output."""
        ...


class OutputFanOut:
    """The sinks; outlives the runs of a container, so that a client can attach before the start."""

    def __init__(self) -> None:
        self._sinks: list[Sink] = []
        self._holding: list[Sink] = []
        self.changed: Callable[[bool], None] | None = None
        """Called when the first sink holds (True) and when the last one releases (False)."""

    @property
    def held(self) -> bool:
        return bool(self._holding)

    def add(self, sink: Sink) -> None:
        self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        if sink in self._sinks:
            self._sinks.remove(sink)
        self.hold(sink, False)

    def hold(self, sink: Sink, on: bool) -> None:
        """A sink cannot accept more data for now, or can again."""
        before = self.held
        if on and sink not in self._holding:
            self._holding.append(sink)
        elif not on and sink in self._holding:
            self._holding.remove(sink)
        if before != self.held and self.changed is not None:
            self.changed(self.held)

    def feed(self, stream: int, data: bytes) -> None:
        for sink in tuple(self._sinks):
            sink.feed(stream, data)

    def finish(self) -> None:
        sinks, self._sinks = self._sinks, []
        for sink in sinks:
            sink.finish()
            self.hold(sink, False)


class StandardInput:
    """Data for a process's input. May be written before the process runs; then it waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fd = -1
        self._buffer = bytearray()
        self._ended = False
        self.drained: Callable[[], None] | None = None
        """Called when the buffer has become empty."""

    @property
    def full(self) -> bool:
        return len(self._buffer) > _CHUNK

    def open(self, fd: int) -> None:
        """Connect to the process; this object owns `fd` from now on."""
        self._fd = fd
        os.set_blocking(fd, False)
        if self._buffer or self._ended:
            self._flush()

    def write(self, data: bytes) -> None:
        if self._ended:
            return
        self._buffer += data
        if self._fd >= 0:
            self._flush()

    def end(self) -> None:
        """End of input: the process reads EOF after the buffered data."""
        self._ended = True
        if self._fd >= 0 and not self._buffer:
            self.close()

    def close(self) -> None:
        """Close the descriptor and drop buffered data."""
        self._buffer.clear()
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _flush(self) -> None:
        try:
            while self._buffer:
                del self._buffer[: os.write(self._fd, self._buffer[:_CHUNK])]
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._flush)
            return
        except OSError:
            self._buffer.clear()  # the process has closed its standard input: drop the rest
        self._loop.remove_writer(self._fd)
        if self._ended:
            self.close()
        if self.drained is not None:
            self.drained()


class Stdio:
    """The descriptors of one run. `child` is for the process; call `opened` after the fork, `close` at the end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fan: OutputFanOut,
        stdin: StandardInput | None,
        *,
        tty: bool,
        size: tuple[int, int],
    ) -> None:
        self._loop = loop
        self._fan = fan
        self._stdin = stdin
        self._input_fd = -1
        self._outputs: dict[int, int] = {}
        self._master = -1
        self.drained: asyncio.Future[None] = loop.create_future()
        """Done when every writer of the outputs has closed them and all data has been fed."""
        if tty:
            self._master, slave = os.openpty()
            self.resize(*size)
            self.child = (slave, slave, slave)
            self._outputs[self._master] = STDOUT
            if stdin is not None:
                self._input_fd = fcntl.fcntl(self._master, fcntl.F_DUPFD_CLOEXEC, 3)
            return
        if stdin is not None:
            child_in, self._input_fd = os.pipe()
        else:
            child_in = os.open(os.devnull, os.O_RDONLY)
        out, child_out = os.pipe()
        err, child_err = os.pipe()
        self._outputs = {out: STDOUT, err: STDERR}
        self.child = (child_in, child_out, child_err)

    def opened(self) -> None:
        """The child has its ends: close our copies and start reading."""
        self._close_child()
        if self._stdin is not None:
            self._stdin.open(self._input_fd)
            self._input_fd = -1
        for fd in self._outputs:
            os.set_blocking(fd, False)
        self._fan.changed = self._hold
        if not self._fan.held:
            self._hold(False)

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size; does nothing without a terminal."""
        if self._master >= 0 and (rows or columns):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def finish(self, patience: float = 1.0, patience_with_sinks: float = 10.0) -> None:
        """The process has ended: feed the rest of its output.

        There are timeouts, because a process outside the container may hold a pipe's end (passed over a socket), and a
        sink may hold for ever.
        """
        with contextlib.suppress(TimeoutError):
            limit = patience_with_sinks if self._fan.held else patience
            await asyncio.wait_for(asyncio.shield(self.drained), limit)

    def close(self) -> None:
        """Close every descriptor, in any state. Idempotent."""
        self._close_child()
        if self._input_fd >= 0:
            os.close(self._input_fd)
            self._input_fd = -1
        if self._stdin is not None:
            self._stdin.close()
        for fd in tuple(self._outputs):
            self._end(fd)

    def _hold(self, on: bool) -> None:
        for fd in self._outputs:
            if on:
                self._loop.remove_reader(fd)
            else:
                self._loop.add_reader(fd, self._read, fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal returns EIO when its last user has closed it
        if data:
            self._fan.feed(self._outputs[fd], data)
        else:
            self._end(fd)

    def _end(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        del self._outputs[fd]
        if fd == self._master:
            self._master = -1
        if not self._outputs and not self.drained.done():
            self._fan.changed = None
            self.drained.set_result(None)

    def _close_child(self) -> None:
        for fd in sorted(set(self.child)):
            if fd >= 0:
                os.close(fd)
        self.child = (-1, -1, -1)

"""A growing file of packets: blocks from several places, and marks of the lab's actions, each with its time.

Owns the interface numbers and the size limits, and writes only whole blocks, so that the file is readable after a kill.
A mark is a frame on a separate interface, because it was on no network; its text is a comment and also the frame's
content. Must not know where packets come from.
"""

import heapq
import os
from pathlib import Path
from typing import Final

from lab.capture import pcapng
from overlay.clean import clean

__all__ = ["MARKS", "MARK_ETHERTYPE", "MOST", "CaptureFile", "mark_frame", "mended"]

MOST: Final = 100_000_000
"""Default maximum bytes of a file."""
MARKS: Final = "lab steps"
"""The interface of marks."""
MARK_ETHERTYPE: Final = 0x88B6
"""The second of the two EtherTypes that IEEE 802 reserves for local experiments; the overlay's probes use the first."""
_ABOUT = "what the lab did, and when; no frame of this interface was on a network"
_MOST_MARK = 600
"""Maximum characters of a mark."""
_INTERFACES = 4096
"""Maximum interfaces of a file."""
_LAST_MARK = 2048
"""Bytes reserved for the mark that says why the capture ends."""


class CaptureFile:
    """Created when the capture begins. `path` None: count only. `hold`: nanoseconds for which blocks wait for earlier
    ones; 0: they do not wait."""

    def __init__(self, path: Path | None, *, most: int, comment: str, hold: int = 0) -> None:
        self.most = most
        self.packets = 0
        self.written = 0
        self.lost = 0
        """Packets that kernels dropped because of full buffers."""
        self.full = False
        """Whether the file accepts no more data."""
        self.trouble = ""
        """Why the file could not be written completely."""
        self._hold = hold
        self._waiting: list[tuple[int, int, bytes]] = []
        self._latest = 0
        self._number = 0
        self._interfaces: dict[str, int] = {}
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o644) if path is not None else -1
        self._closed = False
        self._write(pcapng.section("overlay-lab", comment) + pcapng.interface(MARKS, comment=_ABOUT))
        self._interfaces[MARKS] = 0

    def source(self) -> "CaptureSource":
        """Add a place whose packets go to this file."""
        return CaptureSource(self)

    def interface(self, name: str, block: bytes = b"") -> int:
        """The number of an interface, new or known; `block` describes it."""
        number = self._interfaces.get(name)
        if number is None:
            if len(self._interfaces) >= _INTERFACES:
                raise pcapng.NotPcapng(f"more than {_INTERFACES} interfaces")
            number = self._interfaces[name] = len(self._interfaces)
            self._write(block or pcapng.interface(name))
        return number

    def packet(self, t: int, block: bytes) -> None:
        """One packet, seen at `t`."""
        self.packets += 1
        self._put(t, block)

    def mark(self, t: int, text: str) -> None:
        """Record an action of the lab at `t` (ns since 1970)."""
        told = clean(text, most=_MOST_MARK)
        self._put(t, pcapng.packet(0, t, mark_frame(told), comments=(told,)))

    def raw(self, data: bytes) -> None:
        """Write a block that has no time."""
        self._flush(None)
        self._write(data)

    def close(self, until: int | None = None) -> None:
        """Write everything except waiting packets that are later than `until`; idempotent."""
        if not self._closed:
            self._waiting = [one for one in self._waiting if until is None or one[0] <= until]
            heapq.heapify(self._waiting)
            self._flush(None)
            self._closed = True
            if self._file >= 0:
                os.close(self._file)

    def _put(self, t: int, block: bytes) -> None:
        if not self._hold:
            self._write(block, t)
            return
        self._number += 1
        heapq.heappush(self._waiting, (t, self._number, block))
        self._latest = max(self._latest, t)
        self._flush(self._latest - self._hold)

    def _flush(self, until: int | None) -> None:
        while self._waiting and (until is None or self._waiting[0][0] <= until):
            t, _, block = heapq.heappop(self._waiting)
            self._write(block, t)

    def _write(self, data: bytes, t: int = 0) -> None:
        """Write whole blocks, or nothing: a partial write on a full disk is undone."""
        if self.full or self._closed:
            return
        if self.written + len(data) > self.most - _LAST_MARK:
            self.full, self.trouble = True, f"the file has its {self.most} bytes"
            if not t:
                return
            told = f"the capture ends here: {self.trouble}"
            data = pcapng.packet(0, t, mark_frame(told), comments=(told,))
        try:
            done = os.write(self._file, data) if self._file >= 0 else len(data)
            if done < len(data):
                os.ftruncate(self._file, self.written)
                raise OSError(28, "No space left on device")
        except OSError as error:
            self.full, self.trouble = True, f"it cannot be written: {error.strerror}"
            return
        self.written += done


class CaptureSource:
    """The blocks of one place, which numbers its interfaces itself."""

    def __init__(self, file: CaptureFile) -> None:
        self._file = file
        self._cutter = pcapng.BlockCutter()
        self._numbers: list[int] = []
        self.complaint = ""
        """The place's reason for its failure."""

    @property
    def begun(self) -> bool:
        """Whether its interfaces are known."""
        return bool(self._numbers)

    def feed(self, data: bytes) -> None:
        """Process more output of the place. Raises `pcapng.NotPcapng`."""
        for kind, block in self._cutter.feed(data):
            if kind == pcapng.SECTION:
                self._numbers = []
                self.complaint = clean(pcapng.comment_of(block), most=_MOST_MARK)
            elif kind == pcapng.INTERFACE:
                self._numbers.append(self._file.interface(clean(pcapng.interface_name(block), most=100), block))
            elif kind == pcapng.PACKET:
                self._file.packet(pcapng.time_of(block), pcapng.on_interface(block, self._known(block)))
            elif kind == pcapng.STATISTICS:
                self._file.lost += pcapng.losses(block)
                self._file.raw(pcapng.on_interface(block, self._known(block)))

    def _known(self, block: bytes) -> int:
        number = pcapng.number_of(block)
        if number >= len(self._numbers):
            raise pcapng.NotPcapng(f"a packet of interface {number}, which was not described")
        return self._numbers[number]


def mark_frame(text: str) -> bytes:
    """The frame of a mark, with zero addresses."""
    return bytes(12) + MARK_ETHERTYPE.to_bytes(2, "big") + text.encode("utf-8", "replace")


def mended(path: Path) -> bool:
    """Truncate an incomplete block at a file's end, which a kill may have left; returns whether there was one."""
    data = path.read_bytes()
    whole = pcapng.whole_blocks(data)
    if whole and whole < len(data):
        os.truncate(path, whole)
        return True
    return False

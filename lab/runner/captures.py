"""The packet captures of a run: files of packets that hosts deliver, with marks of the run's events.

Owns the places of a capture (containers come and go, hosts are switched off and on) and the text of a mark.
`lab.capture.file` owns the files, hosts deliver the packets. A failing capture never fails the run.
"""

import asyncio
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from lab.capture.file import CaptureFile, CaptureSource
from lab.capture.filters import compiled
from lab.capture.pcapng import NotPcapng
from lab.capture.places import CapturePlace, CaptureRequest, halves, unique
from lab.contracts.lab import Lab, Sniffed, Sniffing
from lab.errors import LabError
from lab.kinds.verbs import verb_of
from lab.records.captures import CAPTURES
from lab.records.history import Event
from lab.runner.state import LiveState
from lab.scenario.base import ALL
from lab.scenario.values import UNITS
from lab.words import span, step_number
from overlay.clean import clean

__all__ = ["Captures", "mark_of"]

_AGAIN = UNITS["ms"] * 20
"""Time between two attempts to capture at a place that is gone."""
_BEGINNING = 30.0
"""Seconds in which a host must begin to capture."""
_ENDING = 15.0
_HOLD = 2 * UNITS["s"]
"""How long in virtual time packets are buffered for sorting, because some arrive after later ones."""


class Captures:
    """All captures of a run. `folder` is the run directory; None: packets are counted but not written."""

    def __init__(self, lab: Lab, live: LiveState, folder: Path | None, *, about: str, virtual: bool) -> None:
        self._lab = lab
        self._live = live
        self._folder = folder
        self._about = about
        self._virtual = virtual
        self._open: dict[object, _Recording] = {}
        self._names: dict[str, None] = {}

    async def begin(self, key: object, request: CaptureRequest) -> str:
        """Begin to capture; return the file's name once packets are captured. Raises `LabError`."""
        hosts = {name: spec.address for name, spec in self._live.scenario.hosts.items()}
        program = compiled(request.filter, hosts)
        places = list(self._places(request))
        name = unique(request.name, self._names)
        self._names[name] = None
        path = None
        if self._folder is not None:
            path = self._folder / CAPTURES / f"{name}.pcapng"
            try:
                path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise LabError(f"cannot write {path}: {error.strerror}") from None
        said = f" ({request.filter})" if request.filter else ""
        comment = f"{self._about}; captured at {', '.join(request.on)}{said}"
        try:
            file = CaptureFile(path, most=request.most, comment=comment, hold=_HOLD if self._virtual else 0)
        except OSError as error:
            raise LabError(f"cannot write {path}: {error.strerror}") from None
        capture = self._open[key] = _Recording(self._lab, file, request, program)
        file.mark(self._lab.wall_clock(), f"{_at(self._lab.now())}: the capture begins")
        try:
            await capture.begin(places, self._is_up)
        except BaseException:
            del self._open[key]
            await capture.end()
            if path is not None and not file.packets:
                path.unlink(missing_ok=True)
            raise
        return f"{name}.pcapng"

    async def end(self, key: object) -> dict[str, int]:
        """End a capture and return its totals, in the form of an event; empty for one that was never begun."""
        capture = self._open.pop(key, None)
        if capture is None:
            return {}
        await capture.end()
        file = capture.file
        return {"packets": file.packets, "bytes": file.written} | ({"lost": file.lost} if file.lost else {})

    def feed(self, event: Event) -> None:
        """Write a mark of the event into each file, and capture at new containers."""
        if not self._open:
            return
        text = mark_of(event)
        wall = self._lab.wall_clock() - self._lab.now()
        for capture in self._open.values():
            if text:
                capture.file.mark(wall + event.t, text)
            capture.follow(self._places(capture.request))

    async def close(self, text: str = "") -> None:
        """Complete all files at the end of the run; idempotent. `text` is their last mark."""
        for key, capture in list(self._open.items()):
            if text:
                capture.file.mark(self._lab.wall_clock(), f"{_at(self._lab.now())}: {text}")
            await self.end(key)

    def _is_up(self, place: CapturePlace) -> bool:
        if place.host in self._live.hosts_down:
            return False
        return not place.container or place.container in self._live.running

    def _places(self, request: CaptureRequest) -> Iterator[CapturePlace]:
        """The places of this capture, including those of containers that were never started."""
        scenario, hosts = self._live.scenario, self._lab.hosts
        replicas = {replica.name: replica for replica in scenario.replicas()} | self._live.placed
        for where in hosts if request.on == (ALL,) else request.on:
            pair = halves(where)
            if where in hosts:
                yield CapturePlace(label=where, host=where)
            elif pair is not None and set(pair) <= set(hosts):
                other = tuple(place.address for place in scenario.hosts[pair[1]].interfaces)
                yield CapturePlace(label=where, host=pair[0], between=other)
            else:
                for replica in replicas.values():
                    if where in (replica.name, replica.service):
                        yield CapturePlace(label=replica.name, host=replica.host, container=replica.name)


class _Recording:
    """One file, and the places whose packets go into it."""

    def __init__(self, lab: Lab, file: CaptureFile, request: CaptureRequest, program: str) -> None:
        self.file = file
        self.request = request
        self._lab = lab
        self._program = program
        self._enough = asyncio.Event()
        self._tasks: dict[CapturePlace, asyncio.Task[None]] = {}
        self._begun: dict[CapturePlace, asyncio.Future[None]] = {}

    async def begin(self, places: list[CapturePlace], is_up: Callable[[CapturePlace], bool]) -> None:
        """Begin, and return when packets are captured at every place that is up."""
        self.follow(iter(places))
        waiting = [self._begun[place] for place in places if is_up(place)]
        try:
            async with asyncio.timeout(None if not waiting else _BEGINNING):
                await asyncio.gather(*waiting)
        except TimeoutError:
            raise LabError(f"no packets could be captured within {_BEGINNING:g} s") from None

    def follow(self, places: Iterator[CapturePlace]) -> None:
        """Capture at these places too."""
        for place in places:
            if place not in self._tasks and not self._enough.is_set():
                begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                begun.add_done_callback(lambda future: future.cancelled() or future.exception())
                self._begun[place] = begun
                self._tasks[place] = asyncio.create_task(self._at(place, begun))

    async def end(self) -> None:
        """Let the hosts deliver their remaining packets, and close the file."""
        self._enough.set()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_ENDING)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.file.close(self._lab.wall_clock())

    async def _at(self, place: CapturePlace, begun: "asyncio.Future[None]") -> None:
        """Capture at a place whenever it is up."""
        host = self._lab.hosts[place.host]
        if not hasattr(host, "sniff"):
            begun.set_exception(LabError("packets of hosts of this backend cannot be captured"))
            return
        wanted = Sniffing(
            label=place.label,
            container=place.container,
            interfaces=self.request.interfaces,
            program=self._program,
            between=place.between,
            most=self.request.most,
        )
        over = asyncio.create_task(self._enough.wait())
        try:
            while not over.done():
                source = self.file.source()
                take = functools.partial(self._take, source, begun)
                work = asyncio.create_task(cast(Sniffed, host).sniff(wanted, take, self._enough))
                await asyncio.wait({work, over}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done() and not source.begun:
                    work.cancel()  # it waits for a place that is not up
                error = (await asyncio.gather(work, return_exceptions=True))[0]
                why = source.complaint if not source.begun else ""
                if why and not begun.done():
                    begun.set_exception(LabError(f"{place.label}: {why}"))
                    return
                if isinstance(error, NotPcapng) or (isinstance(error, LabError) and not begun.done()):
                    told = f"{place.label}: {clean(str(error), most=300)}"
                    self.file.mark(self._lab.wall_clock(), f"the capture breaks off at {told}")
                    if not begun.done():
                        begun.set_exception(LabError(told))
                    return
                if not over.done():
                    await self._lab.sleep_until(self._lab.now() + _AGAIN)
        finally:
            over.cancel()
            if not begun.done():
                begun.cancel()

    def _take(self, source: CaptureSource, begun: "asyncio.Future[None]", data: bytes) -> None:
        source.feed(data)
        if source.begun and not begun.done():
            begun.set_result(None)
        if self.file.full:
            self._enough.set()


def mark_of(event: Event) -> str:
    """The mark of an event: time in the run, step, result; empty for an event without a mark."""
    detail: Mapping[str, Any] = event.detail
    label = str(detail.get("label", "")) or event.what
    head = f"{_at(event.t)}: " + (f"{step_number(event.step)}, " if event.step >= 0 else "")
    error = f": {clean(str(detail['error']), most=300)}" if detail.get("error") else ""
    if event.ok is False:
        return f"{head}{label}: failed{error}"
    if "expect" in detail:
        if event.phase == "start":
            return f"{head}{label}: asked"
        return f"{head}{label}: true after {span(detail.get('took'))}"
    kind = verb_of(event.what)
    if event.phase == "point":
        return head + label
    if kind.lasts:
        return f"{head}{label}: " + ("begins" if event.phase == "start" else "ends")
    return f"{head}{label}: " + ("begins" if event.phase == "start" else "done")


def _at(t: int) -> str:
    return f"{t / 1e9:.3f} s"

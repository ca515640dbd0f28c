"""A live page of a lab that is none: its server on loopback, a history that a test writes, answers that it chooses."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from two_hosts_history import META, S

from lab.errors import LabError
from lab.records.history import AnyRecord, Writer
from lab.report.page import render_live
from lab.watch.keys import WatchKeys
from lab.watch.server import LivePage
from lab.watch.serving import about
from lab.watch.tail import Spool
from overlay.http.listener import IDLE, make_runner, serve_tcp


class StandInLab:
    """Answers as a lab does, and keeps what it was asked."""

    def __init__(self, name: str = "mine") -> None:
        self.name = name
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[dict[str, Any]] = []
        self.refusal = ""
        """What every step is refused with, if anything."""

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """See `lab.watch.standing.WatchedLab`."""
        if do == "state":
            return {"faults": self.faults, "moves": len(self.asked), "now": 20 * S, "scenario": META.scenario}
        self.asked.append((do, arguments))
        if self.refusal:
            raise LabError(self.refusal)
        if do == "log":
            return {"log": f"a line of the daemon on {arguments['host']}"}
        what = next(iter(arguments.get("step") or {"undone": 0}))
        index = arguments.get("index", 5)
        return {"index": index, "event": {"step": index, "what": what, "ok": True, "detail": {"label": f"{what} done"}}}


class WatchedPage:
    """What a test holds of a page that is served."""

    def __init__(self, folder: Path, lab: StandInLab) -> None:
        self.lab = lab
        self.keys = WatchKeys()
        self.port = 0
        self.page: LivePage | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.history = folder / "history.jsonl"
        self._file = self.history.open("wb")
        self._writer = Writer(self._file)

    @property
    def address(self) -> str:
        """Without a token."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def by_hand(self) -> str:
        """With the token that may change things."""
        return f"{self.address}#{self.keys.change}"

    @property
    def to_look(self) -> str:
        """With the token that may look."""
        return f"{self.address}#{self.keys.look}"

    def write(self, records: Sequence[AnyRecord]) -> None:
        """The lab goes on."""
        for record in records:
            self._writer.write(record)

    def end(self, reason: str) -> None:
        """The lab is gone."""
        assert self.page is not None and self.loop is not None
        asyncio.run_coroutine_threadsafe(self.page.end(reason), self.loop).result(60)

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        """Until `stop`."""
        spool = Spool()
        state = await self.lab.ask("state")
        html = render_live(self.lab.name)
        self.page = LivePage(self.lab, spool, html, about(state), lambda state: "version: 1\n")
        runner = make_runner(self.page.application(self.keys), handler_cancellation=True, keepalive_timeout=IDLE)
        await runner.setup()
        server = await serve_tcp(runner, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        tasks = [asyncio.create_task(each) for each in (self.page.follow(self.history), self.page.watch())]
        started.set()
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
        await runner.cleanup()
        spool.close()


@contextlib.contextmanager
def watched(
    folder: Path, lab: StandInLab | None = None, *, port: int = 0, keys: WatchKeys | None = None
) -> Iterator[WatchedPage]:
    """A page that is served in a thread of its own; with `port` and `keys` at the address of an earlier one."""
    page = WatchedPage(folder, lab or StandInLab())
    page.port, page.keys = port, keys or page.keys
    loop = page.loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(page.serve(started, stop)), daemon=True)
    thread.start()
    try:
        assert started.wait(60)
        yield page
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

"""`lab watch`: the listeners of a live page, the printed addresses, and the shutdown.

Owns sockets and how tokens reach the user; `server` owns the served content.
"""

import asyncio
import contextlib
import html
import ipaddress
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from aiohttp import web

from lab.backends.netns import LabName
from lab.errors import LabError
from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import verbs
from lab.report.page import render_live
from lab.watch.forms import forms
from lab.watch.keys import WatchKeys
from lab.watch.server import LivePage, Save
from lab.watch.standing import StandingLab, history_of
from lab.watch.tail import Spool
from overlay.clean import clean
from overlay.http.listener import IDLE, make_runner, serve_tcp

__all__ = ["Wanted", "serve_page"]

LOOPBACK = ("127.0.0.1", "::1")


class Wanted:
    """The options of the command."""

    def __init__(self, *, port: int = 0, listen: str = "", read_only: bool = False, browser: bool = False) -> None:
        self.port = port
        self.listen = _address(listen) if listen else ""
        self.read_only = read_only
        self.browser = browser


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise LabError(f"--listen: found {clean(text, most=60)!r}, expected an IP address of this machine") from None


async def serve_page(
    lab: LabName,
    wanted: Wanted,
    save: Save,
    say: Callable[[str], None] = click.echo,
) -> None:
    """Serve the page of a lab until SIGINT or SIGTERM. Raises `LabError` if that is not possible."""
    standing = StandingLab(lab)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    keys = WatchKeys()
    keys = keys.only_looking() if wanted.read_only else keys
    async with contextlib.AsyncExitStack() as ends:
        ends.callback(standing.close)
        state = await standing.ask("state")
        history = history_of(lab.name, state)
        spool = Spool()
        ends.callback(spool.close)
        page = LivePage(standing, spool, render_live(lab.name), about(state), save)
        port = await _listen(page, keys, LOOPBACK, wanted.port, ends)
        _tell(say, lab.name, f"http://127.0.0.1:{port}/", keys)
        if wanted.listen:
            only = keys.only_looking()
            outer = await _listen(page, only, (wanted.listen,), wanted.port, ends)
            shown = f"[{wanted.listen}]" if ":" in wanted.listen else wanted.listen
            say(f"for the class   http://{shown}:{outer}/#{only.look}")
            say(f"warning: anyone who reaches {wanted.listen} and knows or overhears this address sees all")
            say("         that this lab records; nobody can change anything from there")
        if wanted.browser:
            ends.enter_context(_opened(f"http://127.0.0.1:{port}/#{keys.change or keys.look}"))
        tasks = [
            asyncio.create_task(each)
            for each in (page.follow(history), page.watch(), _until_ended(standing, page, say))
        ]
        try:
            await asyncio.wait([asyncio.create_task(stop.wait()), *tasks[:2]], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[:2]:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def about(state: Mapping[str, Any]) -> dict[str, Any]:
    """Data about a lab that a page gets in addition to its records."""
    kind = state["scenario"]["overlay"]["kind"]
    return {"verbs": msgspec.to_builtins(forms(verbs().values(), OVERLAYS.get(kind)))}


async def _listen(
    page: LivePage, keys: WatchKeys, addresses: tuple[str, ...], port: int, ends: contextlib.AsyncExitStack
) -> int:
    """Listen on all these addresses with one port; return the port. On a machine without IPv6, `::1` is skipped."""
    runner: web.AppRunner = make_runner(page.application(keys), handler_cancellation=True, keepalive_timeout=IDLE)
    await runner.setup()
    ends.push_async_callback(runner.cleanup)
    for address in addresses:
        try:
            server = await serve_tcp(runner, address, port)
        except OSError as error:
            if address == "::1":
                continue
            raise LabError(
                f"cannot listen on {address}, port {port}: {error.strerror}; choose another with --port"
            ) from None
        ends.callback(server.close)
        port = server.sockets[0].getsockname()[1]
    return port


def _tell(say: Callable[[str], None], name: str, address: str, keys: WatchKeys) -> None:
    say(f"the lab {name}, live; Ctrl-C ends the page, not the lab")
    if keys.change:
        say(f"for your hands  {address}#{keys.change}")
    say(f"to look on      {address}#{keys.look}")


async def _until_ended(standing: StandingLab, page: LivePage, say: Callable[[str], None]) -> None:
    await standing.ended()
    say(f"the lab {standing.name} is down; the page keeps what it had until Ctrl-C")
    await page.end(f"the lab {standing.name} is down")


@contextlib.contextmanager
def _opened(address: str) -> Iterator[None]:
    """Open the address in the user's browser. The token is passed in a private file, because command
    lines are public."""
    with tempfile.TemporaryDirectory(prefix="lab-watch-") as folder:
        path = Path(folder, "open.html")
        target = html.escape(address, quote=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={target}">')
        with contextlib.suppress(OSError):
            subprocess.Popen(
                ["xdg-open", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        yield

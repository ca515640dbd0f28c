"""What tests do on a live page in the browser: open it, draw a line, read what it says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from browser import Browser
from netns_labs import ROOT

_SPOTS = """(() => { const {cy, canvas} = labPage.topology, box = canvas.getBoundingClientRect();
  return Object.fromEntries(cy.nodes('.host').map(node =>
    [node.data('host'), [box.left + node.renderedPosition('x'), box.top + node.renderedPosition('y')]])); })()"""
_CANVAS = """(() => { const box = labPage.topology.canvas.getBoundingClientRect();
  return [box.left, box.top, box.width, box.height]; })()"""
REACHED, CUT = 2, 5
"""As `lab/report/web/src/model.js` has them."""
Spot = tuple[float, float]


def open_live(browser: Browser, address: str) -> None:
    """Open it, and wait until it shows the present."""
    browser.open(address)
    browser.until(
        "document.documentElement.dataset.link === 'live' && labPage.topology && labPage.history.events.length"
    )
    browser.script("scrollTo(0, 0)")
    browser.settled()


def spots(browser: Browser) -> dict[str, Spot]:
    """Where each host is drawn."""
    return {name: (x, y) for name, (x, y) in browser.script(_SPOTS).items()}


def around(browser: Browser, host: str) -> tuple[Spot, Spot, Spot]:
    """The ends and the middle of a line that parts a host from all others: right across the way to their middle."""
    where = spots(browser)
    x, y = where.pop(host)
    others = list(where.values())
    mx, my = sum(each[0] for each in others) / len(others), sum(each[1] for each in others) / len(others)
    cx, cy, dx, dy = (x + mx) / 2, (y + my) / 2, (mx - x) / 2, (my - y) / 2
    left, top, width, height = browser.script(_CANVAS)
    far = 1.6
    while far > 0.1 and not (left < cx + far * dy < left + width and top < cy - far * dx < top + height):
        far -= 0.05  # it begins on the figure
    return (cx + far * dy, cy - far * dx), (cx, cy), (cx - far * dy, cy + far * dx)


def between(browser: Browser, one: str, other: str) -> Spot:
    """The middle of the cable of two hosts."""
    (x, y), (far_x, far_y) = (spots(browser)[host] for host in (one, other))
    return (x + far_x) / 2, (y + far_y) / 2


def cells(browser: Browser) -> dict[str, int]:
    """What the matrix shows: {`a → b`: state}."""
    found: dict[str, int] = browser.script(
        "Object.fromEntries(labPage.history.series.filter(each => each && !each.name)"
        ".map(each => [`${each.source} → ${each.target}`, labPage.view.pairs[each.i].state]))"
    )
    return found


def said(browser: Browser, what: str) -> str:
    """The text of a part of the page; empty: it is not there."""
    text: str = browser.script(f"document.querySelector({what!r})?.textContent ?? ''")
    return text


class WatchCommand:
    """`lab watch` as a process."""

    def __init__(self, name: str, folder: Path, *more: str, until: str = "to look on") -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.cli", "watch", name, *more],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith(until):
            line = self._process.stdout.readline()
            assert line, f"lab watch ended: {''.join(lines)}"
            lines.append(line)
        self.addresses = {
            line.rpartition("http")[0].strip(): "http" + line.rpartition("http")[2].strip() for line in lines
        }

    @property
    def by_hand(self) -> str:
        """The address for hands."""
        return self.addresses["for your hands"]

    @property
    def to_look(self) -> str:
        """The address to look on."""
        return self.addresses["to look on"]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        assert self._process.stdout is not None
        self._process.stdout.read()
        return self._process.wait()

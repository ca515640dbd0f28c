"""`lab watch` on labs of real packets, in a real browser: a cut by a line, its heal, the saved session, and kills."""

import http.client
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import Browser
from class_terminal import ClassTerminal
from live_pages import CUT, REACHED, WatchCommand, around, between, cells, open_live, said
from netns_labs import ROOT
from standing_labs import ask, lab, standing
from waiting import eventually

from lab.records.history import Event, read
from lab.records.store import HISTORY
from lab.scenario.load import load

SCENARIO = """\
# Does each side of a cut keep working?
version: 1
name: watched
underlay: {hosts: {a: {}, b: {}, c: {}}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 3}}
timeline: [{launch: all}, {connect: all}, {run: all}]
"""
FAR = {f"web-{one} → web-{other}": CUT for one, other in ((1, 2), (1, 3), (2, 1), (3, 1))}
PARTED = FAR | {"web-2 → web-3": REACHED, "web-3 → web-2": REACHED}
WHOLE = dict.fromkeys(PARTED, REACHED)


@pytest.fixture(scope="module")
def watched_lab(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("a lab")
    with standing(folder, SCENARIO) as name:
        yield folder, name


@pytest.fixture
def page(watched_lab):
    folder, name = watched_lab
    command = WatchCommand(name, folder)
    yield command
    command.end()


def until_cells(browser: Browser, wanted: dict[str, int]) -> None:
    eventually(lambda: cells(browser) == wanted, what=f"{wanted}, now {cells(browser)}")


def both_ends(history: Path, label: str) -> list[Event]:
    """The two events of a fault; empty as long as there is only its beginning."""
    events = [record for record in read(history) if isinstance(record, Event)]
    found = [event for event in events if event.detail.get("label") == label]
    return found if len(found) == 2 else []


def labels(name: str) -> list[str]:
    return [fault["label"] for fault in ask(name, "state")["faults"]]


def test_a_cut_by_a_line_a_heal_and_a_saved_session_that_replays(watched_lab, page, browser: Browser, tmp_path):
    _, name = watched_lab
    open_live(browser, page.by_hand)
    until_cells(browser, WHOLE)
    browser.drag(*around(browser, "a"))
    until_cells(browser, PARTED)
    assert labels(name) == ["partition a | b, c"]
    assert ["a", "b"] in ask(name, "inspect")["cut"]
    browser.until("document.querySelectorAll('.faults button').length === 1")
    browser.click(".faults button")
    until_cells(browser, WHOLE)
    eventually(lambda: not ask(name, "inspect")["cut"])
    text = browser.script(
        "fetch('/scenario', {headers: {Authorization: `Bearer ${sessionStorage.getItem('lab-watch')}`}})"
        ".then(answer => answer.text())"
    )
    saved = tmp_path / "saved.yaml"
    saved.write_text(text, encoding="utf-8")
    assert [step.verb for step in load(saved).timeline][:4] == ["launch", "connect", "run", "partition"]
    lab("run", str(saved), "--backend", "sim", "--no-figures", cwd=tmp_path)
    assert browser.console == []


def test_a_click_on_a_cable_changes_its_link_for_a_time(watched_lab, page, browser: Browser):
    folder, name = watched_lab
    open_live(browser, page.by_hand)
    cable = between(browser, "a", "b")
    browser.hover(*cable)
    browser.drag(cable)
    browser.until("document.querySelector('dialog.move h2')?.textContent === 'a ↔ b'")
    browser.script(
        "[...document.querySelectorAll('dialog.move button')].find(each => each.textContent === 'link …').click()"
    )
    browser.until("document.querySelector('dialog.move h2').textContent === 'link'")
    for field, value in (("delay", "150ms"), ("ends by itself after", "5m")):
        browser.script(
            "[...document.querySelectorAll('dialog.move .field')].find(each => each.querySelector('label')?.textContent"
            f" === {field!r}).querySelector('input[type=text]').value = {value!r}"
        )
    browser.click("dialog.move button.go")
    eventually(lambda: labels(name) == ["link a -> b: delay 150ms"], what=f"the link, now {labels(name)}")
    (fault,) = ask(name, "state")["faults"]
    assert fault["until"] - fault["since"] == 300 * 10**9, "the lease of the form"
    browser.until("!document.querySelector('dialog.move')")
    said = lab("exec", "a", "--name", name, "--", "ping", "-c", "1", "-W", "60", "b", cwd=folder).stdout
    assert float(said.partition("time=")[2].partition(" ")[0]) >= 150, "packets are late"
    browser.until("document.querySelectorAll('.faults button').length === 1")
    browser.script("document.querySelector('.faults button').click()")
    eventually(lambda: not labels(name))

    browser.script("labPage.move({link: {from: ['a'], to: ['b'], delay: '20ms'}}, 9e9).then(() => null)")
    browser.until("labPage.history.faults.filter(fault => fault && fault.label.startsWith('link')).length === 2")
    eventually(lambda: not labels(name), what="the end of the lease of a program's step")
    assert browser.console == []


def test_two_hands_at_once_each_hear_of_the_other(watched_lab, page, browser: Browser):
    _, name = watched_lab
    open_live(browser, page.by_hand)
    browser.until("document.querySelector('#hands .link').textContent === 'live'")
    ask(name, "step", step={"pause": {"daemon": "b"}}, by="jo")
    browser.until("document.querySelector('.faults').textContent.includes('by jo')")
    browser.script("labPage.move({pause: {daemon: 'c'}}).catch(() => null)")
    eventually(lambda: len(labels(name)) == 2)
    browser.script("labPage.move({kill: {daemon: 'nobody'}}).catch(() => null)")
    browser.until("document.querySelector('#hands > .refusal').textContent.includes('nobody')")
    assert "expected a host: a, b, c" in said(browser, "#hands > .refusal")
    assert len(labels(name)) == 2
    for _ in range(2):
        ask(name, "undo", by="jo")
    browser.until("document.querySelectorAll('.faults li').length === 0")


def test_kill_9_of_the_page_leaves_the_lab_and_the_lease_as_they_are(watched_lab, page, browser: Browser):
    folder, name = watched_lab
    open_live(browser, page.by_hand)
    browser.script("document.querySelector('#lease').value = '10s'")
    browser.drag(*around(browser, "c"))
    browser.until("labPage.history.faults.some(fault => fault && fault.label === 'partition a, b | c')")
    assert page.end(signal.SIGKILL) == -signal.SIGKILL
    browser.until("document.documentElement.dataset.link === 'away'")
    eventually(lambda: not ask(name, "inspect")["cut"], what="the end of the lease")
    history = Path(ask(name, "state")["run_dir"]) / HISTORY
    begun, ended = eventually(lambda: both_ends(history, "partition a, b | c"), what="the end in the history")
    assert ended.t - begun.t >= 10 * 10**9  # its own time, not the page's
    again = WatchCommand(name, folder)
    open_live(browser, again.to_look)
    until_cells(browser, WHOLE)
    assert again.end() == 0


def test_a_verb_is_pasted_in_a_terminal_and_done(watched_lab):
    _, name = watched_lab
    environment = {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    terminal = ClassTerminal([name], environment, ("watch", "--tui"))
    try:
        terminal.until("faults in force")
        terminal.until("a    up")  # it has read the history, and takes keys
        terminal.press(b"\x1b[200~$ lab partition a b,c --for 10m\n\x1b[201~\r")
        # The screen shows the cuts of earlier tests too, and keys that come before the line is closed are lost.
        eventually(lambda: labels(name) == ["partition a | b, c"], what="the first pasted line")
        terminal.press(b":kill c --for 10m\r")
        eventually(lambda: labels(name) == ["partition a | b, c", "kill daemon of c"], what="the second one")
        terminal.until("✓ kill daemon of c")
        for left in (1, 0):
            terminal.press(b"u")
            terminal.until("ended: ")
            assert len(labels(name)) == left
        terminal.press(b"q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_where_a_class_looks_on_nobody_changes_anything(watched_lab):
    folder, name = watched_lab
    command = WatchCommand(name, folder, "--listen", "127.0.0.2", until="for the class")
    address, _, look = command.addresses["for the class"].partition("#")
    hand = command.by_hand.partition("#")[2]
    outside = urlsplit(address)
    assert outside.hostname == "127.0.0.2"

    def status(method: str, path: str, token: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.2", outside.port, timeout=120)
        connection.request(method, path, b"{}", {"Authorization": f"Bearer {token}"})
        found = connection.getresponse().status
        connection.close()
        return found

    assert status("GET", "/about", look) == 200
    assert status("POST", "/undo", look) == 403
    assert status("GET", "/about", hand) == status("POST", "/undo", hand) == 401
    command.end()
    closed = WatchCommand(name, folder, "--read-only")
    assert "for your hands" not in closed.addresses
    closed.end()


def test_what_cannot_be_watched_is_said(tmp_path):
    told = lab("watch", "nobody", cwd=tmp_path, code=2)
    assert "no lab named nobody runs" in told.stderr
    told = lab("watch", "--tui", "nobody", cwd=tmp_path, code=2)
    assert "no lab named nobody runs" in told.stderr


def test_the_end_of_the_lab_is_told_and_the_page_keeps_its_past(watched_lab, page, browser: Browser):
    """The last test: it takes the lab down that the others use."""
    folder, name = watched_lab
    open_live(browser, page.to_look)
    lab("down", "--name", name, cwd=folder)
    browser.until("document.documentElement.dataset.link === 'ended'")
    assert "is down" in said(browser, "#hands .link")
    assert browser.script("labPage.history.events.length") > 0
    assert page.end() == 0

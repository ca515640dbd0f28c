"""The live page in a real browser, with a lab that a test plays: what hands see, type and draw."""

from pathlib import Path

import pytest
from browser import Browser
from live_pages import CUT, around, cells, open_live, said
from two_hosts_history import CUT as CUT_EVENT
from two_hosts_history import S, records, sample
from watched_page import WatchedPage, watched

from lab.records.history import Event


@pytest.fixture
def page(tmp_path: Path):
    with watched(tmp_path) as served:
        served.write((*records(), sample(S, ok=True)))
        yield served


def steps(page: WatchedPage) -> list[dict]:
    return [said["step"] for do, said in page.lab.asked if do == "step"]


def press(browser: Browser, text: str) -> None:
    found = f"[...document.querySelectorAll('dialog.move button')].find(each => each.textContent === {text!r})"
    browser.script(f"{found}.click()")


def test_a_line_through_the_cables_is_a_partition_and_the_matrix_turns(page, browser: Browser):
    open_live(browser, page.by_hand)
    assert "#" not in browser.script("location.href")
    browser.drag(*around(browser, "a"))
    browser.until("document.querySelector('.done').textContent.includes('partition done')")
    assert steps(page) == [{"partition": {"groups": [["a"], ["b"]]}}]
    page.write([CUT_EVENT, sample(4 * S, ok=False)])
    browser.until(f"Object.values(labPage.view.pairs).some(pair => pair && pair.state === {CUT})")
    assert cells(browser) == {"x → y": CUT}
    assert browser.console == []


def test_a_line_that_passes_no_cable_does_nothing(page, browser: Browser):
    open_live(browser, page.by_hand)
    (x, y), *_ = around(browser, "a")
    browser.drag((x, y), (x + 30, y))
    browser.until("document.querySelector('.done').textContent.includes('no cable')")
    assert page.lab.asked == []


def test_faults_have_their_lease_and_a_button_that_heals(page, browser: Browser):
    page.lab.faults.append({"step": 2, "label": "partition a | b", "until": 25 * S, "by": "jo (page)"})
    open_live(browser, page.by_hand)
    browser.until("document.querySelector('.faults .left')?.textContent.endsWith('s left')")
    assert "by jo (page)" in said(browser, ".faults")
    browser.click(".faults button")
    browser.until("document.querySelector('.done').textContent.startsWith('ended')")
    assert page.lab.asked == [("undo", {"index": 2, "by": page.lab.asked[0][1]["by"]})]


def test_a_host_has_its_verbs_at_a_click_and_others_in_a_form(page, browser: Browser):
    open_live(browser, page.by_hand)
    browser.script("labPage.emit('host', 'b')")
    browser.script(
        "[...document.querySelectorAll('dialog.move button')].find(b => b.textContent === 'kill daemon').click()"
    )
    browser.until("document.querySelector('.done').textContent.includes('kill done')")
    assert steps(page) == [{"kill": {"daemon": "b"}}]
    browser.script("labPage.emit('host', 'b')")
    press(browser, "slow_disk …")
    browser.script("document.querySelectorAll('dialog.move input[type=range]')[0].value = 8")
    browser.script("document.querySelectorAll('dialog.move input[type=range]')[0].dispatchEvent(new Event('input'))")
    browser.script("document.querySelector('#move-lease').value = '1m30s'")
    browser.click("dialog.move .go")
    browser.until("!document.querySelector('dialog[open]')")
    assert steps(page)[1] == {"slow_disk": {"host": "b", "latency": "200ms"}}
    assert page.lab.asked[1][1]["lease"] == 90 * S


def test_all_of_it_goes_by_keyboard_and_a_refusal_is_spoken(page, browser: Browser):
    page.lab.refusal = "partition: found none of them, expected exactly one of groups, one_way"
    open_live(browser, page.by_hand)
    browser.key("c")
    browser.until("document.querySelector('dialog[open] h2').textContent === 'partition'")
    assert browser.script("document.querySelector('dialog').contains(document.activeElement)")
    browser.script("document.querySelector('dialog.move .go').focus()")
    browser.key("Enter")
    browser.until("document.querySelector('dialog .refusal').textContent.includes('expected exactly one')")
    assert browser.script("document.querySelector('dialog .refusal').getAttribute('role')") == "alert"
    browser.key("Escape")
    browser.until("!document.querySelector('dialog[open]')")
    page.lab.refusal = "there is no move to undo; nothing is in force"
    browser.key("u")
    browser.until("document.querySelector('#hands > .refusal').textContent.includes('no move to undo')")


def test_an_onlooker_has_no_hands(page, browser: Browser):
    open_live(browser, page.to_look)
    assert browser.script("document.querySelectorAll('#hands button').length") == 0
    assert "You look on" in said(browser, "#hands")
    browser.drag(*around(browser, "a"))
    browser.key("u")
    assert browser.script("labPage.move({kill: 'a'}).then(() => 'done', (error) => error.message)") != "done"
    assert page.lab.asked == []


@pytest.mark.parametrize("token", ["", "x" * 32])
def test_without_its_token_the_page_says_what_to_do(page, browser: Browser, token):
    browser.open(page.address + (f"#{token}" if token else ""))
    browser.until("document.documentElement.dataset.link === 'refused'")
    assert "open the whole address" in said(browser, "#hands")
    assert browser.script("labPage.history.events.length") == 0


def test_it_comes_back_by_itself_where_it_was(tmp_path, browser: Browser):
    with watched(tmp_path) as page:
        page.write(records())
        open_live(browser, page.by_hand)
        before = browser.script("labPage.history.events.length")
    browser.until("document.documentElement.dataset.link === 'away'")
    (tmp_path / "again").mkdir()
    with watched(tmp_path / "again", port=page.port, keys=page.keys) as back:
        back.write((*records(), CUT_EVENT))
        browser.until(f"labPage.history.events.length === {before + 1}")
        browser.until("document.documentElement.dataset.link === 'live'")


def test_foreign_words_are_words(page, browser: Browser):
    wicked = "<img src=x onerror=window.caught=1>\x1b[31m\u202e</script><script>window.caught=1</script>"
    page.lab.faults.append({"step": 2, "label": wicked, "until": None, "by": wicked})
    page.lab.refusal = wicked
    open_live(browser, page.by_hand)
    placed = {wicked: "a", "y": wicked}
    detail = {"label": wicked, "by": wicked, "error": wicked, "replicas": placed}
    page.write(
        [Event(t=3 * S, step=9, what="kill", phase="start", ok=True, detail=detail, groups=((wicked, "a"), ("b",)))]
    )
    browser.until("document.querySelector('.messages').textContent.includes('onerror')")
    browser.until("document.querySelector('.faults').textContent.includes('onerror')")
    browser.key("u")
    browser.until("document.querySelector('#hands > .refusal').textContent.includes('onerror')")
    browser.script("labPage.emit('host', 'a')")
    browser.until("document.querySelector('dialog').textContent.includes('onerror')")
    assert browser.script("window.caught") is None
    assert browser.script("document.querySelectorAll('img[src=x]').length") == 0
    assert not [line for line in browser.console if "409" not in line]

"""The page of a run in a real browser: it loads from a file and asks nobody for anything, and everything in it moves
to one moment."""

import json
import re
from pathlib import Path
from typing import Any

import node_tools
import pytest
import synthetic_history
from browser import Browser
from synthetic_history import MS, S, Story

from lab.figures.mesh_groups import GROUPED_ABOVE
from lab.records.history import AnyRecord, Writer
from lab.report import write_report
from lab.report.feed import Feed
from lab.report.page import render_live


def page_of(records: list[AnyRecord], folder: Path) -> Path:
    with (folder / "history.jsonl").open("wb") as file:
        writer = Writer(file)
        for record in records:
            writer.write(record)
    write_report(folder)
    return folder / "index.html"


@pytest.fixture(scope="module")
def partition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(synthetic_history.partition(), tmp_path_factory.mktemp("a run"))


def shown(browser: Browser, t: int) -> None:
    """Go to a moment, and wait until it is drawn."""
    browser.script(f"labPage.setNow({t})")
    browser.settled()


def said(browser: Browser, figure: str) -> str:
    text: str = browser.script(f"document.querySelector('#{figure} .say').textContent")
    return text


def opened(browser: Browser, page: Path | str) -> None:
    """A page that complains of nothing and loads nothing but itself."""
    browser.open(page)
    browser.settled()
    assert browser.console == []
    assert len(browser.requests) == 1, browser.requests


def test_everything_moves_to_one_moment(browser: Browser, partition: Path) -> None:
    opened(browser, partition)
    fault = browser.script("labPage.history.faults[0]")
    before, during = fault["start"] - S, fault["end"] - S
    looks = []
    for t in (before, during, fault["end"] + 5 * S):
        shown(browser, t)
        looks.append(
            (
                said(browser, "matrix"),
                browser.script("labPage.topology.cy.edges('.link').length"),
                browser.script("new Set(labPage.topology.cy.nodes('.host').map(node => node.data('form'))).size"),
                browser.script("document.querySelector('.happening .fault')?.textContent ?? ''"),
            )
        )
    assert [links for _, links, *_ in looks] == [1, 0, 1] and [forms for _, _, forms, _ in looks] == [1, 2, 1]
    assert looks[0][0] == "6 of 6 pairs reached." and looks[1][0] == "2 of 6 pairs reached, 4 not, as expected."
    assert looks[2][0] == looks[0][0]
    assert [fault for *_, fault in looks] == ["", fault["label"], ""]
    # The slider is where the moment is, and moves it by keys.
    browser.script("document.getElementById('time').focus()")
    now = browser.script("labPage.now")
    browser.key("ArrowLeft")
    browser.settled()
    assert browser.script("labPage.now") < now
    assert "step" in browser.script("document.getElementById('time').getAttribute('aria-valuetext')")
    lines = browser.script("[...document.querySelectorAll('.moment')].map(line => line.style.transform)")
    shown(browser, before)
    assert lines != browser.script("[...document.querySelectorAll('.moment')].map(line => line.style.transform)")
    assert browser.console == []


def test_figures_lead_to_steps_and_steps_to_moments(browser: Browser, partition: Path) -> None:
    opened(browser, partition)
    fault = browser.script("labPage.history.faults[0]")
    browser.click("#pairs .faults a")
    step = f"#step-{fault['step'] + 1}"
    browser.until(f"location.hash === '{step}'")
    assert fault["label"] in browser.script(f"document.querySelector('{step}').textContent")
    browser.click(f"{step} button")
    browser.until(f"labPage.now === {fault['start']}")
    # The last step that had begun by then is marked, those that had not are pale.
    browser.until(f"document.querySelector('{step}').classList.contains('future') === false")
    browser.until(
        "labPage.history.steps.filter(each => each.start <= labPage.now).length === 1 +"
        " [...document.querySelectorAll('#steps li')].indexOf(document.querySelector('[aria-current=step]'))"
    )
    # A click in a figure is a moment too, and so is an address.
    left, top, width, height = browser.box("#pairs canvas")
    browser.drag((left + width * 0.5, top + height * 0.5))
    browser.until(f"labPage.now !== {fault['start']}")
    browser.script("location.hash = '#t=12.5'")
    browser.until("labPage.now === 12.5e9")


def test_a_filter_and_tables_and_tooltips(browser: Browser, partition: Path) -> None:
    opened(browser, partition)
    matrix = "labPage.history.series.filter(each => !each.name && labPage.shows(each)).length"
    every = browser.script(matrix)
    browser.script(
        "{ const s = document.querySelector('.timebar select'); s.value = s.options[1].value;"
        " s.dispatchEvent(new Event('change')); }"
    )
    browser.settled()
    assert 0 < browser.script(matrix) < every
    browser.click("#matrix summary")
    rows = browser.until("document.querySelectorAll('#matrix tbody tr').length")
    assert rows == browser.script(
        "labPage.history.series.filter(each => !each.name && labPage.shows(each)"
        " && each.probe === labPage.history.series.find(one => !one.name).probe).length"
    )
    browser.script("document.querySelector('#matrix canvas').focus()")
    browser.key("ArrowRight")
    browser.until("!document.querySelector('.tip').hidden && document.querySelector('.tip').textContent.length > 3")
    browser.key("ArrowDown")
    browser.until("document.querySelector('#matrix .say').textContent.includes('on ')")
    assert browser.console == []


def test_the_wheel_scrolls_the_page_and_zooms_a_figure_only_with_ctrl(browser: Browser, partition: Path) -> None:
    opened(browser, partition)
    browser.box("#topology .graph")
    rests = "!labPage.topology.cy.renderer().scrollingPage"  # meanwhile the figure would ignore the wheel anyway
    browser.until(rests)
    zoom, top = browser.script("labPage.topology.cy.zoom()"), browser.script("scrollY")
    browser.wheel("#topology .graph", 100)
    browser.until(f"scrollY > {top}")
    assert browser.script("labPage.topology.cy.zoom()") == zoom
    browser.box("#topology .graph")
    browser.until(rests)
    browser.wheel("#topology .graph", 100, ctrl=True)
    browser.until(f"labPage.topology.cy.zoom() !== {zoom}")


HOSTILE = ("<img src=x onerror=alert(1)>", "\u202egnp.exe\u2066", "n" * 300, "</script><script>alert(2)</script>")


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    hosts = HOSTILE
    places = {f"s{number}{name}": name for number, name in enumerate(hosts)}
    story = Story(hosts, places, name=HOSTILE[0], question=HOSTILE[3])
    story.took(0, 100 * MS, "run", label=HOSTILE[0], groups=(hosts,), **story.place(places))
    for host in hosts:
        story.view(150 * MS, host, hosts)
    first, *others = places
    for t in range(200 * MS, 3 * S, 200 * MS):
        for other in others:
            story.sample(t, "http", first, other, True)
    story.event(S, "partition", phase="start", ok=True, label=HOSTILE[1], groups=(hosts[:1], hosts[1:]))
    story.event(3 * S, "down")
    opened(browser, page_of(story.finish(), tmp_path))
    shown(browser, 2 * S)
    for details in ("topology", "matrix", "pairs"):
        browser.click(f"#{details} summary")
    browser.hover(*browser.box("#matrix canvas")[:2])
    browser.settled()
    assert browser.script("document.querySelectorAll('img, #app script, iframe, object').length") == 0
    assert HOSTILE[0] in browser.script("document.querySelector('#topology table').textContent")
    assert "\u202e" not in browser.script("document.body.innerText")
    assert browser.script("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.console == []


def mesh(number: int) -> list[AnyRecord]:
    """That many hosts with a container each, all asked by all; one half is cut from the other."""
    hosts = tuple(f"host{n}" for n in range(1, number + 1))
    places = {f"web-{n}": host for n, host in enumerate(hosts, 1)}
    story = Story(hosts, {"web": hosts[0]}, name="mesh", probes=({"kind": "http", "every": S, "timeout": S},))
    story.took(0, 100 * MS, "run", label="run all", groups=(hosts,), **story.place(places))
    for host in hosts:
        story.view(150 * MS, host, hosts)
    half = number // 2
    step = story.event(3 * S, "partition", "start", label="cut", groups=(hosts[:half], hosts[half:]))
    story.event(6 * S, "partition", "end", step=step, ok=True, groups=(hosts,))
    for index, host in enumerate(hosts):
        story.view(3500 * MS, host, hosts[half:] if index >= half else hosts[:half])
        story.view(6500 * MS, host, hosts)
    names = list(places)
    for t in range(200 * MS, 8 * S, S):
        for a, one in enumerate(names):
            for b, other in enumerate(names):
                if a != b:
                    story.sample(t, "http", one, other, not (3 * S <= t < 6 * S and (a < half) != (b < half)))
    story.event(8 * S, "down")
    return story.finish()


def test_sixty_four_hosts_are_readable(browser: Browser, tmp_path: Path) -> None:
    page = page_of(mesh(64), tmp_path)
    assert page.stat().st_size < 4 << 20
    opened(browser, page)
    shown(browser, 5 * S)
    assert drawn(browser, "node.host") == 64
    assert drawn(browser, "edge") == 0 and drawn(browser, "node.block") == 2
    assert re.match(r"1984 of 4032 pairs reached, 2048 not", said(browser, "matrix"))
    # Names are large enough to be read, and no figure is wider than the window or many screens tall.
    assert browser.script("labPage.topology.cy.zoom() * 16") >= 8
    assert browser.script("document.querySelector('#pairs canvas').clientHeight") < 900
    for width in (1280, 360):
        browser.resize(width, 800)
        browser.settled()
        assert browser.script("document.documentElement.scrollWidth") <= width
    assert browser.console == []


def drawn(browser: Browser, what: str) -> int:
    number: int = browser.script(f"labPage.topology.cy.$('{what}').length")
    return number


def labels(browser: Browser, what: str) -> list[str]:
    found: list[str] = browser.script(f"labPage.topology.cy.$('{what}').map(each => each.data('label'))")
    return found


def test_a_large_mesh_is_drawn_by_groups_with_links_counted(browser: Browser, tmp_path: Path) -> None:
    few, many = GROUPED_ABOVE, GROUPED_ABOVE + 1
    for number in (few, many):
        (tmp_path / str(number)).mkdir()
        page_of(mesh(number), tmp_path / str(number))
    opened(browser, tmp_path / str(few) / "index.html")
    shown(browser, 2 * S)
    assert drawn(browser, "edge.link") == few * (few - 1) // 2 and drawn(browser, ".block, .bundle, .number") == 0

    opened(browser, tmp_path / str(many) / "index.html")
    one, other = many // 2, many - many // 2
    inside = [f"{size * (size - 1) // 2} connections" for size in (one, other)]
    places = []
    for t, links in ((2 * S, [str(one * other)]), (5 * S, []), (7 * S, [str(one * other)])):
        shown(browser, t)
        assert drawn(browser, "node.host") == many and drawn(browser, "edge.link") == 0
        assert drawn(browser, "edge.bundle") == len(links) and labels(browser, "node.number") == links
        assert [label.split("\n")[1] for label in labels(browser, "node.block")] == inside
        forms = browser.script("new Set(labPage.topology.cy.nodes('.host').map(node => node.data('form'))).size")
        assert forms == (1 if links else 2)
        assert f"{one * other if links else 0} of them between 2 blocks" in said(browser, "topology")
        places.append(browser.script("labPage.topology.cy.$('node').map(node => [node.id(), node.position('x')])"))
    assert dict(places[0]).keys() - dict(places[1]).keys() == {"n:0 1"}, "the number between the blocks"
    assert all(dict(places[0])[node] == x for node, x in places[1]), "blocks keep their places"


def test_a_running_lab_divides_its_blocks_at_each_cut(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "live.html"
    page.write_text(render_live("A lab"), encoding="utf-8")
    browser.open(page)
    browser.until("document.documentElement.dataset.link === 'refused'")
    feed = Feed()
    made = [each for record in mesh(GROUPED_ABOVE + 6) for each in feed.feed(record)]
    for before, blocks in ((2 * S, [30]), (5 * S, [15, 15])):
        sent, made = (
            [each for each in made if each.get("t", 0) < before],
            [each for each in made if each.get("t", 0) >= before],
        )
        browser.script(f"labPage.append({json.dumps(sent)}); true")
        browser.settled()
        told = browser.script("labPage.topology.cy.$('node.block').map(each => each.data('told')[0])")
        assert [int(words.split()[0]) for words in told] == blocks
    assert drawn(browser, "node.host") == 30


NAME_WIDTH = """(() => { const {cy, canvas} = labPage.topology, node = cy.nodes('.host')[0];
  const ratio = devicePixelRatio || 1, {x, y} = node.renderedPosition(), half = node.renderedHeight() / 2;
  const wide = Math.round(120 * ratio);
  const pen = [...canvas.querySelectorAll('canvas')].pop().getContext('2d');
  const {data} = pen.getImageData(Math.round(x * ratio) - wide / 2, Math.round((y + half + 3) * ratio), wide, 20);
  const every = [...Array(data.length / 4).keys()];
  const dark = every.filter(at => data[4 * at + 3] - data[4 * at] > 128).map(at => at % wide);
  return dark.length ? Math.max(...dark) - Math.min(...dark) : 0; })()"""
"""Pixels from the first to the last dark one in the name of the first host, which stands below it."""


def test_a_name_that_grows_is_not_clipped_after_the_window_changed(browser: Browser, tmp_path: Path) -> None:
    browser.scheme("light")
    opened(browser, page_of(mesh(2), tmp_path))
    shown(browser, 2 * S)

    def rests() -> None:
        for _ in range(40):  # frames, in which cytoscape keeps pictures of names
            browser.settled()

    rests()
    browser.picture(tmp_path / "a.png")  # which gives the window another size for a moment
    rests()
    short = browser.until(NAME_WIDTH)
    assert labels(browser, "node.host")[0] == "host1"
    shown(browser, 5 * S)
    rests()
    assert labels(browser, "node.host")[0] == "host1 · A"
    browser.until(f"{NAME_WIDTH} > {1.3 * short}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_a_screen_reader(browser: Browser, partition: Path, scheme: str) -> None:
    browser.scheme(scheme)
    opened(browser, partition)
    browser.script((node_tools.parts() / "axe-core/axe.min.js").read_text(encoding="utf-8") + "; true")
    found: list[dict[str, Any]] = browser.script(
        "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(each =>"
        " ({id: each.id, impact: each.impact, nodes: each.nodes.map(node => node.html.slice(0, 160))})))"
    )
    assert found == []


def test_without_scripts_the_page_says_what_came_of_the_run(browser: Browser, partition: Path) -> None:
    browser.without_scripts()
    browser.open(partition)
    browser.without_scripts(False)
    text = browser.script("document.body.innerText")
    for words in ("Valid", "What was done", "partition orion.local", "What was expected", "need JavaScript"):
        assert words in text
    assert browser.console == []


def test_a_live_page_follows_its_records(browser: Browser, tmp_path: Path) -> None:
    records = synthetic_history.partition()
    page = tmp_path / "live.html"
    page.write_text(render_live("A lab"), encoding="utf-8")
    browser.open(page)  # which looks in vain for the server that would send its records (test_watch_page.py has one)
    browser.until("document.documentElement.dataset.link === 'refused'")
    feed = Feed()
    made = [each for record in records for each in feed.feed(record) if record.t < 20 * S]
    half = len(made) // 2
    browser.script(f"labPage.append({json.dumps(made[:half])}); true")
    browser.settled()
    first = browser.script("labPage.now")
    assert first == browser.script("labPage.last") > S
    browser.script(f"labPage.append({json.dumps(made[half:])}); true")
    browser.settled()
    assert browser.script("labPage.now") > first
    # Who looks at a moment that is past stays there; "Now" follows again.
    shown(browser, 2 * S)
    browser.script("labPage.append([{k: 'load', t: 30e9, cpu: 0.5}]); true")
    browser.settled()
    assert browser.script("labPage.now") == 2 * S
    browser.script("labPage.setNow(null)")
    assert browser.script("labPage.now") == 30 * S
    assert not [line for line in browser.console if "Error" in line and "fetch" not in line.lower()]

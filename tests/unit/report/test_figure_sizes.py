"""Figures of 2, 16 and 64 hosts: nothing hides anything, what was not tried is hatched, papers get columns.

What overlaps is measured on the drawn figure, by the extents that matplotlib computes.
"""

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import synthetic_history
from click.testing import CliRunner
from matplotlib.figure import Figure as Canvas
from matplotlib.image import AxesImage
from matplotlib.patches import Circle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from synthetic_history import MS, S, Story
from synthetic_points import point

from lab.checkers import RecordedRun
from lab.cli import lab
from lab.figures.mesh_groups import mesh_cells, mesh_counts
from lab.plots import _DRAW
from lab.plots.style import COLUMN, context
from lab.records.history import AnyRecord, Writer
from lab.sweep.figures import figures
from lab.sweep.groups import grouped


def cut_in_two(number: int, *, odd: int = 0) -> list[AnyRecord]:
    """All hosts mesh; from 2 s to 4 s two halves are apart. `odd`: hosts whose links only the other end knows."""
    hosts = tuple(f"host-{n}" for n in range(1, number + 1))
    names = {f"service-{n}": host for n, host in enumerate(hosts, 1)}
    halves = hosts[: number // 2], hosts[number // 2 :]
    story = Story(hosts, names, name="halves")
    story.took(0, 100 * MS, "run", label="run all", groups=(hosts,), **story.place(names))
    for index, host in enumerate(hosts):
        story.view(150 * MS, host, hosts[:1] if index < odd else hosts)
    label = f"partition {halves[0][0]} … {halves[0][-1]} | {halves[1][0]} … {halves[1][-1]}"
    step = story.event(2 * S, "partition", "start", label=label, groups=halves)
    for host in hosts:
        story.view(2500 * MS, host, halves[host in halves[1]])
    story.event(4 * S, "partition", "end", step=step, label=label, groups=(hosts,))
    for host in hosts:
        story.view(4500 * MS, host, hosts)
    half = {name: host in halves[1] for name, host in names.items()}
    asked = list(names) if number <= 16 else list(names)[:: number // 16]
    for one in names:
        for other in asked:
            if one != other:
                for t in (500 * MS, 1500 * MS, 2500 * MS, 3500 * MS, 4500 * MS):
                    story.sample(t, "icmp", one, other, half[one] == half[other] or not 2 * S <= t < 4 * S)
        for t in (S, 3 * S, 5 * S):
            story.sample(t, "dns", one, "service-1.weave.local", True, answers=("10.0.1.1",))
    story.event(6 * S, "down")
    return story.finish()


RUNS = {number: RecordedRun(cut_in_two(number)) for number in (2, 16, 64)}


def drawn(number: int, style: str) -> Iterator[tuple[str, Canvas]]:
    with context(style):
        for name, draw in _DRAW.items():
            canvas = draw(RUNS[number])
            if canvas is not None:
                canvas.draw_without_rendering()
                yield name, canvas


def _texts(canvas: Canvas) -> list[tuple[str, Bbox]]:
    """All words that are drawn level or upright, and where."""
    found = [each for each in canvas.findobj(Text) if isinstance(each, Text) and each.get_visible()]
    for axes in canvas.axes:  # ticks beyond the limits are there, but not drawn
        for place, labels, limits in (
            (0, axes.get_xticklabels(which="both"), axes.get_xlim()),
            (1, axes.get_yticklabels(which="both"), axes.get_ylim()),
        ):
            low, high = sorted(limits)
            beyond = [label for label in labels if not axes.axison or not low <= label.get_position()[place] <= high]
            found = [each for each in found if each not in beyond]
    said = [each for each in found if each.get_text().strip() and each.get_rotation() % 90 == 0]
    return [(each.get_text(), each.get_window_extent()) for each in said]


@pytest.mark.parametrize("style", ["screen", "paper"])
@pytest.mark.parametrize("number", RUNS)
def test_no_word_hides_another_or_leaves_the_picture(number: int, style: str) -> None:
    for name, canvas in drawn(number, style):
        texts = _texts(canvas)
        frame = canvas.bbox.padded(2)
        assert len(texts) > 3, name
        outside = [word for word, box in texts if not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0
                                                       and box.y1 <= frame.y1)]  # fmt: skip
        assert not outside, (name, outside)
        hidden = [
            (one, other)
            for (one, a), (other, b) in combinations(texts, 2)
            if a.padded(-1).overlaps(b.padded(-1))
        ]  # fmt: skip
        assert not hidden, (name, hidden)


@pytest.mark.parametrize("number", [2, 8, 16, 24])
def test_names_hide_no_host(number: int) -> None:
    run = RUNS.get(number) or RecordedRun(cut_in_two(number))
    with context():
        canvas = _DRAW["topology"](run)
        assert canvas is not None
        canvas.draw_without_rendering()
        for axes in canvas.axes:
            circles = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, Circle)]
            assert len(circles) == 2 * number  # a host, and its container
            words = [text for text in axes.texts if text.get_text().startswith(("host", "service"))]
            assert len(words) >= number
            level = [text.get_window_extent() for text in words if text.get_rotation() % 180 == 0]
            assert not any(word.padded(-1).overlaps(circle) for word in level for circle in circles)


def test_many_hosts_are_drawn_as_groups_with_links_counted() -> None:
    run = RUNS[64]
    cells = mesh_cells(run)
    assert [(cell.name, len(cell.hosts)) for cell in cells] == [("host-1 … host-32", 32), ("host-33 … host-64", 32)]
    before, during, after = mesh_counts(run, cells)
    inside, across = 32 * 31 // 2, 32 * 32
    assert before.inside == during.inside == after.inside == (inside, inside)
    assert before.between == after.between == {(0, 1): across} and during.between == {}
    assert before.group == (0, 0) and during.group == (0, 1) and during.containers == (32, 32)
    with context():
        canvas = _DRAW["topology"](run)
    assert canvas is not None
    shown = [text.get_text() for axes in canvas.axes for text in axes.texts]
    assert shown.count("32") == 6 and shown.count(str(across)) == 2 and "host-1 … host-32" in "".join(shown)
    assert sum(len(axes.lines) for axes in canvas.axes) == 2, "one line between two groups, and none while they are cut"
    odd = RecordedRun(cut_in_two(64, odd=2))
    assert mesh_counts(odd, mesh_cells(odd))[0].onesided == {(0, 0): 61, (0, 1): 64}


def test_what_was_not_tried_is_hatched_and_failures_are_not_lost() -> None:
    """64 sources with 15 or 16 targets each: a row each; a single failed try has a colour that success has not."""
    run = RUNS[64]
    with context():
        canvas = _DRAW["reachability"](run)
    assert canvas is not None
    (image,) = canvas.axes[0].get_images()
    grid = image.get_array()
    assert grid is not None and grid.shape[0] == 64
    assert [text.get_text() for text in canvas.axes[0].get_yticklabels()][:2] == ["service-1", "service-3"]
    colours = {tuple(colour) for colour in np.asarray(image.cmap(image.norm(np.arange(1, 6))))}
    assert len(colours) == 5 and not any(len(set(colour[:3])) == 1 for colour in colours), "no result is grey"
    for name in ("reachability", "matrices"):
        with context():
            canvas = _DRAW[name](run)
        assert canvas is not None
        for axes in (axes for axes in canvas.axes if any(isinstance(i, AxesImage) for i in axes.get_images())):
            assert any(patch.get_hatch() for patch in axes.patches), name


@pytest.mark.parametrize("number", RUNS)
def test_axes_say_their_units(number: int) -> None:
    for name, canvas in drawn(number, "screen"):
        if name in ("topology", "underlay"):
            continue
        labels = " ".join(f"{axes.get_xlabel()} {axes.get_ylabel()}" for axes in canvas.axes)
        assert "(s)" in labels or name == "matrices", (name, labels)
        assert name != "latency" or labels.count("(ms)") == len(canvas.axes)


def test_papers_get_figures_of_their_column_widths(tmp_path: Path) -> None:
    with (tmp_path / "history.jsonl").open("wb") as file:
        writer = Writer(file)
        for record in synthetic_history.partition():
            writer.write(record)
    done = CliRunner().invoke(lab, ["report", str(tmp_path), "--format", "svg,pdf", "--style", "paper"])
    assert done.exit_code == 0, done.output
    widths = {}
    for path in tmp_path.glob("*.svg"):
        text = path.read_text()
        found = re.search(r'<svg[^>]* width="([\d.]+)pt"', text)
        assert found is not None and "<text" in text, "words stay words, which an editor can change"
        widths[path.stem] = round(float(found[1]) / 72 * 25.4)
        pdf = path.with_suffix(".pdf").read_bytes()
        assert pdf.startswith(b"%PDF") and b"/Type3" not in pdf, "publishers refuse Type 3 fonts"
    assert widths == {
        "reachability": 84, "convergence": 84, "latency": 84, "dns": 84, "topology": 178, "matrices": 178
    }  # fmt: skip
    refused = CliRunner().invoke(lab, ["report", str(tmp_path), "--style", "paper"])
    assert refused.exit_code == 2 and "expected --format too" in refused.output


def test_figures_of_sweeps_have_the_same_styles_and_legends_outside() -> None:
    groups = grouped([point(seed, hosts) for hosts in (4, 8, 16) for seed in range(6)])
    screen, paper = (figures(groups, ("svg",), style) for style in ("screen", "paper"))
    assert [each.name for each in screen] == [each.name for each in paper] and len(paper) >= 3
    for each in paper:
        text = each.pictures["svg"].decode()
        found = re.search(r'<svg[^>]* width="([\d.]+)pt"', text)
        assert found is not None and round(float(found[1]) / 72 * 25.4) == 178 and "<text" in text
        assert "(s)" in text or "per peer" in text
    assert pytest.approx(84) == COLUMN * 25.4

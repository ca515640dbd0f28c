"""Two sweeps against each other, and the page: what is said of them."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from synthetic_points import point, points

from lab.cli import lab
from lab.errors import LabError
from lab.sweep.compare import compare
from lab.sweep.grid import Setting
from lab.sweep.groups import events_of, grouped, headline, number, sample_of
from lab.sweep.measure import Point
from lab.sweep.page import exit_code, write
from lab.sweep.run import SweepDescription, SweepResults
from lab.sweep.table import CSV, write_tables


def swept(made: list[Point], planned: int | None = None, **more: bool) -> SweepResults:
    seeds = tuple(dict.fromkeys(one.seed for one in made))
    about = SweepDescription(
        scenario="partition", question="Is <it> back?", file="scenarios/partition.yaml", backend="sim", code="1",
        settings=(Setting("topology.hosts", ("4", "8", "16")),), seeds=seeds,
    )  # fmt: skip
    return SweepResults(about=about, points=tuple(made), planned=planned or len(made), reused=0, **more)


def test_a_difference_is_found_and_put_in_words() -> None:
    found = compare(points(range(80)), points(range(100, 180), factor=1.6))
    assert found.verdict == "differ"
    assert {(item.event, item.metric) for item in found.differences if item.differs} >= {
        ("heal", "overall"),
        ("heal", "reachability"),
    }
    assert all(item.event == "heal" for item in found.differences if item.differs)
    heal = next(item for item in found.differences if (item.event, item.metric) == ("heal", "overall"))
    assert heal.ratio is not None and heal.low is not None and heal.high is not None
    assert heal.low < 1.6 < heal.high and heal.superiority > 0.7
    assert "B takes longer" in heal.words and "times (95 % interval" in heal.words and "p < 0.001" in heal.words
    back = compare(points(range(100, 180), factor=1.6), points(range(80)))
    assert "B is sooner" in next(i for i in back.differences if (i.event, i.metric) == ("heal", "overall")).words


def test_no_difference_is_not_invented() -> None:
    found = compare(points(range(60)), points(range(1000, 1060)))
    assert found.verdict == "no difference" and "No difference was found in" in found.words
    assert compare(points(range(60)), points(range(60))).verdict == "no difference"


def test_more_invalid_runs_are_a_difference() -> None:
    worse = [point(seed, verdict="invalid" if seed % 2 else "valid") for seed in range(40)]
    found = compare(points(range(40)), worse)
    assert found.verdict == "differ" and "fewer runs are valid: 50% instead of 100%" in found.words


def test_settings_are_matched_and_the_rest_is_named() -> None:
    found = compare(points(range(20), (4, 8)), points(range(20), (8, 16)))
    assert {item.setting for item in found.differences} == {"hosts 8"}
    assert found.unmatched == ("hosts 4 (A only)", "hosts 16 (B only)")


@pytest.mark.parametrize("runs", [3, 5])
def test_where_no_difference_could_be_found_it_is_said_how_many_seeds_are_needed(runs: int) -> None:
    """5 against 5 without overlap: p is 2 of 252 at least, times all comparisons more than 0.05."""
    found = compare(points(range(runs)), points(range(100, 100 + runs), factor=9))
    assert found.verdict == "unknown"
    wanted = re.search(r"Play at least (\d+) seeds on each side", found.words)
    assert wanted and int(wanted[1]) > runs
    enough = int(wanted[1])
    assert compare(points(range(enough)), points(range(100, 100 + enough), factor=99)).verdict == "differ"


def test_a_primary_outcome_is_tested_by_itself() -> None:
    few, other = points(range(6)), points(range(6), factor=2)
    assert compare(few, other).verdict == "unknown"
    found = compare(few, other, primary="heal:reachability")
    assert found.verdict == "differ" and "reachability" in found.words
    assert compare(few, other, primary="run:reachability").verdict != "differ"
    with pytest.raises(LabError, match=r"found no outcome heal:nothing .* expected one of valid, run:overall"):
        compare(few, other, primary="heal:nothing")


def test_runs_of_equal_seeds_are_pairs() -> None:
    """2 % longer in every run: within pairs it is seen, though runs of one side lie a factor of two apart."""
    name = "heal:reachability"
    paired = compare(points(range(20)), points(range(20), factor=1.02), primary=name)
    assert paired.verdict == "differ" and "100 of 100 seeds" in paired.words
    assert compare(points(range(20)), points(range(100, 120), factor=1.02), primary=name).verdict == "no difference"
    backwards = compare(points(range(20)), points(reversed(range(20)), factor=1.02), primary=name)
    assert backwards.verdict == "differ", "pairs are found by their seeds, not by their places"


def test_constants_and_duplicates_are_no_comparisons_of_their_own() -> None:
    """In these points the whole run's bytes, messages and all counts but one of each event are constant."""
    found = compare(points(range(60)), points(range(1000, 1060)))
    assert len(found.differences) == 19 and "in 14 comparisons" in found.words
    twice = [
        msgspec.structs.replace(
            one, events=tuple(
                msgspec.structs.replace(event, times=event.times | {"dns": event.times["topology"]})
                for event in one.events
            ),
        )
        for one in points(range(60))
    ]  # fmt: skip
    assert "in 12 comparisons" in compare(twice, [*reversed(twice[:30]), *twice[30:]]).words


def test_alike_needs_a_margin() -> None:
    a, b = points(range(60)), points(range(1000, 1060))
    assert compare(a, b, margin=3.0).verdict == "alike"
    close = compare(a, b, margin=1.001)
    assert close.verdict == "unknown" and "nor are the two shown to be alike within a factor of 1.001" in close.words
    worse = [point(seed, verdict="invalid" if seed == 3 else "valid") for seed in range(60)]
    assert compare(worse, worse, primary="valid", margin=1.2).verdict == "alike"
    assert compare(worse, a, primary="valid", margin=1.02).verdict == "unknown"


def test_the_command_says_it_all(tmp_path: Path) -> None:
    for name, made in (("a", points(range(40))), ("b", points(range(40), factor=2.0))):
        (tmp_path / name).mkdir()
        write_tables(tmp_path / name, made)
    command = ["compare", str(tmp_path / "a"), str(tmp_path / "b" / CSV)]
    result = CliRunner().invoke(lab, command)
    assert result.exit_code == 1 and "The two differ in" in result.output
    told = json.loads(CliRunner().invoke(lab, [*command, "--json"]).output)
    assert told["verdict"] == "differ" and len(told["differences"]) > 5
    assert CliRunner().invoke(lab, ["compare", command[1], command[1]]).exit_code == 0
    assert CliRunner().invoke(lab, ["compare", str(tmp_path), command[1]]).exit_code != 0


def test_samples_of_events_and_runs() -> None:
    (group,) = grouped(points(range(50)))
    overall = sample_of(group.points, "heal", "overall")
    assert len(overall) == 50 and overall.censored > 0
    assert set(overall.values[~overall.reached]) == {6.0}
    assert len(sample_of(group.points, "", "bytes_per_peer")) == 50
    assert len(sample_of(group.points, "nothing", "overall")) == 0
    assert events_of([group]) == ["run", "partition", "heal"] and headline(["run", "kill", "back"]) == "back"
    assert headline(["launch", "run", "scale"]) == "scale" and headline([]) == ""
    assert not grouped([msgspec.structs.replace(point(1), failed=True)])


@pytest.mark.parametrize(
    ("text", "value"),
    [("16", 16), ("500ms", 0.5), ("1%", 0.01), ("10mbit", 1e7), ("2m", 120), ("ring", None), ("", None)],
)
def test_values_as_numbers(text: str, value: float | None) -> None:
    assert number(text) == (None if value is None else pytest.approx(value))


def test_the_page_stands_alone_and_shows_what_went_wrong(tmp_path: Path) -> None:
    made = points(range(12), (4, 8, 16))
    made[5] = point(5, 4, verdict="invalid")
    page = write(tmp_path, swept(made)).read_text()
    assert "<script" not in page and "http://" not in page and 'src="data:image/png' in page
    assert "Is &lt;it&gt; back?" in page
    assert "1 of 36 runs did not do what the scenario expects" in page and made[5].replay in page
    for name in ("after-heal", "scaling-hosts", "traffic"):
        assert (tmp_path / f"{name}.png").is_file() and f'id="{name}"' in page
    assert (tmp_path / "after-heal.csv").read_text().startswith("assignment,metric,time_s,share,low,high,floor_s\n")
    first = page
    assert write(tmp_path, swept(made)).read_text() == first
    write(tmp_path, swept(points(range(2))))
    assert not (tmp_path / "scaling-hosts.png").exists()


def test_a_page_of_nothing(tmp_path: Path) -> None:
    empty = swept([point(1)], planned=4, interrupted=True)
    empty = msgspec.structs.replace(empty, points=())
    assert "4 of 4 runs were not played yet" in write(tmp_path, empty).read_text()


def test_exit_codes() -> None:
    assert exit_code(swept(points(range(3)))) == 0
    assert exit_code(swept([*points(range(3)), point(9, verdict="invalid")])) == 1
    assert exit_code(swept(points(range(3)), planned=4)) == 3
    assert exit_code(swept([*points(range(3)), point(9, verdict="unknown")])) == 3
    assert exit_code(swept(points(range(3)), interrupted=True)) == 3

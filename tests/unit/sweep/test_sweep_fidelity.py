"""The simulator against real packets: ratios, and what is called close."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from synthetic_points import S, point, points

from lab.cli import lab
from lab.cli.sweep import _fidelity_table
from lab.sweep.fidelity import fidelity
from lab.sweep.measure import Point


def test_equal_runs_are_close() -> None:
    found = fidelity(points(range(20)), points(range(100, 120)))
    assert found.agree and found.verdicts == ("20 of 20", "20 of 20")
    assert not [line for line in found.lines if line.closeness == "off"]
    heal = next(line for line in found.lines if (line.event, line.metric) == ("heal", "overall"))
    assert heal.ratio is not None and heal.low is not None and heal.high is not None and heal.low < 1 < heal.high
    assert "within a factor of 2" in found.words and "20 of 20 in the simulator" in found.words


def test_a_simulator_that_is_three_times_too_quick_is_told() -> None:
    found = fidelity(points(range(20)), points(range(20), factor=3.0))
    far = {(line.event, line.metric) for line in found.lines if line.closeness == "off"}
    assert ("heal", "overall") in far and ("run", "overall") not in far
    assert "farthest off" in found.words and "after heal (0.3" in found.words


def test_what_is_short_on_both_sides_is_not_told_apart() -> None:
    found = fidelity(points(range(10), factor=0.01), points(range(10), factor=0.1))
    heal = next(line for line in found.lines if (line.event, line.metric) == ("heal", "topology"))
    assert heal.closeness == "close" and heal.ratio is None


def test_verdicts_that_differ() -> None:
    assert not fidelity(points(range(3)), [point(1, verdict="invalid")]).agree
    assert fidelity([point(k, verdict="invalid") for k in range(5)], _valid_of(4, 5)).agree is False
    assert fidelity(points(range(5)), _valid_of(4, 5)).agree is None, "one run of five may be chance"
    assert fidelity(_valid_of(0, 5), _valid_of(0, 3)).agree is True
    none = msgspec.structs.replace(point(1), events=())
    assert "nothing to compare" in fidelity([none], [none]).words


def _valid_of(valid: int, runs: int) -> list[Point]:
    return [point(k, verdict="valid" if k < valid else "invalid") for k in range(runs)]


def _changed(made: list[Point], event: str, **new: Any) -> list[Point]:
    """The same runs with something else after an event."""
    return [
        msgspec.structs.replace(
            one, events=tuple(
                msgspec.structs.replace(each, **new) if each.name == event else each for each in one.events
            ),
        )
        for one in made
    ]  # fmt: skip


def test_nothing_on_both_sides_is_equal() -> None:
    made = _changed(points(range(9)), "heal", messages_per_peer=0.0)
    made[0] = points([0])[0]  # one run that sent something: the figure is shown
    line = next(x for x in fidelity(made, made).lines if (x.event, x.metric) == ("heal", "messages_per_peer"))
    assert (line.sim, line.real, line.closeness) == (0, 0, "close")


def test_few_runs_do_not_tell_whether_a_figure_is_close() -> None:
    found = fidelity(points(range(4)), points(range(50, 54), factor=1.5))
    assert "unclear" in {line.closeness for line in found.lines} and "unclear with so few runs" in found.words


def test_times_are_compared_within_the_shorter_window() -> None:
    """Settled after 5 s in the simulator, which looked for 10 s; the real run looked for 4 s and saw nothing."""
    sim, real = points(range(9)), points(range(9))
    real = _changed(real, "partition", window=4 * S, times={"overall": None})
    line = next(x for x in fidelity(sim, real).lines if (x.event, x.metric) == ("partition", "overall"))
    assert (line.sim, line.real, line.closeness) == (None, None, "close")


def test_an_event_that_began_settled_on_one_side_only_is_left_out() -> None:
    real = _changed(points(range(9)), "partition", times={"overall": None})
    found = fidelity(points(range(9)), real)
    assert found.left_out == ("heal",) and "only one side had settled before: heal" in found.words
    assert "heal" not in {line.event for line in found.lines}


def test_times_that_probes_end_are_printed_with_their_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    """A heal that ends between two tries, and one that the first try after it found done: no exact milliseconds."""
    ended = {"overall": 380_000_000, "topology": 193_000_000, "reachability": 200_000_000}
    before = {"overall": 180_000_000, "topology": 193_000_000, "reachability": 0}
    floor = {"overall": 200_000_000, "reachability": 200_000_000}
    made = _changed(points(range(9)), "heal", times=ended, after=before, floor=floor)
    found = fidelity(made, made)
    lines = {line.metric: line for line in found.lines if line.event == "heal"}
    assert lines["overall"].sim_bounds == lines["overall"].real_bounds == (0.18, 0.38)
    assert lines["topology"].sim_bounds is None
    _fidelity_table(found, "netns")
    shown = capsys.readouterr().out
    assert shown.count("0.180–0.380 s") == 2 and shown.count("≤ 0.200 s") == 2 and shown.count(" 0.193 s") == 2


def test_a_simulator_is_not_compared_with_itself(tmp_path: Path) -> None:
    scenario = str(Path(__file__).parents[3] / "scenarios" / "partition.yaml")
    result = CliRunner().invoke(lab, ["fidelity", scenario, "--against", "sim", "--out", str(tmp_path / "o")])
    assert result.exit_code == 2 and "real packets" in result.output and not (tmp_path / "o").exists()

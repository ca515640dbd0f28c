"""The simulator beside real packets: ratios, and what is called close."""

from pathlib import Path

import msgspec
from click.testing import CliRunner
from synthetic_points import point, points

from lab.cli import lab
from lab.sweep.fidelity import fidelity


def test_equal_runs_are_close() -> None:
    found = fidelity(points(range(20)), points(range(100, 120)))
    assert found.agree and found.verdicts == ("20 of 20", "20 of 20")
    assert all(line.close for line in found.lines)
    heal = next(line for line in found.lines if (line.event, line.metric) == ("heal", "overall"))
    assert heal.ratio is not None and heal.low is not None and heal.high is not None and heal.low < 1 < heal.high
    assert "within a factor of 2" in found.words and "20 of 20 in the simulator" in found.words


def test_a_simulator_that_is_three_times_too_quick_is_told() -> None:
    found = fidelity(points(range(20)), points(range(20), factor=3.0))
    far = {(line.event, line.metric) for line in found.lines if not line.close}
    assert ("heal", "overall") in far and ("run", "overall") not in far
    assert "farthest off" in found.words and "after heal (0.3" in found.words


def test_what_is_short_on_both_sides_is_not_told_apart() -> None:
    found = fidelity(points(range(10), factor=0.01), points(range(10), factor=0.1))
    heal = next(line for line in found.lines if (line.event, line.metric) == ("heal", "topology"))
    assert heal.close and heal.ratio is None


def test_verdicts_that_differ() -> None:
    assert not fidelity(points(range(3)), [point(1, verdict="invalid")]).agree
    none = msgspec.structs.replace(point(1), events=())
    assert "nothing to compare" in fidelity([none], [none]).words


def test_a_simulator_is_not_compared_with_itself(tmp_path: Path) -> None:
    scenario = str(Path(__file__).parents[3] / "scenarios" / "partition.yaml")
    result = CliRunner().invoke(lab, ["fidelity", scenario, "--against", "sim", "--out", str(tmp_path / "o")])
    assert result.exit_code == 2 and "real packets" in result.output and not (tmp_path / "o").exists()

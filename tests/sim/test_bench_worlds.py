"""The benchmark's worlds, small: what they play converges, and what they count adds up. Nothing timed is asserted."""

import pytest

from benchmarks.sim import exponent
from benchmarks.worlds import Play, perform
from overlay.env import SECOND


def test_a_split_ends_as_one_mesh_again() -> None:
    outcome = perform(Play("split", 12, 4, cut=10 * SECOND))
    assert [phase.name for phase in outcome.phases] == ["boot", "split", "apart", "heal"]
    assert all(phase.handled > 0 and phase.sent_bytes > 0 for phase in outcome.phases)


def test_churn_brings_everybody_back() -> None:
    outcome = perform(Play("churn", 12, 4, duration=40 * SECOND, gap=4 * SECOND, away=6 * SECOND))
    assert outcome.extra["departures"] >= 3


def test_a_change_costs_octets_of_its_kind_and_less_than_whole_states() -> None:
    extra = perform(Play("change", 16, 4, changes=2)).extra
    assert extra["name 1"] > 0 and extra["link 1"] > 0
    assert 0 < extra["ring 1"] < extra["original ring"]


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_the_exponent_is_that_of_the_power(power: float) -> None:
    assert exponent([(x, 3 * x**power) for x in (125, 250, 500)]) == pytest.approx(power)

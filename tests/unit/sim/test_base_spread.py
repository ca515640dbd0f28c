"""The spread of what takes no time but that of kernels: its tables, and what is drawn from them."""

import json
from pathlib import Path

from lab.sim.spread import BETWEEN_PAIRS, ROUND_TRIP, Spread, _at

BENCH = Path(__file__).parents[3] / "reports" / "bench" / "spread.json"


def test_draws_follow_the_table() -> None:
    spread = Spread(3)
    drawn = sorted(spread.around(1_000_000) for _ in range(16_000))
    for place, wanted in enumerate(ROUND_TRIP):
        found = drawn[len(drawn) * (2 * place + 1) // (2 * len(ROUND_TRIP))]
        assert abs(found / 1_000 - wanted) < 0.03 * wanted, place
    assert drawn[0] == ROUND_TRIP[0] * 1_000 and drawn[-1] == ROUND_TRIP[-1] * 1_000


def test_places_lie_on_straight_lines_between_the_middles_of_the_parts() -> None:
    table = (0, 1_000)
    assert [_at(table, drawn << 12) for drawn in (0, 4, 8, 10, 12, 15)] == [0, 0, 500, 750, 1000, 1000]


def test_a_pair_has_one_delay_in_a_run_and_others_in_other_runs() -> None:
    names = [(f"a{number}", f"b{number}") for number in range(400)]
    spread = Spread(1)
    delays = [spread.of_pair(*pair, 100_000) for pair in names]
    assert delays == [Spread(1).of_pair(*pair, 100_000) for pair in names], "whatever was drawn before"
    assert all(100 * BETWEEN_PAIRS[0] <= delay <= 100 * BETWEEN_PAIRS[-1] for delay in delays)
    assert 98_000 < sorted(delays)[200] < 102_000
    assert Spread(2).of_pair(*names[0], 100_000) != delays[0] or Spread(2).of_pair(*names[1], 100_000) != delays[1]
    assert spread.of_pair("a", "b", 100_000) != spread.of_pair("b", "a", 100_000)


def test_the_tables_are_the_measured_ones() -> None:
    rows = json.loads(BENCH.read_text(encoding="utf-8"))
    for metric, table in (("round trip by its pair's median", ROUND_TRIP),
                          ("pair's median by that of all", BETWEEN_PAIRS)):  # fmt: skip
        measured = [round(1000 * row["median"]) for row in rows if row["metric"] == metric]
        assert len(measured) == len(table)
        assert all(abs(one - other) <= 100 for one, other in zip(measured, table, strict=True))

"""Each scenario is played on real packets in one part of four, or in all."""

from pathlib import Path

from turns import ALWAYS, TURNS, turns_of

NAMES = {file.name for file in (Path(__file__).parents[2] / "scenarios").glob("*.yaml")}


def test_every_scenario_has_a_part_and_parts_are_of_one_size() -> None:
    found = turns_of(NAMES)
    assert found.keys() == NAMES >= ALWAYS
    assert {name for name, part in found.items() if part is None} == ALWAYS
    sizes = [sum(part == turn for part in found.values()) for turn in range(TURNS)]
    assert sum(sizes) == len(NAMES - ALWAYS) and max(sizes) - min(sizes) <= 1

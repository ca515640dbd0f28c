"""The protocol's timers: bounded, refused when senseless, set by flags and scenarios, and all of them at work."""

import re
from pathlib import Path

import pytest

from lab.kinds.constants import own_options, page
from lab.overlays.weave import flags
from lab.scenario.load import ScenarioError, parse
from overlay.cli.launch_flags import known_flags, parse_launch
from overlay.cli.words import Usage
from overlay.config import Config
from overlay.options import TUNING, differences
from overlay.tuning import STANDARD, constants, shown

TOP = Path(__file__).parents[3]
SOURCES = "\n".join(path.read_text() for path in sorted((TOP / "overlay").rglob("*.py")) if path.name != "tuning.py")
SCENARIO = """\
version: 1
underlay: {hosts: {a: {}, b: {}}}
overlay: {kind: weave, options: {%s}}
timeline: [{launch: all}]
"""


@pytest.mark.parametrize("constant", constants().values(), ids=lambda constant: constant.name)
def test_each_is_within_its_limits_has_a_flag_and_is_read_by_a_core(constant) -> None:
    assert constant.low <= constant.default <= constant.high and len(constant.about) > 15
    assert constant.flag in known_flags()
    assert re.search(rf"tuning\.{constant.name}\b", SOURCES), "a timer that nothing reads is no timer"
    config = parse_launch([f"--{constant.flag}", shown(constant, constant.default)], {}).config("::1", "x")
    assert config.tuning == STANDARD
    beyond = shown(constant, constant.high + (1 if constant.unit == "count" else 3600 * 10**9))
    with pytest.raises(Usage, match=f"--{constant.flag} .*expected"):
        parse_launch([f"--{constant.flag}", beyond], {})
    for nonsense in ("soon", "-1", "", "1e9", "nan"):
        with pytest.raises(Usage, match=f"--{constant.flag}"):
            parse_launch([f"--{constant.flag}", nonsense], {})


def test_values_that_make_no_sense_together_are_refused_in_one_sentence() -> None:
    with pytest.raises(Usage, match=r"--dial-first 2h is above --dial-longest 60s; expected at most as much"):
        parse_launch(["--dial-first", "2h"], {})
    parse_launch(["--dial-first", "2h", "--dial-longest", "2h"], {})


def test_a_scenario_sets_them_and_what_is_wrong_is_told_with_its_place() -> None:
    scenario = parse(SCENARIO % "dial_first: 100ms, announce-fanout: 5", "x.yaml")
    config = parse_launch(flags(scenario.overlay.options), {}).config("::1", "x")
    assert (config.tuning.dial_first, config.tuning.announce_fanout) == (100_000_000, 5)
    for wrong, said in (
        ("dial_frist: 1s", "dial_frist"),
        ("dial_first: 1ms", "10ms to 24h"),
        ("probe_misses: 1", "from 2"),
    ):
        with pytest.raises(ScenarioError, match=said):
            parse(SCENARIO % wrong, "x.yaml")


def test_another_launch_tells_how_its_timers_differ() -> None:
    one, other = parse_launch(["--dial-first", "1s"], {}), parse_launch([], {})
    assert differences(one, other) == ["--dial-first is 1s, asked for 500ms"]
    assert differences(one, parse_launch(["--dial-first", "1000ms"], {})) == []


def test_the_page_of_constants_is_that_of_the_code() -> None:
    assert (TOP / "docs" / "constants.md").read_text(encoding="utf-8") == page(), "make schema"
    fields = {one.name for one in own_options()}
    assert fields == set(TUNING) and all(hasattr(Config, name) for name in fields)

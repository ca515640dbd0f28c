"""Durations, percentages, rates and sizes: what is read is what was written, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.scenario.values import format_duration, parse_duration, parse_percentage, parse_rate, parse_size

YEAR = 366 * 24 * 3600 * 10**9


@given(st.integers(min_value=0, max_value=YEAR))
def test_a_duration_survives_being_written(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("200ms", 200_000_000),
        ("1s", 10**9),
        ("1.5s", 1_500_000_000),
        ("2m", 120 * 10**9),
        ("1m30s", 90 * 10**9),
        ("7µs", 7000),
    ],
)
def test_durations_are_exact(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "5 s", "-1s", "1.s", "s", "1e3s", "0.1ns", "9999999h", "１s x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.text(max_size=30))
def test_arbitrary_text_gives_a_value_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_percentage, parse_rate, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert str(error).startswith("expected ")


def test_percentages_rates_and_sizes() -> None:
    assert parse_percentage("0.5%") == 0.005
    assert parse_percentage("100%") == 1.0
    assert parse_rate("10mbit") == 10_000_000
    assert parse_rate("1.5gbit") == 1_500_000_000
    assert parse_size("64KB") == 64_000
    assert parse_size("1MiB") == 1 << 20
    for parse, text in ((parse_percentage, "101%"), (parse_rate, "10MB"), (parse_size, "1.5")):
        with pytest.raises(ValueError, match="expected"):
            parse(text)

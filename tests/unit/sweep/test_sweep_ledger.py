"""The points that are done: what a kill may tear, who may write, what a key is made of."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from synthetic_points import FILE, point, points

from lab.errors import LabError
from lab.sweep.columns import numeric
from lab.sweep.ledger import LEDGER, Ledger, code_version, key_of, read_points
from lab.sweep.measure import Point
from lab.sweep.table import CSV, PARQUET, read_table, replay_of, write_tables


def test_points_are_there_again(tmp_path: Path) -> None:
    with Ledger(tmp_path, Point) as ledger:
        for one in points(range(3)):
            ledger.add(one)
    with Ledger(tmp_path, Point) as ledger:
        assert list(ledger.points.values()) == points(range(3))


def test_a_failed_point_is_not_done(tmp_path: Path) -> None:
    import msgspec

    with Ledger(tmp_path, Point) as ledger:
        ledger.add(msgspec.structs.replace(point(1), failed=True))
        assert not ledger.points
    with Ledger(tmp_path, Point) as ledger:
        assert not ledger.points


@pytest.mark.parametrize("cut", [1, 7, 200])
def test_a_torn_line_is_left_out_and_mended(tmp_path: Path, cut: int) -> None:
    with Ledger(tmp_path, Point) as ledger:
        for one in points(range(3)):
            ledger.add(one)
    path = tmp_path / LEDGER
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(read_points(path)) == points(range(2))
    with Ledger(tmp_path, Point) as ledger:
        ledger.add(point(9))
    assert list(read_points(path)) == [*points(range(2)), point(9)]


def test_what_is_no_point_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text('{"key": 3}\n')
    with pytest.raises(LabError, match=r"points.jsonl:1: no point"):
        Ledger(tmp_path, Point)


def test_two_sweeps_do_not_share_a_directory(tmp_path: Path) -> None:
    with Ledger(tmp_path, Point), pytest.raises(LabError, match="another sweep writes"):
        Ledger(tmp_path, Point)
    with Ledger(tmp_path, Point):
        pass


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="choose another with --out"):
        Ledger(tmp_path / "file", Point)


def test_a_key_is_of_everything_that_decides() -> None:
    base = (("a", "1"),), 1, "digest", "sim", "code"
    others = [
        ((("a", "2"),), 1, "digest", "sim", "code"),
        ((("a", "1"),), 2, "digest", "sim", "code"),
        ((("a", "1"),), 1, "other", "sim", "code"),
        ((("a", "1"),), 1, "digest", "netns", "code"),
        ((("a", "1"),), 1, "digest", "sim", "new code"),
    ]
    assert len({key_of(*one) for one in [base, *others]}) == 6
    assert key_of((("a", "1"), ("b", "2")), *base[1:]) == key_of((("b", "2"), ("a", "1")), *base[1:])
    assert code_version() == code_version()


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from([None, 2, 8])), max_size=8, unique=True))
def test_a_table_reads_back_exactly(which: list[tuple[int, int | None]]) -> None:
    import tempfile

    made = [point(seed, hosts, verdict="valid" if seed % 2 else "invalid") for seed, hosts in which]
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), made)
        # How long a run took to compute is no result: tables of equal sweeps are equal.
        file = Path(folder) / FILE
        made = [replace(one, wall=0.0, replay=replay_of(file, "sim", one.seed)) for one in made]
        assert read_table(Path(folder)) == read_table(Path(folder) / CSV) == made
        assert read_table(Path(folder) / PARQUET) == made


def test_every_column_has_one_type_and_says_its_unit(tmp_path: Path) -> None:
    from pyarrow import parquet

    late = next(one for one in points(range(200)) if any(None in event.times.values() for event in one.events))
    short, long = (replace(point(seed, 2), parameters={"hosts": "2", "overlay.hold": hold, "kind": "ring"})
                   for seed, hold in ((1, "500ms"), (2, "2m")))  # fmt: skip
    write_tables(tmp_path, [replace(late, parameters={}), short, long])
    table = parquet.read_table(tmp_path / PARQUET)
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds["overall_ns"] == kinds["overall_censored"] == kinds["seed"] == kinds["window_ns"] == "int64"
    assert kinds["set:hosts"] == kinds["set:overlay.hold_s"] == kinds["bytes_per_peer"] == "double"
    assert kinds["set:kind"] == kinds["event"] == "string" and "wall_s" not in kinds
    with (tmp_path / CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, kind in kinds.items():
        for cell in (row[name] for row in rows):
            assert kind == "string" or cell == "" or float(cell) == float(cell), (name, cell)
    assert {row["set:overlay.hold_s"] for row in rows} == {"", "0.5", "120.0"}
    times = [(row["overall_ns"], row["overall_censored"]) for row in rows]
    assert ("", "1") in times, "a time that was not reached is no time, and says so next to it"
    assert all((time == "") == (censored != "0") for time, censored in times)
    assert not any("not reached" in cell for row in rows for cell in row.values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1%", "0"], ("_fraction", {"1%": 0.01, "0": 0.0})),
        (["10mbit", "1gbit"], ("_bit_per_s", {"10mbit": 1e7, "1gbit": 1e9})),
        (["8", "1e3"], ("", {"8": 8.0, "1e3": 1000.0})),
        (["8", "1s"], None),
        (["ring"], None),
        (["true"], None),
    ],
)
def test_values_are_numbers_in_one_unit_or_text(values: list[str], expected: object) -> None:
    assert numeric(values) == expected


def test_what_is_no_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / PARQUET).write_bytes(b"PAR1 it is not")
    with pytest.raises(LabError, match=r"sweep\.parquet is no table in Parquet"):
        read_table(tmp_path / PARQUET)


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no sweep at"):
        read_table(tmp_path)
    (tmp_path / CSV).write_text("a,b\n1,2\n")
    with pytest.raises(LabError, match=r"sweep.csv:2: no row"):
        read_table(tmp_path)

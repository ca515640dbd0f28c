"""The table of `lab doctor --links`."""

from lab.backends.netns.link_check import Measured
from lab.cli.link_doctor import lay_out_links
from lab.cli.table import lay_out


def test_a_row_says_what_was_asked_and_what_came_of_it_in_80_columns() -> None:
    found = [
        Measured(name="nothing", link={}, by="", sent=10, received=10, duplicates=0, took=0),
        Measured(
            name="10,000 a second", link={"delay": 5_000_000}, by="relay", sent=20_000, received=19_990, duplicates=0,
            took=2_000_000_000, bytes=20_000_000, p50=5_010_000, p99=105_230_000, spread=10_123_000,
        ),
    ]  # fmt: skip
    rows = lay_out_links(found)
    assert rows[0] == ["nothing", "", "0.00", "0.00", "0.00", "0.00", ""]
    assert rows[1] == ["delay 5ms, 10,000 a second", "relay", "5.01", "105.23", "10.12", "0.05", "80.00"]
    header, blocks = lay_out(("asked", "by", "median ms", "99 %", "spread", "lost %", "Mbit/s"), rows, width=80)
    assert header and len(blocks) == 2

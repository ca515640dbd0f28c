"""docs/tutorial.md: everything on the page but what needs real hosts (`system/test_tutorial_on_packets.py`)."""

from pathlib import Path

from tutorial_page import PAGE, follow


def test_every_block_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    typed = follow(PAGE, tmp_path, packets=False)
    assert "lab run mine.yaml --backend sim" in typed and len(typed) >= 6

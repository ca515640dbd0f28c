"""docs/tutorial.md: what is typed there on real packets, and on hosts that stay."""

from pathlib import Path

from netns_labs import require_netns
from tutorial_page import PAGE, follow


def test_the_tutorial_on_real_packets(tmp_path: Path) -> None:
    require_netns()
    typed = follow(PAGE, tmp_path, packets=True)
    assert "lab run mine.yaml" in typed and typed[-1] == "lab down"

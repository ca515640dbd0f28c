"""No run of ten or more lines stands twice: what is said once is mended once."""

from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("overlay", "lab", "benchmarks", "tests/support")
MOST = 9
"""Lines that may stand twice in a row; blank ones do not count."""


def test_no_run_of_ten_lines_stands_twice() -> None:
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            lines = [
                (number, text)
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
                if (text := line.strip())
            ]
            for start in range(len(lines) - MOST):
                run = lines[start : start + MOST + 1]
                places[tuple(text for _, text in run)].append(f"{path.relative_to(ROOT)}:{run[0][0]}")
    assert len(places) > 40_000
    copies = [" and ".join(found) for found in places.values() if len(found) > 1]
    assert not copies, "\n".join(copies)

"""The report of a made-up run, to the letter: its numbers and its page (pictures left out: they change with fonts).

`GOLDEN_REWRITE=1 pytest tests/golden/report` writes the files again; read the diff before committing it.
"""

import json
import os
import re
from pathlib import Path

import pytest
import synthetic_history

from lab.records.history import Writer
from lab.report import write_report

HERE = Path(__file__).parent
STORIES = {
    "partition": synthetic_history.partition(),
    "crash": synthetic_history.crash(),
    "cut_short": synthetic_history.partition(healed=False)[:900],
}


def compare(name: str, text: str) -> None:
    path = HERE / name
    if os.environ.get("GOLDEN_REWRITE"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", STORIES)
def test_numbers_and_page(name: str, tmp_path: Path) -> None:
    with (tmp_path / "history.jsonl").open("wb") as file:
        writer = Writer(file)
        for record in STORIES[name]:
            writer.write(record)
    summary = write_report(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    page = (tmp_path / "index.html").read_text()
    page = re.sub(r"<(style|script)>.*?</\1>", r"<\1>…</\1>", page, flags=re.DOTALL)
    page = re.sub(r"sha256-[\w+/=]+", "sha256-…", page)
    compare(f"{name}.summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    compare(f"{name}.html", re.sub(r"data:image/png;base64,[^\"]+", "data:…", page))

"""docs/protocols.md: its first protocol is played as the page says, and its table of traces is that of the code."""

import re
from pathlib import Path

from lab import foreign_code
from lab.api.played import load
from lab.cli.play import play
from lab.kinds.overlays import OVERLAYS
from lab.records.trace import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_protocol_does_what_the_page_says(tmp_path, monkeypatch):
    source, (scenario,) = blocks("python")[0], blocks("yaml")
    assert 'kind: "ring:Ring"' in scenario
    (tmp_path / "ring.py").write_text(source)
    (tmp_path / "ring.yaml").write_text(scenario)
    monkeypatch.setenv(foreign_code._VARIABLE, "")
    foreign_code.allow(f"{tmp_path}/ring.py:Ring")
    try:
        arguments = {"backend": "sim", "seed": None, "pace": None, "out": tmp_path, "as_json": False, "keep": False}
        assert play(tmp_path / "ring.yaml", **arguments, figures=False, trace=True) == 0
        run = load("ring", root=tmp_path)
        said = re.search(r'run.figures\["reliability_mean"\] +# ([0-9.]+)', PAGE.read_text(encoding="utf-8"))
        assert said is not None
        assert round(run.figures["reliability_mean"], 2) == float(said[1])
        assert {row["last_hop"] for row in run.trace.payloads.to_pylist()[:9]} == {7}
    finally:
        OVERLAYS._loaded.pop("ring:Ring", None)


def test_all_columns_of_traces_are_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    for name, columns in TABLES.items():
        for column in columns:
            assert f"| `{name}` | `{column.name}` | {column.type} | {column.about} |\n" in text

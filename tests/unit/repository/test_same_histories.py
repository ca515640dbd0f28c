"""`make same` sees every change of a history, and only the hash of the code is allowed to differ."""

import sys
from pathlib import Path
from runpy import run_path

import pytest

SAME = run_path(str(Path(__file__).parents[2] / "same" / "__main__.py"), run_name="same")
META = '{"kind":"meta","t":0,"scenario":{"file":"x.yaml","seed":1},"version":"1"%s}\n'
EARLIER = META.replace("x.yaml", "scenarios/x.yaml") % ',"machine":{"python":"3.11.2","code":"0a"}'
LINES = META % "" + '{"kind":"sample","t":1,"ok":true}\n{"kind":"end","t":2}\n'


def found(tmp_path: Path, here: str, there: str) -> str:
    paths = [tmp_path / "here", tmp_path / "there"]
    for path, text in zip(paths, (here, there), strict=True):
        path.write_text(text)
    told: str = SAME["difference"](*paths)
    return told


def test_what_earlier_commits_said_of_code_and_folder_is_no_difference(tmp_path: Path) -> None:
    assert not found(tmp_path, LINES, LINES.replace(META % "", EARLIER))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("true", "false"), 2),
        (('"t":2', '"t":3'), 3),
        (('{"kind":"end","t":2}\n', ""), 3),
        (('"seed":1', '"seed":2'), 1),
    ],
)
def test_each_other_change_is_told_with_its_line(tmp_path: Path, change: tuple[str, str], line: int) -> None:
    changed = LINES.replace(*change)
    assert f"line {line}," in found(tmp_path, LINES, changed)
    assert f"line {line}," in found(tmp_path, changed, LINES)


def test_wrong_use_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["same", "no-such-commit"])
    assert SAME["main"]() == 2
    assert "no commit" in capsys.readouterr().err

"""Histories, manifests and tables with odd but well-formed content: a sentence and exit code 3 (or 2), no verdict."""

import io
import tarfile
from pathlib import Path

import pytest

from lab.cli import lab
from lab.cli.ending import code_within
from lab.errors import LabError
from lab.images.archive import names_in
from lab.sweep.table import read_table

META = '{"kind":"meta","t":0,"scenario":{},"backend":"sim","seed":1,"version":"1"}'
ODD = {
    "a step": '{"kind":"step","t":1}',
    "a list": "[1]",
    "no JSON": "{",
    "not UTF-8": '{"kind":"gone","t":1,"host":"\udcff"}',
    "deep": "[" * 100_000,
    "a scenario of other shape": META.replace("{}", '{"underlay":[7],"timeline":5,"probes":3,"services":[1]}'),
    "a time that is none": '{"kind":"gone","t":"late","host":"a"}',
    "groups that are none": '{"kind":"event","t":1,"step":0,"what":"up","phase":"end","groups":7}',
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("command", ["check", "report", "replay"])
def test_an_odd_line_is_no_verdict(command: str, odd: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [META, ODD[odd]] if odd != "a scenario of other shape" else [ODD[odd]]
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join(lines) + "\n", errors="surrogateescape")
    code = code_within(lambda: lab.main([command, str(tmp_path)], standalone_mode=False))
    said = "".join(capfd.readouterr())
    assert code == 3, said
    assert (str(file) in said and "another version wrote it" in said) or "no resolved scenario of this version" in said
    assert "Traceback" not in said and "This is a bug" not in said


@pytest.mark.parametrize(
    "manifest", ["null", "[1]", "{}", '"x"', '[{"RepoTags": 7}]', '[{"RepoTags": ["a", 7]}]', "[" * 100_000, "\udcff"]
)
def test_an_odd_manifest_is_no_archive_of_images(manifest: str, tmp_path: Path) -> None:
    path, text = tmp_path / "shop.tar", manifest.encode(errors="surrogateescape")
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    with pytest.raises(LabError, match=r"shop\.tar is no image archive as `docker save` writes them"):
        names_in(path)


def test_an_odd_sweep_cannot_be_compared(tmp_path: Path) -> None:
    for number, odd in enumerate((b"key,seed\n\xff,1\n", b"key\nx\n", b'key,seed\n"' + b"x" * 200_000 + b'",1\n')):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(odd)
        with pytest.raises(LabError, match=str(number)):
            read_table(path)
    ledger = tmp_path / "points.jsonl"
    ledger.write_text("[" * 100_000 + "\n")
    with pytest.raises(LabError, match="no point of a sweep"):
        read_table(ledger)
    assert code_within(lambda: lab.main(["compare", str(ledger), str(ledger)], standalone_mode=False)) == 3

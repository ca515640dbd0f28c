"""Claims of artifacts: derived from results, compared within their tolerance, and nothing foreign is started."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from lab.artifact.check import check, chosen
from lab.artifact.claims import Artifact, ArtifactClaim, ClaimGroup, judged, read_claims, rows_of, written
from lab.artifact.sources import of_benchmarks, read_description
from lab.artifact.write import write
from lab.errors import LabError

TOP = Path(__file__).parents[3]
OURS = TOP / "artifact" / "performance.yaml"

CLAIM = ArtifactClaim(id="x.1", text="x", where={"name": "a"}, column="median", value=10.0, low=5.0, high=20.0)
GROUP = ClaimGroup(id="x", title="x", command=("python", "-m", "benchmarks", "x"), produces="x.json", minutes=1,
                   memory_mb=1, claims=(CLAIM,))  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "verdict", "found"),
    [
        ([{"name": "a", "median": "12"}], "reproduced", "12"),
        ([{"name": "a", "median": "20.5"}], "not reproduced", "20.5"),
        ([{"name": "a", "median": "4.9"}], "not reproduced", "4.9"),
        ([{"name": "a", "median": "nan"}], "not reproduced", "nan"),
        ([{"name": "a", "median": ""}], "not reproduced", "nothing"),
        ([{"name": "b", "median": "12"}], "not reproduced", "no such row"),
        ([{"name": "a", "median": "12"}, {"name": "a", "median": "12"}], "not reproduced", "2 rows of that kind"),
        ([], "not reproduced", "no such row"),
    ],
)
def test_a_number_is_reproduced_within_its_tolerance(rows: list[dict[str, str]], verdict: str, found: str) -> None:
    assert judged(CLAIM, rows) == (verdict, found)


def test_a_word_is_reproduced_if_it_is_equal() -> None:
    claim = replace(CLAIM, equals="supported", column="judgement")
    assert judged(claim, [{"name": "a", "judgement": "supported"}])[0] == "reproduced"
    assert judged(claim, [{"name": "a", "judgement": "refuted"}]) == ("not reproduced", "refuted")


def test_the_committed_figures_reproduce_themselves() -> None:
    artifact = of_benchmarks(OURS)
    described = read_description(OURS).benchmarks
    for group in artifact.groups:
        assert group.id in described, f"{group.id} has no minutes and needs in {OURS.name}"
        rows = rows_of(TOP / "reports" / "bench" / f"{group.id}.json")
        found = {claim.id: judged(claim, rows) for claim in group.claims}
        assert [(one, told) for one, told in found.items() if told[0] != "reproduced"] == []


def test_every_number_of_the_page_of_performance_is_a_claim() -> None:
    artifact = of_benchmarks(OURS)
    page = (TOP / "docs" / "performance.md").read_text(encoding="utf-8")
    tables = [line for line in page.splitlines() if line.startswith("| ")]
    rows = [line for line in tables if not line.startswith(("| ---", "| candidate |"))]
    claims = [claim for group in artifact.groups for claim in group.claims]
    medians = [claim for claim in claims if claim.column == "median"]
    assert len(medians) == len(rows) > 50
    assert sum(claim.column == "ratio" for claim in claims) == len(re.findall(r"\| [\d.]+ of ", page))
    for group in artifact.groups:
        assert f"`python -m benchmarks {group.id}`" in page and group.minutes and group.memory_mb
        for claim in group.claims:
            assert claim.low is not None and claim.value is not None and claim.high is not None
            assert claim.low <= claim.value <= claim.high
    assert [group.id for group in chosen(artifact, (), False)] == [group.id for group in artifact.groups if group.quick]
    assert len(chosen(artifact, (), True)) == len(artifact.groups)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((("command", ("sh", "-c", "id")),), "expected `lab experiment run"),
        ((("command", ("python", "-c", "import os")),), "expected `lab experiment run"),
        ((("command", ("lab", "run", "x.yaml")),), "expected `lab experiment run"),
        ((("produces", "/etc/passwd"),), "expected one below the folder"),
        ((("produces", "../../x"),), "expected one below the folder"),
        ((("minutes", 1e9),), "at most a week"),
    ],
)
def test_an_artifact_of_a_stranger_starts_nothing_but_the_lab(
    tmp_path: Path, change: tuple[tuple[str, object], ...], said: str
) -> None:
    artifact = Artifact(name="x", title="x", groups=(replace(GROUP, **dict(change)),))
    (tmp_path / "claims.json").write_bytes(written(artifact))
    with pytest.raises(LabError, match=said):
        read_claims(tmp_path / "claims.json")
    with pytest.raises(LabError, match=said):
        list(check(artifact, tmp_path, artifact.groups))


def test_what_is_no_artifact_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="expected a folder that `lab artifact` wrote"):
        read_claims(tmp_path / "claims.json")
    (tmp_path / "claims.json").write_text("[]")
    with pytest.raises(LabError, match="no claims of an artifact"):
        read_claims(tmp_path / "claims.json")
    (tmp_path / "x.csv").write_bytes(b"\xff")
    with pytest.raises(LabError, match="is no table"):
        rows_of(tmp_path / "x.csv")
    (tmp_path / "x.yaml").write_text(
        "artifact: 1\nname: x\ntitle: x\nresults: .\nbenchmarks: {heal: {minutes: soon}}\n"
    )
    with pytest.raises(LabError, match="minutes"):
        read_description(tmp_path / "x.yaml")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    artifact = Artifact(name="x", title="x", groups=(GROUP,))
    with pytest.raises(LabError, match="holds something else"):
        write(tmp_path, artifact, experiment=None, results=None)
    files = write(tmp_path / "new", artifact, experiment=None, results=None, authors=("A. Author",))
    assert {"claims.json", "README.md", "CITATION.cff", "ro-crate-metadata.json"} <= {*files}
    assert read_claims(tmp_path / "new" / "claims.json") == artifact
    assert '- name: "A. Author"' in (tmp_path / "new" / "CITATION.cff").read_text()
    crate = msgspec.json.decode((tmp_path / "new" / "ro-crate-metadata.json").read_bytes())
    listed = {part["@id"] for node in crate["@graph"] if node["@id"] == "./" for part in node["hasPart"]}
    assert (
        listed
        == {*files} - {"ro-crate-metadata.json"}
        == {node["@id"] for node in crate["@graph"] if node["@type"] == "File"}
    )


def test_what_is_not_asked_for_is_told_with_its_minutes(tmp_path: Path) -> None:
    slow = replace(GROUP, id="slow", minutes=90, needs=("packets",))
    artifact = Artifact(name="x", title="x", groups=(slow,))
    assert chosen(artifact, (), False) == []
    (replay,) = check(artifact, tmp_path, [])
    assert replay.checked[0].verdict == "not run"
    assert replay.checked[0].found == "takes 90 minutes, needs packets: name it by --claim slow"
    with pytest.raises(LabError, match="found no claims named fast, expected one of slow"):
        chosen(artifact, ("fast",), False)

"""A package of one's own adds a verb, a probe, an overlay and a checker: `lab` checks, plays, judges and draws them."""

import json
import os
from pathlib import Path

import pytest
from foreign_packages import FOLDER, installed, lab

from lab.records.history import Event, Sample, read
from lab.records.store import HISTORY

SCENARIO = FOLDER / "islands.yaml"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """In which `lab` finds the package."""
    return installed(tmp_path_factory.mktemp("lab islands"))


def test_a_scenario_with_kinds_of_another_package_is_played(tmp_path: Path, environment: dict[str, str]) -> None:
    words = ("run", str(SCENARIO), "--backend", "sim", "--json", "--out", str(tmp_path))
    done = lab(*words, cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    run = Path(told["run_dir"])
    records = list(read(run / HISTORY))
    assert "reachable all and converged all and running 3 within 10s" in told["expectations"][0]["text"]
    samples = [record for record in records if isinstance(record, Sample)]
    assert {sample.probe for sample in samples} == {"tcp"}
    across = [sample for sample in samples if (sample.source, sample.target) == ("beach", "lighthouse")]
    assert {sample.ok for sample in across} == {True, False}
    assert all(sample.latency for sample in samples if sample.ok)
    events = [record for record in read(run / HISTORY) if isinstance(record, Event) and record.what == "storm"]
    assert [(event.phase, event.detail["label"]) for event in events] == [
        ("start", "storm around south"),
        ("end", "storm around south"),
    ]
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert (summary["verdict"], summary["overlay"]) == ("valid", "islands") and summary["samples"]["tcp"]["ok"]
    assert "median TCP connection answer" in (run / "index.html").read_text(encoding="utf-8")


def test_its_kinds_are_in_the_schema_and_its_options_are_checked(tmp_path: Path, environment: dict[str, str]) -> None:
    schema = json.loads(lab("schema", cwd=tmp_path, environment=environment).stdout)
    assert "Storm" in schema["$defs"] and "storm" in schema["$defs"]["Step"]["properties"]
    probes = schema["$defs"]["ProbeSpec"]["properties"]["kind"]["enum"]
    assert probes[:3] == ["http", "icmp", "dns"] and probes[-1] == "tcp"
    text = SCENARIO.read_text(encoding="utf-8")
    (tmp_path / "nowhere.yaml").write_text(text.replace("around: south", "around: sout"), encoding="utf-8")
    done = lab("validate", "nowhere.yaml", cwd=tmp_path, environment=environment)
    assert "timeline[7].storm.around[0]: found 'sout', expected a host: north, south" in done.stderr
    text = text.replace("running: 3", "running: many")
    text = text.replace("bridges: true", "brigdes: true").replace("send: hello", "say: hello")
    (tmp_path / "wrong.yaml").write_text(text, encoding="utf-8")
    done = lab("validate", "wrong.yaml", cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    expected = "found the option 'brigdes' on overlay islands, expected one of bridges; did you mean 'bridges'?"
    assert expected in done.stderr
    assert "found the option 'say' on probe tcp, expected one of send" in done.stderr
    assert "expect.running: found 'many', expected a whole number" in done.stderr


def test_without_the_package_the_scenario_is_refused_and_its_runs_can_be_read(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    words = ("run", str(SCENARIO), "--backend", "sim", "--no-figures", "--json", "--out", str(tmp_path))
    told = json.loads(lab(*words, cwd=tmp_path, environment=environment).stdout.splitlines()[-1])
    bare = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    refused = lab("validate", str(SCENARIO), cwd=tmp_path, environment=bare)
    assert refused.returncode == 2
    assert "overlay.kind: found 'islands', expected 'weave', 'vxlan', 'none', " in refused.stderr
    assert "probes[0].kind: found 'tcp', expected 'http', 'icmp', 'dns', 'jitter', " in refused.stderr
    assert "found the key 'storm', expected one of at, for, on_failure, launch" in refused.stderr
    assert "found the key 'running', expected one of reachable, unreachable, converged, " in refused.stderr
    drawn = lab("report", told["run_dir"], cwd=tmp_path, environment=bare)
    assert drawn.returncode == 0 and drawn.stdout.startswith("valid"), drawn.stdout + drawn.stderr


def test_hosts_that_lack_the_package_are_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    done = lab("validate", str(SCENARIO), "--backend", "vagrant", cwd=tmp_path, environment=environment)
    assert "tcp is in the package lab-islands, which hosts of vagrant do not have; use netns or sim" in done.stderr


def test_a_broken_package_hinders_only_who_asks_for_it(tmp_path: Path, environment: dict[str, str]) -> None:
    site = tmp_path / "site"
    about = site / "broken-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    sorts = {"overlays": "fog", "probes": "sonar", "verbs": "sink", "checkers": "afloat"}
    points = "".join(f"[overlay_lab.{sort}]\n{name} = broken.{name}:KIND\n" for sort, name in sorts.items())
    (about / "entry_points.txt").write_text(points, encoding="utf-8")
    both = environment | {"PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(site)])}
    assert lab("validate", str(SCENARIO), "--backend", "sim", cwd=tmp_path, environment=both).returncode == 0
    text = SCENARIO.read_text(encoding="utf-8").replace("kind: tcp", "kind: sonar").replace("storm:", "sink:")
    text = text.replace("running: 3", "afloat: 3")
    (tmp_path / "sonar.yaml").write_text(text, encoding="utf-8")
    done = lab("validate", "sonar.yaml", "--backend", "sim", cwd=tmp_path, environment=both)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for kind in ("probe 'sonar'", "verb 'sink'", "checker 'afloat'"):
        assert f"the {kind} of the package broken cannot be used: broken." in done.stderr, kind

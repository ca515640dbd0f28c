"""`lab artifact` as a person runs it: written from an experiment, replayed elsewhere, and a wrong claim is seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
EXPERIMENT = """\
# Do more hosts take longer to agree?
experiment: 1
scenario: ring.yaml
factors: {topology.hosts: [3, 4]}
seeds: {at_least: 3, at_most: 3}
primary: connect:overall
precision: 500%
hypotheses:
  - id: H1
    claim: they do
    compare: [{topology.hosts: 3}, {topology.hosts: 4}]
    expect: more
"""
SCENARIO = """\
version: 1
underlay: {generate: {kind: ring, hosts: 3}}
overlay: weave
timeline: [{launch: all}, {connect: all}, {expect: {converged: all, within: 20s}}, {wait: 5s}]
"""


def lab(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(TOP), "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def test_an_artifact_is_written_replayed_and_a_wrong_claim_is_seen(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "hosts.yaml").write_text(EXPERIMENT)
    (tmp_path / "mine" / "ring.yaml").write_text(SCENARIO)
    early = lab("artifact", "mine/hosts.yaml", cwd=tmp_path)
    assert early.returncode == 2 and "lab experiment run mine/hosts.yaml" in early.stderr
    done = lab("experiment", "run", "mine/hosts.yaml", "--jobs", 1, cwd=tmp_path)
    assert done.returncode in (0, 1, 3), done.stderr
    made = lab("artifact", "mine/hosts.yaml", "--out", "ours", "--json", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    files = json.loads(made.stdout)["files"]
    assert {"claims.json", "README.md", "CITATION.cff", "data/experiment.yaml", "data/scenario.yaml",
            "data/paper/effects.pdf", "data/registered.json", "data/provenance.json"} <= {*files}  # fmt: skip
    away = tmp_path / "somewhere else"
    (tmp_path / "ours").rename(away)
    (tmp_path / "mine").rename(tmp_path / "gone")

    checked = lab("artifact", "check", away, "--json", cwd=tmp_path)
    told = json.loads(checked.stdout)["groups"][0]
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert [claim["verdict"] for claim in told["claims"]] == ["reproduced"] * 3 and told["memory_mb"] > 10

    claims = away / "claims.json"
    wrong = json.loads(claims.read_text())
    for claim in wrong["groups"][0]["claims"][:1]:
        claim |= {"low": 100.0, "value": 101.0, "high": 102.0}
    claims.write_text(json.dumps(wrong))
    checked = lab("artifact", "check", away, cwd=tmp_path)
    assert checked.returncode == 1 and "2 reproduced, 1 not reproduced" in checked.stdout, checked.stdout

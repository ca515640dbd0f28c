"""A container made again with its old address: simulator and real packets agree on `scenarios/made-anew.yaml`."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from netns_labs import require_netns

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("backend", ["sim", "netns"])
def test_at_most_one_try_is_lost(backend: str, tmp_path: Path) -> None:
    if backend == "netns":
        require_netns()
    command = [sys.executable, "-m", "lab.cli", "run", str(ROOT / "scenarios" / "made-anew.yaml")]
    done = subprocess.run(
        [*command, "--backend", backend, "--out", str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    history = tmp_path / "made-anew" / "latest" / "history.jsonl"
    records = [msgspec.json.decode(line) for line in history.read_text().splitlines()]
    began = max(r["t"] for r in records if r.get("what") == "run" and r.get("phase") == "end")
    tried = [r for r in records if r.get("probe") == "http" and r["t"] >= began and r["source"] == "svc2"]
    lost = [r for r in tried if r.get("error") == "timeout"]
    assert len(tried) > 5 and len(lost) <= 1, lost

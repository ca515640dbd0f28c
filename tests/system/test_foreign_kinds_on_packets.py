"""The probe of another package sends real packets, on hosts that see the packages of this Python."""

import json
from pathlib import Path

from foreign_packages import FOLDER, installed, lab
from netns_labs import require_netns

from lab.records.history import Sample, read
from lab.records.store import HISTORY


def test_a_probe_and_an_overlay_of_another_package_on_real_packets(tmp_path: Path) -> None:
    require_netns()
    environment = installed(tmp_path / "lab islands")
    words = (
        "run",
        str(FOLDER / "islands.yaml"),
        "--backend",
        "netns",
        "--no-figures",
        "--json",
        "--out",
        str(tmp_path),
    )
    done = lab(*words, cwd=tmp_path, environment=environment)
    told = json.loads(done.stdout.splitlines()[-1])
    # Unknown: the machine was busy, which says nothing against what came true.
    assert told["verdict"] in ("valid", "unknown"), done.stdout + done.stderr
    assert [expectation["ok"] for expectation in told["expectations"]] == [True] * 5
    samples = [record for record in read(Path(told["run_dir"], HISTORY)) if isinstance(record, Sample)]
    assert {sample.probe for sample in samples} == {"tcp"}
    errors = {sample.error for sample in samples if (sample.source, sample.target) == ("beach", "lighthouse")}
    assert "" in errors and "timeout" in errors

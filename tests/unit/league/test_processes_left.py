"""Which processes of an overlay are said to run on after its end: a real shell, real processes."""

import shutil
import subprocess
from pathlib import Path

from lab.trials.usage import LEFT, left_in


def test_a_process_that_takes_a_moment_to_end_is_not_left_and_one_that_stays_is(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.write_text("\n".join(path.name for path in Path("/proc").iterdir() if path.name.isdigit()))
    sleep = shutil.which("sleep")
    assert sleep is not None
    programs = {"brief-one": "1.5", "lasting-one": "60", "containerd-shim": "60"}
    started = []
    try:
        for name, seconds in programs.items():
            (tmp_path / name).symlink_to(sleep)
            started.append(subprocess.Popen([str(tmp_path / name), seconds]))
        script = LEFT.replace("/root/.league-before", str(before))
        told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        found = left_in(told.stdout)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert "lasting-one" in found and not {"brief-one", "containerd-shim"} & {*found}

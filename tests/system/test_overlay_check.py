"""`lab overlay check`: trials of an overlay in shell, of one that lies, and words that mean no overlay."""

import json
import os
import shutil
from pathlib import Path

from foreign_packages import lab
from netns_labs import require_netns

SHELL = Path(__file__).resolve().parents[1] / "support" / "shell_overlay.sh"


def checked(folder: Path, *words: str) -> tuple[int, str, str]:
    done = lab("overlay", *words, cwd=folder, environment=dict(os.environ))
    return done.returncode, done.stdout, done.stderr


def test_a_strangers_overlay_passes_and_a_liar_does_not(tmp_path: Path) -> None:
    require_netns()
    shutil.copy(SHELL, tmp_path / "theirs.sh")
    code, out, err = checked(tmp_path, "check", "./theirs.sh", "--only", "container", "--only", "daemon", "--json")
    told = json.loads(out)
    found = {trial["trial"]: (trial["verdict"], trial["reason"]) for trial in told["trials"]}
    assert found["container"][0] in ("passed", "unknown") and code in (0, 3), (told, err)
    assert found["daemon"] == ("n/a", "no process of it runs on hosts")
    assert told["overlay"]["version"] == "1" and "theirs" in (tmp_path / told["page"]).read_text()
    text = SHELL.read_text().replace('"daemon":false', '"daemon":maybe')
    (tmp_path / "liar.sh").write_text(text)
    (tmp_path / "liar.sh").chmod(0o755)
    code, out, err = checked(tmp_path, "check", "./liar.sh", "--only", "reach")
    assert code == 1 and "liar cannot be launched on one host: step 1 failed" in err and "answered `hello` with" in err


def test_words_that_mean_no_overlay_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.sh").write_text("#!/bin/sh\n")
    code, out, err = checked(tmp_path, "check", "./plain.sh")
    assert (code, out) == (2, "") and "plain.sh', which may not be executed (chmod +x)" in err
    for words, told in (
        (("check", "weev"), "no overlay named 'weev', expected one of: weave, vxlan, none"),
        (("check", "./none-here"), "./none-here: no such program"),
        (("check", "exec"), "give its path"),
        (("check", "weave", "--only", "reech"), "no trial named 'reech', expected one of: reach, isolation"),
    ):
        code, out, err = checked(tmp_path, *words)
        assert (code, out) == (2, "") and told in err, (words, err)
    code, out, _ = checked(tmp_path, "list", "--json")
    assert code == 0 and {"weave", "vxlan", "none", "exec", "tinc"} <= {kind["name"] for kind in json.loads(out)}

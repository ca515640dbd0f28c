"""The bundle of the page that is committed is what its sources and its lock file give."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from node_tools import ROOT, WEB, node, parts

BUNDLE = ROOT / "lab/report/bundle"


def test_building_it_again_gives_the_committed_bundle(tmp_path: Path) -> None:
    copy = shutil.copytree(WEB, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(parts())
    subprocess.run([node(), str(copy / "build.mjs"), str(tmp_path / "out")], check=True)
    assert sorted(path.name for path in BUNDLE.iterdir()) == sorted(path.name for path in (tmp_path / "out").iterdir())
    for made in (tmp_path / "out").iterdir():
        same = made.read_bytes() == (BUNDLE / made.name).read_bytes()
        assert same, f"{made.name} is not what lab/report/web gives: run `make page` and commit it"


def test_the_program_may_stand_in_a_page_and_names_its_parts() -> None:
    script = (BUNDLE / "page.js").read_text(encoding="utf-8")
    assert "</script" not in script.lower() and "<!--" not in script and script.isascii()
    assert not re.search(r"@import|url\((?!data:)", (BUNDLE / "page.css").read_text(encoding="utf-8"))
    pinned = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    notice = (BUNDLE / "THIRD-PARTY.txt").read_text(encoding="utf-8")
    for name, version in pinned["dependencies"].items():
        assert f"{name} {version} (MIT)" in script[:300] and f"{name} {version} (MIT)" in notice
    assert notice.count("Permission is hereby granted") == len(pinned["dependencies"])
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    assert all("integrity" in part for where, part in lock["packages"].items() if where)


def test_the_model_in_javascript() -> None:
    """What `node --test` says of `lab/report/web/test`."""
    done = subprocess.run([node(), "--test", "test/"], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

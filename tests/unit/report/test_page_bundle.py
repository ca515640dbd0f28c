"""The bundle of the page that is committed is what its sources and its lock file give."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "lab/report/web"
BUNDLE = ROOT / "lab/report/bundle"
CI = os.environ.get("CI") == "true"


@pytest.fixture(scope="module")
def parts() -> Path:
    """The page's parts from npm."""
    done = subprocess.run([str(ROOT / ".ci/web")], capture_output=True, text=True, check=False)
    if done.returncode:
        (pytest.fail if CI else pytest.skip)(f"no parts of the page: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.strip())


def test_building_it_again_gives_the_committed_bundle(parts: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(WEB, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(parts)
    subprocess.run(["node", str(copy / "build.mjs"), str(tmp_path / "out")], check=True)
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


def test_the_model_in_javascript(parts: Path) -> None:
    """What `node --test` says of `lab/report/web/test`."""
    done = subprocess.run(["node", "--test", "test/"], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

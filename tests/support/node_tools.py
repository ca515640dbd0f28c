"""Node.js and the parts of the page from npm, for tests: found, or the test skips (in CI it fails)."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "lab/report/web"


def missing(what: str) -> None:
    """Skip the test that needs it, or fail it in CI."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


def node() -> str:
    """Node.js."""
    found = shutil.which("node")
    if found is None:
        missing("no node: install the package `nodejs` (`make browser` as root does)")
    return str(found)


@functools.cache
def _fetched() -> tuple[int, str, str]:
    done = subprocess.run([str(ROOT / ".ci/web")], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def parts() -> Path:
    """The folder `node_modules` with the parts of the page."""
    code, folder, said = _fetched()
    if code:
        missing(f"no parts of the page: {said[-300:]}")
    return Path(folder)

"""The units that `weave systemd` prints: systemd reads them without a complaint; wrong words are refused first."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from overlay.cli import systemd as cli_systemd
from overlay.cli.systemd import PROXY, ROUTER, unit_texts


@pytest.mark.parametrize("folder", ["bin", "a folder with 100% $pace"])
def test_systemd_reads_the_units(tmp_path: Path, folder: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    program = tmp_path / folder / "weave"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    files = []
    for name, text in unit_texts(str(program)).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    # Other units of this machine are not looked at: they may have faults of their own.
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:/lib/systemd/system"}
    words = [analyze, "verify", "--man=no", *map(str, files)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "weave" in line]
    assert not ours, done.stderr


def test_the_printed_units_are_those_and_name_their_places() -> None:
    words = [sys.executable, "-m", "overlay.cli.main", "systemd"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    for name in (ROUTER, PROXY):
        assert f"# /etc/systemd/system/{name}\n" in done.stdout
    assert (
        "\nPIDFile=/run/weave/router.pid\n" in done.stdout
        and "\nAfter=network-online.target docker.service" in done.stdout
    )


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (["install", "--iprange", "10.1.0.0/16", "--nonsense"], {}, 2, "has no flag `--nonsense`"),
        (["install", "--proxy", "-H", "ftp://x"], {}, 2, "-H ftp://x: expected tcp://"),
        (["install"], {"WEAVE_SOCK": "/tmp/w"}, 2, "units keep to the usual places"),
        (["install", "--in-container"], {}, 2, "--in-container needs no units"),
        (["start"], {}, 2, "systemd takes `install"),
        (["remove", "x"], {}, 2, "systemd takes `install"),
        (["install"], {}, 1, "there is no systemd here"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    tmp_path: Path, words: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEAVE_", "DOCKER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "overlay.cli.main", "systemd", *words],
        env={**kept, "PATH": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr, done


def test_a_password_goes_where_only_root_reads() -> None:
    assert cli_systemd._without(["-password", "a b", "--name=::1", "--password=c", "h"], "password") == [
        "--name=::1",
        "h",
    ]

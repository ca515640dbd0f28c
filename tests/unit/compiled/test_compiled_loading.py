"""Compiled cores are taken whole, from exactly these sources, or not at all; what a build leaves when it fails."""

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from lab.compiled import building
from lab.compiled.building import build, missing
from lab.compiled.loading import complete
from lab.compiled.parts import FOLDER, MODULES, SWITCH, TOP, folder, inputs, place
from lab.errors import LabError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert place() == tmp_path / "overlay-lab" / FOLDER
    return place()


def fill(where: Path, modules: tuple[str, ...] = MODULES) -> Path:
    """A build that is complete by its names; nothing of it can be imported."""
    where.mkdir(parents=True, exist_ok=True)
    for module in modules:
        (where / f"{module}{EXTENSION_SUFFIXES[0]}").touch()
    return where


def asked(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    env = {**os.environ, SWITCH: "", **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    return done.stdout.strip()


USE = "from lab.compiled.loading import use; print(use())"


def test_what_was_built_of_these_sources_is_taken(cache: Path) -> None:
    assert asked(USE) == "False"
    fill(cache / "0123456789abcdef0123")
    assert asked(USE) == "False"
    fill(folder())
    assert asked(USE) == "True"
    assert asked(USE, **{SWITCH: "0"}) == "False"


def test_a_build_that_lacks_a_module_is_not_taken(cache: Path) -> None:
    fill(folder(), MODULES[1:])
    assert asked(USE) == "False"


@pytest.mark.parametrize("module", [MODULES[0], "overlay.node"])
def test_none_is_taken_where_one_is_there_already(cache: Path, module: str) -> None:
    fill(folder())
    assert asked(f"import {module}; {USE}") == "False"


def test_simulated_hosts_take_them_and_no_others_do(cache: Path) -> None:
    fill(folder())
    shown = "from lab.compiled.loading import in_use; print(in_use())"
    assert asked(f"import lab.cli.play, lab.sweep.play, lab.backends.simulated; {shown}") == "True"
    assert asked(f"import lab.cli.play, lab.sweep.play, lab.backends.netns.backend; {shown}") == "False"


def test_all_modules_exist_and_define_no_structs() -> None:
    for module in MODULES:
        source = TOP.joinpath(*module.split(".")).with_suffix(".py").read_text()
        assert "(Struct" not in source and "msgspec.Struct" not in source, module


def test_the_name_of_a_build_follows_from_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("overlay/env.py", "lab/sim/world.py", "lab/links/values.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr("lab.compiled.parts.TOP", tmp_path)
    names = [inputs()]
    for name in ("overlay/env.py", "lab/sim/world.py", "lab/links/values.py"):
        (tmp_path / name).write_text("x = 2\n")
        names.append(inputs())
    assert len(set(names)) == 4


def test_without_a_compiler_nothing_is_begun(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "no-such-compiler" in missing() and "apt-get install gcc" in missing()
    with pytest.raises(LabError, match="no-such-compiler"):
        build(print)
    assert not cache.exists()


def test_a_build_that_fails_says_why_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing():
        pytest.skip(missing())
    monkeypatch.setattr(building, "_SCRIPT", "raise SystemExit('the compiler is on holiday')")
    (cache / ".undone-killed").mkdir(parents=True)
    with pytest.raises(LabError, match="the compiler is on holiday"):
        build(print)
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_old_builds_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing():
        pytest.skip(missing())
    monkeypatch.setattr(building, "_compile", fill)
    for age in range(building.KEPT + 2):
        fill(cache / f"old{age}")
        os.utime(cache / f"old{age}", (1e9 - age, 1e9 - age))
    assert build(print) == folder()
    left = {path.name for path in cache.iterdir() if path.is_dir()}
    assert left == {folder().name, *(f"old{age}" for age in range(building.KEPT - 1))}


def test_a_build_that_lacks_a_module_is_made_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing():
        pytest.skip(missing())
    monkeypatch.setattr(building, "_compile", fill)
    fill(folder(), MODULES[1:])
    assert complete(build(print))


def test_code_that_somebody_else_may_have_put_there_is_not_taken(cache: Path) -> None:
    one = fill(folder()) / f"{MODULES[0]}{EXTENSION_SUFFIXES[0]}"
    assert asked(USE) == "True"
    for path in (one, folder(), cache, cache.parent):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        assert asked(USE) == "False"
        path.chmod(mode)
        if os.geteuid() == 0:
            os.chown(path, 65534, -1)
            assert asked(USE) == "False"
            os.chown(path, 0, -1)
    assert asked(USE) == "True"

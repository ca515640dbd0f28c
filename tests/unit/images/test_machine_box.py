"""What a box is made from, and when one in the cache still is what would be made: no box is made here."""

import os
from pathlib import Path

import msgspec
import pytest

from lab.errors import LabError
from lab.images import box, layers, store


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(layers, "codename", lambda: "bookworm")


def _in_cache(*, docker: bool, base: str | None = None) -> box.Box:
    directory = box.boxes() / "bookworm-0"
    directory.mkdir(parents=True)
    (directory / "box.img").write_bytes(b"QFI")
    made = box.Box(
        name="overlay-lab/bookworm-0",
        directory=str(directory),
        docker=docker,
        base=base or box.made_from(docker=docker),
        project="old",
    )
    (box.boxes() / ("docker.json" if docker else "plain.json")).write_bytes(msgspec.json.encode(made))
    return made


def test_only_a_box_with_docker_has_an_engine() -> None:
    plain, docker = box.packages(docker=False), box.packages(docker=True)
    assert set(docker) - set(plain) == set(box.ENGINE)
    assert {"openssh-server", "linux-image-cloud-amd64", "nftables", "python3", "iproute2"} <= set(plain)


def test_a_box_with_an_older_project_will_do_and_one_of_another_base_will_not() -> None:
    assert box.find(docker=False) is None
    made = _in_cache(docker=False)
    assert box.find(docker=False) == made
    assert box.find(docker=True) is None
    made.image.unlink()
    assert box.find(docker=False) is None


def test_a_box_made_from_something_else_is_none() -> None:
    _in_cache(docker=True, base="of other packages")
    assert box.find(docker=True) is None


def test_every_file_of_the_recipe_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = box.base_inputs(docker=False), box.made_from(docker=False)
    copy = tmp_path / "recipe"
    copy.mkdir()
    for file in box.RECIPE.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(box, "RECIPE", copy)
    assert (box.base_inputs(docker=False), box.made_from(docker=False)) == before
    (copy / "init").write_text("#!/bin/sh\n")
    assert box.base_inputs(docker=False) == before[0]  # Debian's part stays
    assert box.made_from(docker=False) != before[1]
    (copy / "finish").write_text("#!/bin/sh\n")
    assert box.base_inputs(docker=False) != before[0]


def test_missing_programs_are_named_by_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "program", lambda tool: None if tool in ("mcopy", "mke2fs") else "/bin/x")
    with pytest.raises(LabError, match="apt-get install e2fsprogs mtools"):
        box.build(lambda _: None)
    monkeypatch.setattr(box, "program", lambda tool: "/bin/x")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="sudo"):
        box.build(lambda _: None)
    with store.locked():  # a refused build holds no lock
        pass

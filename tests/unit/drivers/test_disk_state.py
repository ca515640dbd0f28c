"""State on disk: whole or not at all, one owner, damage set aside."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.docker.journal import Attachment, Journal, Name
from overlay.errors import EnvironmentProblem
from overlay.runtime.disk import Disk, DiskFull, _format, _parse


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.persist([("ring", b"1"), ("a/../b", b"\n\0"), ("ring", b"2")])
    disk.close()
    again = Disk(tmp_path)
    assert again.load() == {"ring": b"2", "a/../b": b"\n\0"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a%2F..%2Fb.state", "lock", "reserve", "ring.state"]
    again.erase()
    assert again.load() == {}
    again.close()


def test_two_daemons_never_share_a_directory(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with pytest.raises(EnvironmentProblem, match="another router"):
        Disk(tmp_path)
    disk.close()
    Disk(tmp_path).close()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"?"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk(tmp_path)
    disk.persist([("ring", b"data"), ("uid", b"7")])
    path = tmp_path / "ring.state"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    (tmp_path / "left.tmp").write_bytes(b"half")
    assert disk.load() == {"uid": b"7"}
    assert (tmp_path / "ring.damaged").exists()
    assert not (tmp_path / "left.tmp").exists()
    assert "ring.state is damaged" in caplog.text
    disk.close()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path)
    disk.persist([("ring", b"old")])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(DiskFull):
            disk.persist([("ring", b"new"), ("other", b"x")])
    assert disk.load() == {"ring": b"old"}
    assert not (tmp_path / "reserve").exists(), "the reserve was given up for the write"
    assert disk.check_room() == "", "and taken back"
    disk.close()


@given(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20), st.binary(max_size=200))
def test_files_carry_key_and_data(key: str, data: bytes) -> None:
    assert _parse(_format(key, data)) == (key, data)


@given(st.binary(max_size=300))
def test_whatever_a_file_holds_is_judged(content: bytes) -> None:
    assert _parse(content) is None
    assert _parse(b"overlay-state 1 " + content) is None


def test_the_journal_survives(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    journal = Journal(disk, b"")
    record = Attachment(
        container="c1", name="svc", addresses=("10.0.1.1/24",), names=(Name("svc.weave.local.", "10.0.1.1"),)
    )
    journal.put(record)
    journal.put(Attachment(container="c2", wanted=("net:default",)))
    journal.drop("c3")
    files = disk.load()
    again = Journal(disk, Journal.stored(files))
    assert again.all() == journal.all()
    assert files == {}
    again.drop("c1")
    assert Journal(disk, Journal.stored(disk.load())).get("c1") is None
    disk.close()

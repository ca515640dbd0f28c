"""The log of a container: lines, pieces, followers, rotation, a host that lost its power."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lab.engine import logs
from lab.engine.logs import ContainerLog, ContainerRecord, ContainerStore, LogEntry
from lab.engine.streams import STDERR, STDOUT


def make(folder: Path) -> ContainerLog:
    return ContainerLog(folder / "json.log", lambda: 1_435_190_400_000_000_000)


def test_lines_of_both_streams_and_what_has_no_newline(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.feed(STDOUT, b"on")
    log.feed(STDERR, b"err\n")
    log.feed(STDOUT, b"e\ntwo")
    assert [(entry.log, entry.stream) for entry in log.read()] == [("err\n", "stderr"), ("one\n", "stdout")]
    log.finish()
    assert [entry.log for entry in log.read(1)] == ["two"]
    assert next(log.read()).time == "2015-06-25T00:00:00.000000000Z"


def test_followers_hear_each_entry_once_and_the_end(tmp_path: Path) -> None:
    log = make(tmp_path)
    heard: list[LogEntry | None] = []
    unfollow = log.follow(heard.append)
    log.feed(STDOUT, b"a\nb\n")
    log.finish()
    unfollow()
    log.feed(STDOUT, b"c\n")
    assert [entry and entry.log for entry in heard] == ["a\n", "b\n", None]


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.feed(STDOUT, b"a\nb\n")
    log.finish()
    log.path.write_bytes(log.path.read_bytes()[:-5])
    assert [entry.log for entry in log.read()] == ["a\n"]


def test_the_older_half_is_kept(tmp_path: Path) -> None:
    log = make(tmp_path)
    line = b"x" * 1000 + b"\n"
    for _ in range(logs._MAX_FILE // 500):
        log.feed(STDOUT, line)
    log.finish()
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2 and sum(sizes) < 2.1 * logs._MAX_FILE
    assert sum(1 for _ in log.read()) > logs._MAX_FILE / 1200


@given(st.lists(st.binary(max_size=40_000), max_size=6))
def test_nothing_is_lost_or_added(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = make(Path(folder))
        for piece in pieces:
            log.feed(STDOUT, piece.decode("latin-1").encode("ascii", "replace"))
        log.finish()
        text = "".join(entry.log for entry in log.read())
        assert text == b"".join(piece.decode("latin-1").encode("ascii", "replace") for piece in pieces).decode()


def test_records_survive_and_half_made_ones_go(tmp_path: Path) -> None:
    store = ContainerStore(str(tmp_path))
    newer = ContainerRecord(id="b", name="second", created=2, body={"Image": "process"}, status="running")
    older = ContainerRecord(id="a", name="first", created=1, body={})
    for record in (newer, older):
        store.save(record)
    (tmp_path / "containers" / "c").mkdir()
    assert list(ContainerStore(str(tmp_path)).load()) == [older, newer]
    assert not (tmp_path / "containers" / "c").exists()
    store.remove("a")
    assert [record.id for record in store.load()] == ["b"]

"""The history of a standing lab has a limit: what stays of it, what a report says then, and that readers go on."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import synthetic_history
from synthetic_history import S

from lab.records import bounded
from lab.records.bounded import BoundedHistory
from lab.records.history import Event, Load, Meta, Sample, View, decode, encode, read
from lab.records.store import HISTORY, in_progress, open_history
from lab.report import write_report
from lab.watch.tail import follow

STORY = synthetic_history.partition()
LIMIT = 60_000


def written(folder: Path, records, limit: int = LIMIT) -> list:
    with open_history(folder) as file:
        history = BoundedHistory(file, folder / HISTORY, limit)
        for record in records:
            history.write(record)
        assert in_progress(folder), "its writer holds the lock, also of a file that was made meanwhile"
    return list(read(folder / HISTORY))


def test_steps_stay_and_of_the_rest_the_latest(tmp_path: Path) -> None:
    whole = sum(len(encode(record)) for record in STORY)
    assert whole > 2 * LIMIT, "the story is long enough"
    found = written(tmp_path, STORY)
    (meta, *rest) = found
    assert isinstance(meta, Meta)
    assert meta.kept_from > S
    assert [record for record in found if isinstance(record, Event)] == [
        record for record in STORY if isinstance(record, Event)
    ]
    steps = sum(len(encode(record)) for record in STORY if not isinstance(record, Sample | View | Load))
    views = sum(len(encode(view)) for view in {each.host: each for each in STORY if isinstance(each, View)}.values())
    size = (tmp_path / HISTORY).stat().st_size
    assert LIMIT // 2 <= size <= LIMIT + steps + views + 4096
    tail = [record for record in rest if isinstance(record, Sample)]
    assert tail == [record for record in STORY if isinstance(record, Sample)][-len(tail) :]
    early = {record.host for record in STORY if isinstance(record, View) and record.t < meta.kept_from}
    assert {record.host for record in rest if isinstance(record, View)} >= early, "the last belief of each host"
    kept = iter(STORY[1:])
    assert all(record in kept for record in rest), "in the order in which they were written"


def test_a_short_history_stays_as_it_is(tmp_path: Path) -> None:
    assert written(tmp_path, STORY, bounded.LIMIT) == list(STORY)


def test_a_report_says_from_when_on_it_knows_all(tmp_path: Path) -> None:
    kept = written(tmp_path, STORY)[0].kept_from
    summary = write_report(tmp_path)
    assert summary["verdict"] == "valid"
    page = (tmp_path / "index.html").read_text()
    assert f"tries before {kept / 1e9:.0f} s" in page
    assert json.loads((tmp_path / "summary.json").read_text())["verdict"] == "valid"


def test_without_room_for_a_second_file_it_grows_on(tmp_path: Path) -> None:
    (tmp_path / f"{HISTORY}.new").mkdir()
    assert written(tmp_path, STORY) == list(STORY)


def test_who_follows_a_history_misses_and_repeats_nothing(tmp_path: Path) -> None:
    seen: list = []
    news = asyncio.Event()

    async def reader() -> None:
        async with aclosing(follow(tmp_path / HISTORY)) as batches:
            async for lines in batches:
                seen.extend(map(decode, lines))
                news.set()
                if seen and seen[-1] == STORY[-1]:
                    return

    async def go() -> None:
        with open_history(tmp_path) as file:
            history = BoundedHistory(file, tmp_path / HISTORY, LIMIT)
            async with asyncio.timeout(240):
                following = asyncio.create_task(reader())
                first = (tmp_path / HISTORY).stat().st_ino
                for record in STORY:
                    history.write(record)
                    inode = (tmp_path / HISTORY).stat().st_ino
                    for _ in range(4 if inode != first or not seen else 0):  # a reader looks ten times a second
                        news.clear()
                        await news.wait()
                    first = inode
                await following

    asyncio.run(go())
    assert seen == list(STORY)

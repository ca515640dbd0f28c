"""The file by which a lab disturbs one daemon's clock and disk: who may write it, and what follows it."""

import asyncio
import os
import time

import pytest

from overlay.errors import EnvironmentProblem
from overlay.runtime.disk import DiskFull
from overlay.runtime.disturbance import (
    VARIABLE,
    Disturbance,
    DisturbedDisk,
    DisturbedTimers,
    disturb_clock,
    disturb_disk,
    main,
)

S = 1_000_000_000


def test_outside_of_labs_there_is_none(tmp_path):
    assert Disturbance.named({}) is None
    found = Disturbance.named({VARIABLE: str(tmp_path / "d")})
    assert found is not None
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o600
    before, shown, after = time.monotonic_ns(), found.now(), time.monotonic_ns()
    assert before <= shown <= after, "a new file disturbs nothing"
    assert (found.latency, found.full) == (0, False)


def test_a_file_that_another_could_have_written_is_refused(tmp_path):
    path = tmp_path / "d"
    Disturbance(path)
    path.chmod(0o622)
    with pytest.raises(EnvironmentProblem, match="nobody else may write: it is for labs only, so unset the variable"):
        Disturbance(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(EnvironmentProblem, match="cannot be opened"):
        Disturbance(tmp_path / "link")
    (tmp_path / "other").write_bytes(b"x" * 200)
    (tmp_path / "other").chmod(0o600)
    with pytest.raises(EnvironmentProblem, match="is no such file"):
        Disturbance(tmp_path / "other")
    with pytest.raises(EnvironmentProblem):
        Disturbance(tmp_path / "none" / "d")


def test_a_clock_jumps_ahead_drifts_and_is_never_put_back(tmp_path):
    path = tmp_path / "d"
    seen = Disturbance(path)
    disturb_clock(path, offset=3600 * S, drift=0)
    ahead = seen.now() - time.monotonic_ns()
    assert 3599 * S < ahead <= 3600 * S
    assert 3599 * S < seen.wall() - time.time_ns() < 3601 * S
    disturb_clock(path, offset=5 * S, drift=0)
    assert seen.now() - time.monotonic_ns() > 3599 * S, "no clock is put back"
    disturb_clock(path, offset=None, drift=500_000_000)
    start, shown = time.monotonic_ns(), seen.now()
    while time.monotonic_ns() - start < S // 50:
        pass
    passed, drifted = time.monotonic_ns() - start, seen.now() - shown
    assert passed * 14 // 10 < drifted
    disturb_clock(path, offset=None, drift=0)
    assert seen.now() >= shown + drifted, "what it gained it keeps"


def test_timers_follow_a_clock_that_jumps(tmp_path):
    path = tmp_path / "d"

    async def jumps() -> None:
        clock = Disturbance(path)
        timers, rung = DisturbedTimers(clock.now), asyncio.Event()
        timers.call_at(clock.now() + 1000 * S, rung.set)
        await asyncio.sleep(0)
        assert not rung.is_set()
        disturb_clock(path, offset=1001 * S, drift=0)
        await asyncio.wait_for(rung.wait(), 60)

    asyncio.run(jumps())


def test_a_full_disk_takes_nothing_and_keeps_what_it_has(tmp_path):
    path = tmp_path / "d"
    disk = DisturbedDisk(tmp_path / "state", Disturbance(path))
    disk.persist([("ring", b"one")])
    disturb_disk(path, latency=7, full=True)
    assert disk.latency == 7
    with pytest.raises(DiskFull, match="No space left on device; make room"):
        disk.persist([("ring", b"two"), ("names", b"x")])
    assert disk.load() == {"ring": b"one"}, "no half state"
    assert "full" in disk.check_room()
    disturb_disk(path, latency=0, full=False)
    assert disk.check_room() == ""
    disk.persist([("ring", b"two")])
    assert disk.load() == {"ring": b"two"} and disk.latency == 0
    disk.close()


def test_the_command_changes_a_file(tmp_path, capsys):
    path = str(tmp_path / "d")
    assert main([path, "clock", str(60 * S), "0"]) == 0
    assert main([path, "disk", "300", "1"]) == 0
    seen = Disturbance(tmp_path / "d")
    assert (seen.latency, seen.full) == (300, True)
    assert seen.now() - time.monotonic_ns() > 59 * S
    for bad in ([path], [path, "clock", "soon", "0"], [path, "fan", "1", "0"]):
        assert main(bad) == 2
    assert "usage" in capsys.readouterr().err
    os.chmod(path, 0o666)  # noqa: PTH101
    assert main([path, "disk", "0", "0"]) == 1

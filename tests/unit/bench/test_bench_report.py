"""The history of a million samples: as many tries as asked, of a run that is valid, the same every time."""

from pathlib import Path

from synthetic_history import partition

from benchmarks.report import long_history
from lab.checkers import RecordedRun
from lab.records.history import Event, Sample, encode


def test_a_long_history_has_as_many_tries_and_the_same_faults(tmp_path: Path) -> None:
    records = partition()
    made = list(long_history(records, 3000))
    assert sum(isinstance(record, Sample) for record in made) == 3000
    assert [r for r in made if isinstance(r, Event)] == [r for r in records if isinstance(r, Event)]
    run, usual = RecordedRun(made), RecordedRun(records)
    assert list(run.series) == list(usual.series) and run.bands == usual.bands
    cut = [outage for found in run.outages.values() for outage in found if outage.lasted > 9_000_000_000]
    assert len(cut) == 4, "each pair across the cut"
    assert b"".join(map(encode, made)) == b"".join(map(encode, long_history(records, 3000)))

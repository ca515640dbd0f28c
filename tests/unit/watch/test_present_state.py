"""What the terminal shows of a lab: from the records of its history alone."""

from two_hosts_history import CUT, JOINED, S, records, sample

from lab.records.history import Event, Sample
from lab.watch.present import Present


def seen(*more) -> Present:
    present = Present()
    for record in (*records(), *more):
        present.feed(record)
    return present


def test_hosts_with_their_peers_and_containers():
    rows = {row.name: row for row in seen().hosts()}
    assert (rows["a"].state, rows["a"].neighbours, rows["a"].containers) == ("up", ("b",), ("x",))
    assert rows["a"].group == rows["b"].group


def test_the_matrix_turns_with_a_cut_and_its_heal():
    assert seen(sample(S, ok=True)).matrix() == (["x", "y"], {("x", "y"): "ok"})
    assert seen(sample(S, ok=False)).matrix()[1] == {("x", "y"): "bad"}
    assert seen(CUT, sample(4 * S, ok=False)).matrix()[1] == {("x", "y"): "cut"}
    assert seen(CUT, sample(4 * S, ok=True)).matrix()[1] == {("x", "y"): "leak"}
    assert seen(CUT, sample(4 * S, ok=False), JOINED, sample(10 * S, ok=True)).matrix()[1] == {("x", "y"): "ok"}


def test_a_late_try_says_nothing():
    late = Sample(t=5 * S, probe="http", source="x", target="y", ok=False, error="late")
    assert seen(sample(S, ok=True), late).matrix()[1] == {("x", "y"): "ok"}


def test_events_in_words_with_who_did_them():
    by = Event(t=5, step=3, what="kill", phase="start", ok=True, detail={"label": "kill daemon of a", "by": "jo"})
    failed = Event(t=6, step=4, what="scale", phase="end", ok=False, detail={"label": "scale x to 3", "error": "full"})
    begun = Event(t=6, step=4, what="scale", phase="start", detail={"label": "scale x to 3"})
    told = [(event.text, event.ok, event.by) for event in seen(by, begun, failed).events]
    assert told[-2:] == [("kill daemon of a", True, "jo"), ("scale x to 3: full", False, "")]


def test_latencies_are_those_of_the_last_tries():
    assert seen(sample(S, ok=True), sample(2 * S, ok=True)).latencies() == [("http", 3_000_000, 3_000_000)]

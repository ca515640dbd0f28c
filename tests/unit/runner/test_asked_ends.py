"""Which ends of a daemon are crashes."""

from lab.records.history import PeerGone, View
from lab.runner.state import LiveState
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

VIEW = View(t=2, host="a", peer="p", topology="", ring="", dns="", endpoints="", reachable=1)


def test_an_end_that_was_asked_for_is_no_crash_and_the_next_life_counts_again() -> None:
    live = LiveState(resolve(parse("version: 1\nunderlay: {hosts: {a: {}, b: {}}}\ntimeline: [{wait: 1s}]\n")))
    live.daemon_runs("a")
    live.feed(PeerGone(t=1, host="a", asked=True))
    live.feed(PeerGone(t=1, host="a"))
    assert (live.crashed, list(live.daemons)) == (None, [])
    live.feed(VIEW)
    assert list(live.daemons) == ["a"]
    live.feed(PeerGone(t=3, host="a"))
    assert live.crashed is not None and live.crashed.t == 3


def test_a_fault_that_ends_a_daemon_which_was_asked_to_end_stays_in_force() -> None:
    live = LiveState(resolve(parse("version: 1\nunderlay: {hosts: {a: {}, b: {}}}\ntimeline: [{wait: 1s}]\n")))
    live.daemon_runs("a")
    live.feed(PeerGone(t=1, host="a", asked=True))
    live.host_stops("a")
    live.feed(VIEW)
    assert list(live.daemons) == []

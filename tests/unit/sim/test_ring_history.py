"""A ring that goes back is noticed: to a lesser agreement, or an entry to another content without a higher version."""

from lab.sim.ring_history import RingHistory
from lab.sim.votes import Votes
from overlay.ipam.paxos import Acceptor
from overlay.ipam.ring import CONSENSUS, TAKEOVER, Ring, divide, make_lineage
from overlay.wire.ring import Ballot, Proposal, Token

RANGE, SIZE = "10.32.0.0/28", 16
ONE, TWO = make_lineage(RANGE, CONSENSUS, ("x",), 1), make_lineage(RANGE, CONSENSUS, ("x", "y"), 1)


def ring() -> Ring:
    made = Ring(RANGE, SIZE)
    made.found(TWO, divide(SIZE, ("x", "y")))
    return made


def after(change: Token, life: int = 1) -> str:
    """What is said when a peer that had the ring has it with this entry."""
    history, now = RingHistory(), ring()
    assert history.look("a", 1, now) == ""
    now._put(change)
    return history.look("a", life, now)


def test_a_ring_that_follows_from_the_one_before_is_right() -> None:
    history, now = RingHistory(), ring()
    now.grant(4, 8, "y", (4, 0))
    for change in (lambda: None, lambda: now.report_free(0, 1), lambda: now.take_over("y", "x")):
        change()
        assert history.look("a", 1, now) == ""
    assert history.look("b", 1, ring()) == "", "another peer may be behind"


def test_an_entry_changes_only_with_a_higher_version() -> None:
    assert "entry at offset 0 from version 0 to 0" in after(Token(0, 3, "x", 0, 4))
    assert "entry at offset 8 from version 0 to 0" in after(Token(8, 15, "x", 0, 8))
    assert after(Token(0, 7, "x", 1, 4)) == ""
    assert after(Token(0, 3, "x", 0, 4), life=2) == "", "what was not on the disk may come back in other words"


def test_two_that_took_over_the_same_range_may_have_written_one_version() -> None:
    history, now = RingHistory(), ring()
    now._put(Token(8, 15, "x", TAKEOVER, 8))
    assert history.look("a", 1, now) == ""
    now._put(Token(8, 15, "w", TAKEOVER, 8))
    assert history.look("a", 1, now) == ""


def test_a_higher_agreement_wins_and_never_the_lesser_one() -> None:
    history, now = RingHistory(), Ring(RANGE, SIZE)
    for lineage, told in ((ONE, ""), (TWO, ""), (ONE, "for a lesser one")):
        now.found(lineage, divide(SIZE, ("x",)))
        assert (told in history.look("a", 1, now)) and (told or not history.look("a", 1, now))


def vote(round: int, owner: str, nonce: int) -> Acceptor:
    ballot = Ballot(round, owner)
    return Acceptor(RANGE, ballot, ballot, Proposal(("x", "y"), nonce))


def test_after_a_majority_has_agreed_nobody_agrees_to_anything_else() -> None:
    votes = Votes()
    assert votes.accepted("a", Acceptor(RANGE, Ballot(1, "x")), 2) == "", "a promise is no vote"
    for host, kept in (("a", vote(1, "x", 1)), ("a", vote(2, "y", 2)), ("b", vote(2, "y", 2))):
        assert votes.accepted(host, kept, 2) == "", "one of three is no majority"
    assert votes.accepted("c", vote(3, "x", 2), 2) == "", "a later round for the same"
    assert votes.accepted("c", vote(1, "x", 1), 2) == "", "an earlier round"
    assert votes.accepted("c", vote(4, "z", 3), 2).startswith("c agreed to a division")

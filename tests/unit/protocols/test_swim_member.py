"""One SWIM member by itself: what it answers, whom it suspects, what it denies."""

from typing import Any

from lab.protocols import MILLISECOND, SECOND, Believe, Effect, Joined, Random, Received, Send, Wake
from lab.protocols.swim import Ack, Ask, Nack, Ping, PingRequest, Swim, Tell
from lab.protocols.swim_table import ALIVE, GONE, SUSPECT, Rumours, Update

OPTIONS: dict[str, Any] = {
    **Swim.defaults,
    "period": SECOND,
    "timeout": 200 * MILLISECOND,
    "reconnect": 0,
    "aligned": True,
    "lifeguard": False,
}


def member(**options: Any) -> Swim:
    """Member `a` of the group a to e, at time 0."""
    swim = Swim("a", Random(1), OPTIONS | options)
    swim.handle(Joined(("b",)), 0)
    swim.handle(Received("b", Tell(tuple(Update(name, ALIVE, 0) for name in "bcde"))), 1)
    return swim


def sends(effects: list[Effect], kind: type) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]


def begin(swim: Swim, at: int) -> tuple[str, int]:
    """Let a period begin; whom it pings, and with which number."""
    assert swim.deadline() == at
    (ping,) = sends(swim.handle(Wake(), at), Ping)
    return ping.to, ping.message.number


def test_a_joiner_asks_its_seed_for_everybody() -> None:
    (asked,) = sends(Swim("a", Random(1), OPTIONS).handle(Joined(("b",)), 0), Ask)
    assert (asked.to, asked.reliable) == ("b", True)


def test_an_acked_probe_leaves_nothing() -> None:
    swim = member()
    target, number = begin(swim, SECOND)
    swim.handle(Received(target, Ack(number, ())), SECOND + 1)
    effects = swim.handle(Wake(), 2 * SECOND)
    assert not [effect for effect in effects if isinstance(effect, Believe)]


def test_without_an_ack_others_are_asked_and_then_it_is_suspected() -> None:
    swim = member()
    target, number = begin(swim, SECOND)
    requests = sends(swim.handle(Wake(), SECOND + 200 * MILLISECOND), PingRequest)
    assert len(requests) == 3
    assert all((one.message.target, one.message.number) == (target, number) and one.to != target for one in requests)
    (believed,) = [one for one in swim.handle(Wake(), 2 * SECOND) if isinstance(one, Believe)]
    assert believed.suspects == (target,)
    assert target in believed.members


def test_an_indirect_ack_is_as_good() -> None:
    swim = member()
    target, number = begin(swim, SECOND)
    swim.handle(Wake(), SECOND + 200 * MILLISECOND)
    swim.handle(Received("e" if target != "e" else "d", Ack(number, ())), SECOND + 300 * MILLISECOND)
    assert not [one for one in swim.handle(Wake(), 2 * SECOND) if isinstance(one, Believe)]


def test_a_helper_passes_the_ack_on_or_says_that_there_is_none() -> None:
    swim = member(lifeguard=True)
    (ping,) = sends(swim.handle(Received("b", PingRequest(77, "c", ())), 2), Ping)
    assert ping.to == "c"
    (ack,) = sends(swim.handle(Received("c", Ack(ping.message.number, ())), 3), Ack)
    assert (ack.to, ack.message.number) == ("b", 77)
    swim.handle(Received("b", PingRequest(78, "c", ())), 4)
    (nack,) = sends(swim.handle(Wake(), 4 + 200 * MILLISECOND), Nack)
    assert (nack.to, nack.message.number) == ("b", 78)


def test_who_hears_that_it_is_suspected_denies_it_with_a_greater_incarnation() -> None:
    swim = member()
    (ack,) = sends(swim.handle(Received("b", Ping(5, (Update("a", SUSPECT, 0),))), 2), Ack)
    assert Update("a", ALIVE, 1) in ack.message.updates


def test_a_suspect_that_does_not_deny_is_gone_and_stays_so() -> None:
    swim = member()
    swim.handle(Received("b", Ping(5, (Update("c", SUSPECT, 0),))), 2)
    gone = None
    for _ in range(40):
        due = swim.deadline()
        assert due is not None
        for effect in swim.handle(Wake(), due):
            if isinstance(effect, Send) and isinstance(effect.message, Ping):
                swim.handle(Received(effect.to, Ack(effect.message.number, ())), due)
            if isinstance(effect, Believe) and "c" not in effect.members:
                gone = due
        if gone:
            break
    assert gone == 2 + 5 * SECOND  # the factor; the logarithm of five members is below 1
    assert not [
        one for one in swim.handle(Received("b", Ping(6, (Update("c", ALIVE, 0),))), gone) if type(one) is Believe
    ]
    (back,) = [
        one for one in swim.handle(Received("b", Ping(7, (Update("c", ALIVE, 1),))), gone) if type(one) is Believe
    ]
    assert "c" in back.members


def test_lifeguard_waits_longer_alone_and_as_long_with_others() -> None:
    swim = member(lifeguard=True)
    swim.handle(Received("b", Ping(5, (Update("c", SUSPECT, 0),))), 2)
    alone = swim._patience("c")
    for sender in ("d", "e", "f", "g"):
        swim.handle(Received(sender, Ping(6, (Update("c", SUSPECT, 0),))), 3)
    assert alone == 30 * SECOND
    assert swim._patience("c") == 5 * SECOND


def test_lifeguard_slows_a_member_down_whose_probes_fail_and_its_suspect_hears_of_it() -> None:
    swim = member(lifeguard=True)
    target, _ = begin(swim, SECOND)
    swim.handle(Wake(), SECOND + 200 * MILLISECOND)
    swim.handle(Wake(), 2 * SECOND)  # no ack, and none of the three nacks either
    assert swim._health == 4
    updates = swim._updates_for(target)
    assert updates[0] == Update(target, SUSPECT, 0)


def test_news_are_told_least_often_first_and_so_often_only() -> None:
    rumours = Rumours(2)
    for name in "xyz":
        rumours.add(Update(name, GONE, 0), 2)
    told = [update.member for _ in range(4) for update in rumours.take()]
    assert told == ["z", "y", "x", "z", "y", "x"]

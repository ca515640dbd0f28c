"""A batch of names comes to the same as its names one by one, here and on other peers, or changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.config import Config
from overlay.daemon.control.lines import MAX_ENTRIES, NameLine, name_lines, read
from overlay.dns import registry as registry_module
from overlay.dns.registry import NameRegistry
from overlay.effects import Broadcast, Effect, Log, Notify, Persist
from overlay.errors import UsageError
from overlay.inputs import Input, NameEntry, PeersChanged, RegisterName, RegisterNames, UnregisterName, UnregisterNames
from overlay.replicated.origin_state import MAX_TOMBSTONES

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"

entries = st.builds(
    NameEntry,
    st.sampled_from(["c1", "weave:extern"]),
    st.sampled_from(["a.weave.local.", "A.weave.local.", "b.weave.local."]),
    st.sampled_from(["10.0.1.1", "10.0.1.2", "fd00::1", "fd00:0::1"]),
)
batches = st.lists(st.tuples(st.booleans(), st.lists(entries, max_size=6)), max_size=6)


def registry(name: str = A) -> NameRegistry:
    made = NameRegistry(Config(name=name, nickname=name), 1, {})
    made.handle(PeersChanged((A, B)), 0)
    return made


def carry(effects: list[Effect], other: NameRegistry) -> None:
    """What a peer hears of these effects."""
    for effect in effects:
        if isinstance(effect, Broadcast):
            for said in other.channel.merge(effect.delta, 0)[1]:
                assert isinstance(said, Notify) and isinstance(said.input, Input)
                other.handle(said.input, 0)


def answers(found: NameRegistry) -> dict[str, tuple[str, ...]]:
    return {name: found.addresses(name) for name in ("a.weave.local.", "b.weave.local.")}


@given(batches)
@settings(max_examples=150, deadline=None)
def test_a_batch_is_its_names_one_by_one(steps: list[tuple[bool, list[NameEntry]]]) -> None:
    batch, single, other = registry(), registry(), registry(B)
    for remove, found in steps:
        effects = batch.handle(UnregisterNames(tuple(found)) if remove else RegisterNames(tuple(found)), 0)
        carry(effects, other)
        for each in found:
            if remove:
                single.handle(UnregisterName(each.container, each.name, each.address), 0)
            else:
                single.handle(RegisterName(each.container, each.name, each.address), 0)
        assert len([effect for effect in effects if isinstance(effect, Broadcast | Persist)]) in (0, 2)
        assert answers(batch) == answers(single) == answers(other)
        assert batch.channel.digest() == other.channel.digest()
        for each_registry in (batch, other):
            each_registry.check_invariants()
            each_registry.channel.check_invariants()


def test_a_name_without_address_goes_from_all_of_its_owner() -> None:
    made = registry()
    made.handle(RegisterNames(tuple(NameEntry("c1", "a.weave.local.", f"10.0.0.{n}") for n in range(5))), 0)
    made.handle(RegisterNames((NameEntry("c2", "a.weave.local.", "10.0.1.1"),)), 0)
    made.handle(UnregisterNames((NameEntry("c1", "A.weave.local.", ""),)), 0)
    assert made.addresses("a.weave.local.") == ("10.0.1.1",)


@pytest.mark.parametrize("bad", [NameEntry("c", "no dot", "10.0.0.1"), NameEntry("c", "a.weave.local.", "10.0.0")])
def test_one_bad_name_and_nothing_is_registered(bad: NameEntry) -> None:
    made = registry()
    (effect,) = made.handle(RegisterNames((NameEntry("c", "a.weave.local.", "10.0.0.1"), bad)), 0)
    assert isinstance(effect, Log) and made.addresses("a.weave.local.") == ()


def test_thousands_of_names_that_go_at_once_leave_few_tombstones() -> None:
    made, other = registry(), registry(B)
    many = tuple(NameEntry("c", f"n{n}.weave.local.", "10.0.0.1") for n in range(4 * MAX_TOMBSTONES))
    carry(made.handle(RegisterNames(many), 0), other)
    assert other.count == len(many)
    carry(made.handle(UnregisterNames(many), 0), other)
    for each in (made, other):
        each.channel.check_invariants()
        assert each.count == 0
    late = registry(B)
    late.handle(RegisterNames((NameEntry("own", "b.weave.local.", "10.0.0.2"),)), 0)
    whole = made.channel.missing(late.channel.vector())
    assert whole is not None
    late.channel.merge(whole, 0)
    assert late.channel.get(A, "n1.weave.local. 10.0.0.1 c") is None


def test_what_was_stored_is_announced_after_a_restart() -> None:
    made = registry()
    many = tuple(NameEntry("c", f"n{n}.weave.local.", "10.0.0.1") for n in range(100))
    persist = next(effect for effect in made.handle(RegisterNames(many), 0) if isinstance(effect, Persist))
    again = NameRegistry(Config(name=A, nickname=A), 2, {persist.key: persist.data})
    again.start(0)
    again.check_invariants()
    again.channel.check_invariants()
    assert again.count == 100


def test_a_host_has_room_for_what_fits_into_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    made = registry()
    many = tuple(NameEntry("c", f"n{n}.weave.local.", "10.0.0.1") for n in range(100))
    assert made.excess(many) == ""
    monkeypatch.setattr(registry_module, "MAX_NAMES_SIZE", 6_000)
    assert made.excess(many[:50]) == "" and "100 names" in made.excess(many)
    made.handle(RegisterNames(many[:60]), 0)
    assert "100 names" in made.excess(many[60:]) and made.excess(many[:60]) == ""


def test_lines_are_those_of_a_hosts_file_or_json() -> None:
    body = b"""# a comment

10.0.0.1 web www.weave.local   # two names
{"name": "db", "address": "10.0.0.2", "container": "c1"}
"""
    assert read(body, name_lines, lambda line: line) == [
        (3, NameLine("web", "10.0.0.1")),
        (3, NameLine("www.weave.local", "10.0.0.1")),
        (4, NameLine("db", "10.0.0.2", "c1")),
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no entry"),
        (b"\n# x\n", "no entry"),
        (b"10.0.0.1 a\n10.0.0.1\n", "line 2: expected ADDRESS NAME"),
        (b'{"name": 1}', "line 1: not the JSON object"),
        (b'{"name": "a", "adress": "10.0.0.1"}', "adress"),
        (b'{"name": "a"', "line 1: not the JSON object"),
        (b"[" * 100_000, "line 1: expected ADDRESS"),
        (b'{"name":' + b"[" * 100_000, "line 1: not the JSON object"),
        (b"\xff\xfe", "UTF-8"),
        (b"x\n" * 30, "and 10 more lines"),
        (b"10.0.0.1 a\n" * (MAX_ENTRIES + 1), "more than 100000 entries"),
    ],
)
def test_bad_lines_are_told_by_number(body: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(body, name_lines, lambda line: line)


@given(st.binary(max_size=200) | st.text(alphabet='{}":,# 1.ab\n\\', max_size=60).map(str.encode))
@settings(deadline=None)
def test_whatever_the_body_is_only_usage_errors(body: bytes) -> None:
    try:
        found = read(body, name_lines, lambda line: line)
    except UsageError as error:
        assert len(str(error)) < 20_000
    else:
        assert found

"""The table of policies: it merges like sets of writes, forgets what was removed for good, and stays within bounds."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from overlay.errors import RemoteError, UsageError
from overlay.policy import table as table_module
from overlay.policy.spans import Spans
from overlay.policy.table import MAX_POLICIES, MAX_WRITERS, PolicyTable
from overlay.wire.origins import OriginVector
from overlay.wire.policy import MAX_COUNTER, PolicyDelta, PolicyEntry, PolicySpan

RULES = [f"from all to c{n}" for n in range(4)]


def entry(writer: str, number: int, version: int = 1, accept: bool = True, rule: str = RULES[0]) -> PolicyEntry:
    return PolicyEntry(writer, number, version, accept, rule)


def pull(target: PolicyTable, source: PolicyTable, now: int = 0) -> list[Any]:
    """What anti-entropy does: `target` shows its vector, and merges the answer."""
    delta = source.missing(target.vector())
    if delta is None:
        return []
    return target.merge(delta, now)[1]


def sync(*tables: PolicyTable) -> None:
    """Until nobody lacks anything."""
    for _ in range(2 * len(tables)):
        for one in tables:
            for other in tables:
                if one is not other:
                    pull(one, other)


def shown(one: PolicyTable) -> list[tuple[str, bool]]:
    return [(each.rule, each.accept) for each in one.entries()]


class Tables(RuleBasedStateMachine):
    """Three peers that write, remove, restart, lose their disks and exchange pieces in any order.

    The oracle holds sets of writes in place of ranges of numbers, and everything that was ever said.
    """

    @initialize()
    def begin(self) -> None:
        self.tables = [PolicyTable(f"p{n}", 1) for n in range(3)]
        self.stored: list[PolicyDelta | None] = [None, None, None]
        self.lives = [1, 1, 1]
        self.known: list[set[tuple[str, int]]] = [set(), set(), set()]
        self.standing: list[dict[tuple[str, int], PolicyEntry]] = [{}, {}, {}]
        self.deltas: list[PolicyDelta] = []

    def _take(self, at: int, delta: PolicyDelta) -> None:
        covered = {(s.writer, n) for s in delta.spans for n in range(s.first, s.last + 1)}
        theirs = {(e.writer, e.number): e for e in delta.entries}
        ours = self.standing[at]
        kept = {dot: e for dot, e in ours.items() if dot not in covered or dot in theirs}
        fresh = {dot: e for dot, e in theirs.items() if dot not in self.known[at]}
        both = {**kept, **fresh}
        last = {r: max((e for e in both.values() if e.rule == r), key=lambda e: (e.version, e.writer)) for r in RULES
                if any(e.rule == r for e in both.values())}  # fmt: skip
        self.standing[at] = {(e.writer, e.number): e for e in last.values()}
        self.known[at] |= covered

    @rule(at=st.integers(0, 2), what=st.sampled_from(RULES), accept=st.booleans())
    def write(self, at: int, what: str, accept: bool) -> None:
        delta = self.tables[at].put(accept, what)
        (made,) = delta.entries
        dot = (made.writer, made.number)
        assert all(dot not in known for known in self.known), "no number is given twice"
        assert self.tables[at].get(what) == made
        self._said(at, delta)

    @rule(at=st.integers(0, 2), what=st.sampled_from(RULES))
    def remove(self, at: int, what: str) -> None:
        delta = self.tables[at].remove(what)
        assert (delta is None) == all(e.rule != what for e in self.standing[at].values())
        if delta is not None:
            assert self.tables[at].get(what) is None
            self._said(at, delta)

    def _said(self, at: int, delta: PolicyDelta) -> None:
        self._take(at, delta)
        self.stored[at] = self.tables[at].stored()
        self.deltas.append(delta)

    @rule(at=st.integers(0, 2), data=st.data())
    def hear(self, at: int, data: st.DataObject) -> None:
        """Pieces arrive in any order, again, joined, and through the wire."""
        if self.deltas:
            some = data.draw(st.lists(st.sampled_from(self.deltas), min_size=1, max_size=3))
            joined = self.tables[at].join(*some)
            joined = msgspec.msgpack.decode(msgspec.msgpack.encode(joined), type=PolicyDelta)
            before = self.tables[at].digest()
            news, _ = self.tables[at].merge(joined, 0)
            for piece in some:
                self._take(at, piece)
            assert (news is None) == (self.tables[at].digest() == before)
            self.stored[at] = self.tables[at].stored()

    @rule(at=st.integers(0, 2), other=st.integers(0, 2))
    def ask(self, at: int, other: int) -> None:
        """After both have asked they hold the same; and a named question gets the same answer."""
        if at == other:
            return
        one, two = self.tables[at], self.tables[other]
        lacked = one.lacking(two.vector())
        assert (lacked is None) == (two.missing(one.vector()) is None)
        if lacked is not None:
            assert two.missing(lacked, named=True) == two.missing(one.vector())
        answers = (one.missing(two.vector()), two.missing(one.vector()))
        for index, answer in ((other, answers[0]), (at, answers[1])):
            if answer is not None:
                self.tables[index].merge(answer, 0)
                self._take(index, answer)
        if answers[1] is None and answers[0] is None:
            assert one.digest() == two.digest()
        assert shown(one) == shown(two) and one.digest() == two.digest()
        self.stored[at], self.stored[other] = one.stored(), two.stored()

    @rule(at=st.integers(0, 2))
    def restart(self, at: int) -> None:
        self.lives[at] += 1
        stored = self.stored[at]
        if stored is not None:
            stored = msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=PolicyDelta)
        self.tables[at] = PolicyTable(f"p{at}", self.lives[at], stored)

    @rule(at=st.integers(0, 2))
    def lose_disk(self, at: int) -> None:
        self.lives[at] += 1
        self.tables[at], self.stored[at] = PolicyTable(f"p{at}", self.lives[at]), None
        self.known[at], self.standing[at] = set(), {}

    @invariant()
    def as_the_oracle_says(self) -> None:
        for at, each in enumerate(getattr(self, "tables", ())):
            each.check_invariants()
            assert shown(each) == sorted((e.rule, e.accept) for e in self.standing[at].values())

    def teardown(self) -> None:
        if hasattr(self, "tables"):
            sync(*self.tables)
            assert len({each.digest() for each in self.tables}) == 1
            assert len({tuple(shown(each)) for each in self.tables}) == 1
            for one in self.tables:
                for other in self.tables:
                    assert one.missing(other.vector()) is None and one.lacking(other.vector()) is None


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_the_last_writer_of_a_rule_counts_and_a_removal_outlives_a_cut() -> None:
    a, b = PolicyTable("a", 1), PolicyTable("b", 1)
    a.put(False, RULES[0])
    a.put(False, RULES[1])
    sync(a, b)
    b.put(True, RULES[0])  # b has seen a's: it is the later one, whatever the names are
    sync(a, b)
    assert shown(a) == shown(b) == [(RULES[0], True), (RULES[1], False)]
    a.remove(RULES[0])  # while b is cut off
    b.put(False, RULES[2])
    sync(a, b)
    assert shown(a) == shown(b) == [(RULES[1], False), (RULES[2], False)]
    a.put(True, RULES[1])  # at the same time: the higher version, then the higher name
    b.put(False, RULES[1])
    b.put(False, RULES[1])
    sync(a, b)
    assert shown(a) == shown(b) == [(RULES[1], False), (RULES[2], False)]


def test_a_thousand_removals_leave_nothing_but_one_range() -> None:
    a, b = PolicyTable("a", 1), PolicyTable("b", 1)
    for n in range(1000):
        a.put(True, f"from all to c{n % 7}")
        a.remove(f"from all to c{n % 7}")
    assert a.vector().spans == (PolicySpan("a@1", 1, 1000),) and a.vector().standing == ()
    assert len(msgspec.msgpack.encode(a.stored())) < 60
    sync(a, b)
    assert a.digest() == b.digest() and not b


def test_a_disk_that_was_set_back_gives_no_number_twice() -> None:
    a, b = PolicyTable("a", 1), PolicyTable("b", 1)
    a.put(True, RULES[0])
    old = a.stored()
    a.put(True, RULES[1])
    a.remove(RULES[1])
    sync(a, b)
    a = PolicyTable("a", 2, old)
    a.put(False, RULES[2])
    sync(a, b)
    assert shown(a) == shown(b) == [(RULES[0], True), (RULES[2], False)]


def test_two_writes_of_one_number_end_in_the_same_one() -> None:
    a, b = PolicyTable("a", 1), PolicyTable("b", 1)
    a.merge(PolicyDelta((PolicySpan("x", 1, 1),), (entry("x", 1, 1, True),)), 0)
    b.merge(PolicyDelta((PolicySpan("x", 1, 1),), (entry("x", 1, 1, False),)), 0)
    assert a.digest() != b.digest()
    sync(a, b)
    assert a.digest() == b.digest() and shown(a) == [(RULES[0], True)]


# --- hostile --------------------------------------------------------------------------------------------------------


def test_whoever_claims_all_numbers_keeps_nobody_from_writing() -> None:
    a = PolicyTable("a", 1)
    a.put(True, RULES[0])
    a.merge(PolicyDelta((PolicySpan("a@1", 1, MAX_COUNTER), PolicySpan("a@2", 1, MAX_COUNTER)), ()), 0)
    assert shown(a) == [(RULES[0], True)], "written again"
    a.merge(PolicyDelta((PolicySpan("x", 1, 1),), (entry("x", 1, MAX_COUNTER, False),)), 0)
    assert shown(a) == [(RULES[0], False)]
    a.put(True, RULES[0])
    assert shown(a) == [(RULES[0], True)], "a version beyond all others holds nobody up who has seen it"
    a.check_invariants()


def test_more_policies_than_may_be_are_dropped_alike_everywhere() -> None:
    entries = tuple(entry("x", n, n, True, f"from all to c{n}") for n in range(1, MAX_POLICIES + 101))
    delta = PolicyDelta((PolicySpan("x", 1, MAX_POLICIES + 100),), entries)
    a, b = PolicyTable("a", 1), PolicyTable("b", 1)
    a.put(True, "from all to mine")
    a.merge(delta, 0)
    b.merge(delta, 0)
    sync(a, b)
    assert a.digest() == b.digest() and len(a.entries()) == MAX_POLICIES
    assert a.get("from all to mine") is not None, "of the oldest none goes"
    with pytest.raises(UsageError, match="there are 512 policies, which is the most"):
        a.put(True, "from all to one-more")


@pytest.mark.parametrize(
    "delta",
    [
        PolicyDelta((PolicySpan("x", 2, 1),), ()),
        PolicyDelta((), (entry("x", 1),)),
        PolicyDelta((PolicySpan("x", 1, 1),), (entry("x", 2),)),
        PolicyDelta(tuple(PolicySpan(f"w{n}", 1, 1) for n in range(MAX_WRITERS + 1)), ()),
        PolicyDelta(tuple(PolicySpan("w", 2 * n, 2 * n) for n in range(1, table_module.MAX_RANGES + 2)), ()),
    ],
)
def test_what_breaks_the_rules_changes_nothing(delta: PolicyDelta) -> None:
    a = PolicyTable("a", 1)
    a.put(True, RULES[0])
    before = a.stored()
    with pytest.raises(RemoteError, match="channel policy: "):
        a.merge(delta, 0)
    assert a.stored() == before
    a.check_invariants()


def test_structs_of_other_channels_are_refused() -> None:
    a = PolicyTable("a", 1)
    with pytest.raises(RemoteError, match="expected a PolicyVector"):
        a.missing(OriginVector(()))


def test_where_everybody_has_written_who_has_done_so_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "MAX_WRITERS", 2)
    tables = [PolicyTable(name, 1) for name in "abc"]
    tables[0].put(True, RULES[0])
    tables[1].put(True, RULES[1])
    sync(*tables)
    with pytest.raises(UsageError, match="2 lives of peers have written policies, which is the most"):
        tables[2].put(True, RULES[2])
    tables[0].put(True, RULES[2])
    assert len(tables[0].entries()) == 3


SPANS = st.lists(
    st.tuples(st.sampled_from("xy"), st.integers(1, 12), st.integers(0, 4)).map(
        lambda each: PolicySpan(each[0], each[1], each[1] + each[2])
    ),
    max_size=6,
)


@given(SPANS, SPANS)
def test_spans_are_sets_of_numbers(one: list[PolicySpan], other: list[PolicySpan]) -> None:
    def numbers(spans: Any) -> set[tuple[str, int]]:
        return {(span.writer, n) for span in spans for n in range(span.first, span.last + 1)}

    a, b = Spans(one), Spans(other)
    assert numbers(a.listed()) == numbers(one)
    assert numbers(a.union(b).listed()) == numbers(one) | numbers(other)
    assert numbers(a.minus(b).listed()) == numbers(one) - numbers(other)
    assert (a == b) == (numbers(one) == numbers(other))
    assert all(((writer, n) in a) == ((writer, n) in numbers(one)) for writer in "xyz" for n in range(20))
    assert a.last("x") == max((n for writer, n in numbers(one) if writer == "x"), default=0)

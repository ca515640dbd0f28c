"""Whom a SWIM member probes: all members equally often, whatever comes and goes."""

from collections import Counter
from random import Random

from lab.protocols.swim_table import ALIVE, GONE, MemberTable, Update

NAMES = [f"host{number}" for number in range(100)]
RETURNING = NAMES[:10]


def test_members_that_come_and_go_take_no_probes_from_those_that_stay() -> None:
    table = MemberTable("me", Random(1))
    for name in NAMES:
        table.takes(Update(name, ALIVE, 0))
    probed: Counter[str] = Counter()
    periods = 20_000
    for period in range(periods):
        probed[table.next_to_probe()] += 1
        if period % 4 == 0:
            number = period // 4
            name, incarnation = RETURNING[number % len(RETURNING)], 2 * number
            table.takes(Update(name, GONE, incarnation))
            table.takes(Update(name, ALIVE, incarnation + 1))
    share = sum(probed[name] for name in RETURNING) / periods
    assert 0.09 < share < 0.11, "ten of a hundred; a place in the rest of each round would give them 0.2"
    assert min(probed[name] for name in NAMES) > 0.5 * periods / len(NAMES)

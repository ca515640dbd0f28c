"""Which part of the large suites plays which scenarios on real packets (tests/README.md). Knows nothing of pytest.

Every scenario is played in virtual time in each run (`sim/test_simulated_scenarios.py`); on real packets each takes its
own time, which is mostly waiting.
"""

from collections.abc import Iterable

TURNS = 4
ALWAYS = frozenset({"walkthrough.yaml", "partition.yaml", "restart.yaml"})
"""Scenarios of every part: what a newcomer plays first, a cut, and daemons and hosts that die."""


def turns_of(names: Iterable[str]) -> dict[str, int | None]:
    """Scenario -> its part; None: every part."""
    names = sorted(names)
    found: dict[str, int | None] = {name: None for name in names if name in ALWAYS}
    return found | {name: number % TURNS for number, name in enumerate(one for one in names if one not in ALWAYS)}

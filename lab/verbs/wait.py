"""`wait`: let time pass."""

from functools import partial

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Planning, Verb
from lab.scenario.values import Duration, format_duration


async def _wait(duration: int, bench: Bench) -> Detail:
    await bench.lab.sleep_until(bench.lab.now() + duration)
    return {}


class _Wait(Verb[int]):
    name = "wait"
    model = Duration
    form = "`wait: 2s`"
    about = "let time pass"
    setup = "watch"
    only_time = True

    def plan(self, body: int, planning: Planning) -> Action:
        return Action(f"wait {format_duration(body)}", partial(_wait, body))


KIND = _Wait()

"""The condition `running`: this many containers should run."""

from typing import Annotated

from pydantic import Field

from lab.contracts.fault import Bench
from lab.contracts.plan import Judgement
from lab.kinds.checkers import Checker

Number = Annotated[int, Field(ge=0)]


class _Running(Checker[Number]):
    name = "running"
    model = Number
    form = "`running: 3`"
    about = "this many containers run"

    async def judge(self, body: Number, bench: Bench, since: int) -> Judgement:
        found = len(bench.live.running)
        return Judgement(found == body, () if found == body else (f"{found} containers run, expected {body}",))


KIND = _Running()

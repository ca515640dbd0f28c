"""The condition `exec`: a command exits as expected; it is retried until the deadline."""

import shlex
from collections.abc import Iterator, Sequence

from lab.contracts.fault import Bench
from lab.contracts.lab import CommandResult
from lab.contracts.plan import Judgement
from lab.expectations._inside import in_service
from lab.kinds.checkers import Checker, Where
from lab.scenario.base import Problem
from lab.scenario.check import Known
from lab.scenario.values import UNITS
from lab.verbs.exec import Exec


class _CommandEnds(Checker[Exec]):
    name = "exec"
    model = Exec
    form = "`exec: {…}`"
    about = "the command ends with the expected exit code and output"
    polls = True

    def words(self, body: Exec) -> str:
        """The command and its place, in words."""
        return f"exec {shlex.join(body.command)[:40]} on {body.host or body.service}"

    def check(self, where: Where, body: Exec, known: Known) -> Iterator[Problem]:
        """Its host or service exists."""
        yield from known.place(where, body.host, body.service)

    def commands(self, body: Exec) -> Iterator[tuple[Sequence[str], bool]]:
        """The command of the condition."""
        yield body.command, body.service is not None

    async def judge(self, body: Exec, bench: Bench, since: int) -> Judgement:
        """Judge by running the command now."""
        timeout = body.timeout / UNITS["s"]
        result: CommandResult | str
        if body.host is not None:
            result = await bench.lab.hosts[body.host].exec(body.command, timeout=timeout)
        else:
            result = await in_service(bench, body.service or "", body.command, timeout)
        problem = result if isinstance(result, str) else body.judge(result)
        return Judgement(not problem, (problem,) if problem else ())


KIND = _CommandEnds()

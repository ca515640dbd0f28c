"""`exec`: run a command on a host or in a container, and judge how it ended."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from lab import linear
from lab.contracts.fault import Bench
from lab.contracts.lab import CommandResult
from lab.contracts.plan import Action, Detail
from lab.errors import LabError
from lab.kinds.verbs import Chance, Drawn, Planning, Verb, Where
from lab.scenario.base import Command, Model, Name, Problem, fault
from lab.scenario.check import Known
from lab.scenario.values import UNITS, Duration
from lab.verbs._containers import some
from lab.verbs._match import MatchTimeout, found


def _regex(value: str) -> str:
    try:
        linear.compile(value)
    except linear.BadPattern:
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError):
            raise fault("a regular expression") from None
    return value


Regex = Annotated[str, AfterValidator(_regex)]


class ExecExpect(Model):
    """What a command must end with: its exit code and a pattern found in its standard output."""

    code: Annotated[int, Field(ge=0, le=255)] = 0
    """The exit code."""
    stdout: Regex | None = None
    """A regular expression that must match somewhere in the output."""


class Exec(Model):
    """Run a command on a host, or in the first container of a service."""

    host: Name | None = None
    """The host to run it on."""
    service: Name | None = None
    """In place of `host`: the service in whose container it runs."""
    command: Command
    """What to run."""
    timeout: Duration = 30 * UNITS["s"]
    """It must end by then."""
    expect: ExecExpect = ExecExpect()
    """What must come of it; exit code 0 by default."""

    @model_validator(mode="after")
    def _one_place(self) -> "Exec":
        if (self.host is None) == (self.service is None):
            raise fault("either `host` or `service`", "both" if self.host else "neither")
        return self

    @property
    def line(self) -> str:
        """The command as it was written."""
        plain = self.command[:2] == ("sh", "-c") and len(self.command) == 3
        return self.command[2] if plain else " ".join(self.command)

    def judge(self, result: CommandResult) -> str:
        """Why its result is not the expected one; empty when it is."""
        wanted = self.expect
        if result.code != wanted.code:
            last = (result.err.strip() or result.out.strip()).rpartition("\n")[2]
            return f"exit code {result.code}, expected {wanted.code}" + (f": {last}" if last else "")
        if wanted.stdout is None:
            return ""
        try:
            if found(wanted.stdout, result.out, lines=True, patience=self.timeout / UNITS["s"]):
                return ""
        except MatchTimeout as error:
            return str(error)
        shown = result.out.strip() or "nothing"
        return f"stdout {shown[:200]!r}, expected to match {wanted.stdout!r}"


async def _execute(body: Exec, bench: Bench) -> Detail:
    container = "" if body.service is None else some(bench, body.service)[0].name
    host = body.host or bench.live.running[container].host
    result = await bench.lab.hosts[host].exec(body.command, container=container, timeout=body.timeout / UNITS["s"])
    if problem := body.judge(result):
        raise LabError(f"{container or host}: `{' '.join(body.command)[:80]}`: {problem}")
    return {"code": result.code, "stdout": result.out[-2000:]}


class _Exec(Verb[Exec]):
    name = "exec"
    model = Exec
    form = "`exec: {host or service, command, expect: {code, stdout}}`"
    about = (
        "run a command; `stdout` is a regular expression that must match somewhere in its output, in "
        "[RE2's syntax](https://github.com/google/re2/wiki/Syntax) (linear time). An expression that only Python's "
        "`re` supports (lookahead, `\\1`) works too; matching stops at the step's `timeout`"
    )
    may_fail = True
    setup = "watch"
    odds = 2

    def check(self, where: Where, body: Exec, known: Known) -> Iterator[Problem]:
        yield from known.place(where, body.host, body.service)

    def commands(self, body: Exec) -> Iterator[tuple[str, Sequence[str], bool]]:
        yield "", body.command, body.service is not None

    def plan(self, body: Exec, planning: Planning) -> Action:
        line = body.line if len(body.line) <= 60 else body.line[:57] + "…"
        return Action(f"exec {body.host or body.service}: {line}", partial(_execute, body))

    def draw(self, chance: Chance) -> Drawn | None:
        """A container gets one more name, which must not outlive it."""
        if not chance.attachable:
            return None
        service = chance.rng.choice(chance.attachable)
        words = f"{service} -h also-{chance.number}.weave.local || true"
        host = {"host": chance.services[service]}
        undo = {"exec": {**host, "command": f"weave dns-remove {words}"}}
        return Drawn({**host, "command": f"weave dns-add {words}"}, undo=undo)


KIND = _Exec()

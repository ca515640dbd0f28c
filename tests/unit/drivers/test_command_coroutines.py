"""Commands of `weave` are coroutines: on a real host they run to their end, elsewhere several wait at once."""

import asyncio
import json
from typing import Any

import pytest
from command_hosts import CommandHost

from overlay.cli.client import Pairs, RequestRefused
from overlay.cli.main import COMMANDS, finish, weave


def test_a_command_that_needs_an_event_loop_is_a_bug_that_is_said() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    async def fails() -> None:
        raise RequestRefused("no")

    async def answers() -> str:
        return "yes"

    assert finish(answers()) == "yes"
    with pytest.raises(RequestRefused, match="no"):
        finish(fails())
    with pytest.raises(RuntimeError, match="needs an event loop"):
        finish(waits())


def test_two_commands_that_wait_at_once_go_on_where_they_were_and_keep_their_output_apart() -> None:
    turns: list[str] = []

    def host(name: str) -> CommandHost:
        made = CommandHost()

        async def ask(
            method: str, path: str, query: Pairs = (), form: Pairs | None = None, value: Any = None, lines: str = ""
        ) -> str:
            turns.append(f"{name} {method} {path}")
            await asyncio.sleep(0)
            return json.dumps([{"id": name, "name": name, "addresses": ["10.32.0.1/12"], "mac": "m"}])

        made.client.ask = ask  # type: ignore[method-assign]
        return made

    async def both() -> list[int]:
        add = ["dns-add", "c1", "-h", "db.weave.local"]
        return [*await asyncio.gather(weave(a, add), weave(b, ["ps"]), weave(a, ["status", "no-part"]))]

    a, b = host("a"), host("b")
    assert asyncio.run(both()) == [0, 0, 2]
    assert turns == ["a GET /ps", "b GET /ps", "a PUT /name/c1/10.32.0.1"], "each request once, the command's first too"
    assert (a.out, b.out) == ("", "b m 10.32.0.1/12\n")
    assert a.err.startswith("weave: there is no status `no-part`") and b.err == ""


def test_every_command_is_told_its_host() -> None:
    """And refuses words that make no sense before it asks anything."""
    for name in COMMANDS:
        host = CommandHost()
        code = finish(weave(host, [name, "--no-such-flag"]))
        assert (code, host.err != "") in ((0, True), (1, True), (2, True)), name
        assert host.started == [] and host.out == "", name

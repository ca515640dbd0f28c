"""Drivers that are programs: what they are asked, and what becomes of those that hang, die, flood or talk nonsense."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs_here import ProgramsHere

from lab.contracts.driver import DriverFault, DriverHello, DriverPeer, DriverPlace, DriverPlug, DriverStatus
from lab.driven import lines
from lab.driven.lines import LineDriver

GOOD = """\
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    more = {
        "hello": {"name": "good", "version": "1", "addresses": "own", "carries": "packets", "card": "key"},
        "attach": {"address": "10.0.0.9/24"},
        "status": {"running": True, "peers": ["b"]},
        "logs": {"text": line},
    }.get(asked["op"], {})
    print(json.dumps({"id": asked["id"], "ok": True, **more}), flush=True)
"""
THERE = DriverPlug(container="web", pid=7, address="10.0.0.2/24")


def driver(folder: Path, program: str) -> LineDriver:
    place = DriverPlace(
        host="a",
        address="192.0.2.1",
        hosts={"a": "192.0.2.1", "b": "192.0.2.2"},
        directory=str(folder / "state"),
        subnet="10.0.0.0/8",
        prefix="10.0.0.0/24",
    )
    return LineDriver(ProgramsHere(), place, [sys.executable, "-c", program])  # type: ignore[arg-type]


def played(folder: Path, program: str, work: Callable[[LineDriver], Awaitable[Any]]) -> Any:
    async def play() -> Any:
        made = driver(folder, program)
        try:
            return await work(made)
        finally:
            await made.close()

    return asyncio.run(play())


def test_every_word_is_asked_and_answered(tmp_path: Path) -> None:
    async def work(made: LineDriver) -> None:
        assert await made.hello() == DriverHello(
            name="good", version="1", addresses="own", carries="packets", card="key"
        )
        await made.launch()
        await made.connect([DriverPeer(name="b", address="192.0.2.2", prefix="10.0.1.0/24", card="other")])
        assert await made.attach(THERE) == "10.0.0.9/24"
        await made.detach(THERE)
        assert await made.status() == DriverStatus(running=True, peers=("b",))
        asked = json.loads(await made.logs())
        assert (asked["op"], asked["id"]) == ("logs", 7)
        await made.stop()
        await made.kill()

    played(tmp_path, GOOD, work)


def test_a_hello_says_where_the_driver_works(tmp_path: Path) -> None:
    program = f"import sys\nopen({str(tmp_path / 'said')!r}, 'w').write(sys.stdin.readline())\n" + GOOD
    with pytest.raises(DriverFault, match="ended"):  # it answers the second line only
        played(tmp_path, "import os\n" + program.replace("for line in sys.stdin", "for line in []"), LineDriver.hello)
    asked = json.loads((tmp_path / "said").read_text())
    assert asked["op"] == "hello" and asked["hosts"] == {"a": "192.0.2.1", "b": "192.0.2.2"}
    assert asked["prefix"] == "10.0.0.0/24" and (tmp_path / "state").is_dir()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("raise SystemExit('no such card')", "ended instead of answering `hello`; it said: no such card"),
        ("input(); print('hello')", "answered `hello` with 'hello', expected one JSON object"),
        ("input(); print('[1]')", "expected one JSON object"),
        ('input(); print(\'{"id": 9, "ok": true}\')', 'expected "id": 1'),
        ('input(); print(\'{"id": 1, "ok": 1}\')', '"ok": true or false'),
        ('input(); print(\'{"id": 1, "ok": true}\')', "missing required field `name`"),
        (
            'input(); print(\'{"id": 1, "ok": true, "name": "x", "version": 3}\')',
            "Expected `str`, got `int`",
        ),
        ('input(); print(\'{"id": 1, "ok": false, "error": "\\\\u001b[31mred"}\')', "`hello` failed: \\x1b[31mred"),
        ("input(); print('x' * 200000)", "a line of more than 64 KiB"),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", "a line of more than 64 KiB"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(tmp_path: Path, program: str, told: str) -> None:
    with pytest.raises(DriverFault) as caught:
        played(tmp_path, program, LineDriver.hello)
    assert told in str(caught.value) and str(caught.value).startswith("a: the driver ")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_one_that_hangs_is_given_up_and_asked_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lines._PATIENCE, "launch", 0.2)
    program = GOOD.replace("    asked =", "    if 'launch' in line: import time; time.sleep(1000)\n    asked =")

    async def work(made: LineDriver) -> None:
        await made.hello()
        with pytest.raises(DriverFault, match=r"did not answer `launch` within 0\.2 s"):
            await made.launch()
        with pytest.raises(DriverFault, match=r"did not answer `launch` within 0\.2 s"):
            await made.attach(THERE)
        assert (await made.hello()).name == "good"  # a launch begins again
        assert await made.attach(THERE) == "10.0.0.9/24"

    played(tmp_path, program, work)


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    async def work(made: LineDriver) -> None:
        await made.hello()
        with pytest.raises(DriverFault, match=r"the address '10\.0\.0\.9; reboot', expected one as"):
            await made.attach(THERE)

    played(tmp_path, GOOD.replace("10.0.0.9/24", "10.0.0.9; reboot"), work)


@settings(max_examples=20, deadline=None)
@given(line=st.binary(max_size=200).filter(lambda line: b"\n" not in line))
def test_whatever_a_program_writes_one_error_comes_of_it(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    program = f"import sys\ninput()\nsys.stdout.buffer.write({line!r} + b'\\n')"
    with pytest.raises(DriverFault) as caught:
        played(tmp_path_factory.mktemp("driver"), program, LineDriver.hello)
    assert str(caught.value).isprintable()

"""Commands in a standing lab: what they ask it for. In a lab of a thousand hosts one host costs what it costs in one
of two."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.backends.netns import operations
from lab.cli import hands, standing
from lab.errors import LabError
from lab.words import few

NAMES = [f"host{number}" for number in range(1, 1001)]
CONTAINERS = {f"web-{number}": {"host": f"host{number}", "service": "web", "address": ""} for number in (1, 2)}
STATE = {"faults": [], "now": 0, "run_dir": "", "scenario": {"name": "large"}}


class Client:
    """A lab that notes what it is asked, and how long its answers are."""

    asked: list[str]
    answered: int

    def __init__(self, _: object) -> None:
        made = {name: SimpleNamespace(name=name, address="192.0.2.1", pid=int(name != "host7")) for name in NAMES}
        lab: Any = SimpleNamespace(hosts=made, backend="netns", cut=frozenset(), now=lambda: 0)
        self._table = operations.Operations(lab, {}).table()
        Client.asked, Client.answered = [], 0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None: ...

    def call(self, what: str, **arguments: Any) -> dict[str, Any]:
        self.asked.append(what)
        answer: dict[str, Any]
        if what == "status":
            answer = {
                "containers": CONTAINERS,
                **({"peers": {name: {} for name in NAMES}} if arguments["peers"] else {}),
            }
        elif what == "state":
            answer = STATE | ({"scenario": {"name": "large", "hosts": NAMES}} if arguments["scenario"] else {})
        else:
            answer = asyncio.run(self._table[what](**arguments))  # type: ignore[arg-type]
        Client.answered += len(json.dumps(answer))
        return answer


@pytest.fixture(autouse=True)
def entered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def enter(argv: list[str], *, host: str, lab: str, container: str) -> int:
        found.append((host, container))
        return 0

    monkeypatch.setattr("lab.backends.netns.LabClient", Client)
    monkeypatch.setattr("lab.backends.netns.find", lambda name: SimpleNamespace(name="large", uid=0))
    monkeypatch.setattr("lab.backends.netns.enter_host", enter)
    monkeypatch.setattr("lab.backends.netns.runtime.current", lambda: SimpleNamespace(name="large"))
    return found


def test_a_host_is_entered_without_asking_for_all(entered: list[tuple[str, str]]) -> None:
    assert standing.enter("host999", ["true"], "") == 0
    assert entered == [("host999", "")]
    assert Client.asked == ["known"]
    assert Client.answered < 100


def test_a_container_is_found_without_asking_for_hosts(entered: list[tuple[str, str]]) -> None:
    standing.enter("web-2", ["true"], "")
    standing.enter("web", ["true"], "")
    assert entered == [("host2", "web-2"), ("host1", "web-1")]
    assert Client.asked == ["known", "status"]
    assert Client.answered < 300


def test_a_place_that_there_is_not_is_told_in_a_few_words() -> None:
    with pytest.raises(LabError, match=r"no host or service named x; hosts: host1 … host1000 \(1,000\); containers"):
        standing.enter("x", ["true"], "")


def test_status_reads_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    hands.status("", as_json=False)
    assert "large on netns, 1000 hosts (host7 switched off)" in capsys.readouterr().out
    assert Client.answered < 400
    hands.status("", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [host["name"] for host in told["hosts"]] == NAMES
    assert told["scenario"]["hosts"] == NAMES


def test_what_a_report_takes_is_imported_while_the_lab_goes_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    happened = []

    def down(self: Client, meanwhile: Callable[[], None]) -> bool:
        meanwhile()
        happened.append("down")
        return True

    monkeypatch.setattr(Client, "down", down, raising=False)
    monkeypatch.setattr(standing, "_run_of", lambda lab: tmp_path)
    monkeypatch.setattr(standing, "_prepare_report", lambda run: happened.append(f"prepare {run.name}"))
    monkeypatch.setattr("lab.backends.netns.find", lambda name: SimpleNamespace(name="large", uid=os.geteuid()))
    standing.take_down("")
    assert happened == [f"prepare {tmp_path.name}", "down"]
    assert capsys.readouterr().out == "large is down\n"


def test_few_names() -> None:
    assert few(["b10", "b9"]) == "b9, b10"
    assert few(NAMES) == "host1 … host1000 (1,000)"
    assert few(NAMES[:4], most=4) == "host1, host2, host3, host4"


def test_a_command_for_one_host_imports_little() -> None:
    code = "import json, sys, lab.cli.standing, lab.backends.netns.entering; print(json.dumps(sorted(sys.modules)))"
    top = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=True)
    heavy = ("lab.runner", "lab.scenario", "lab.report", "pydantic", "aiohttp", "pyroute2", "matplotlib", "uvloop")
    loaded = json.loads(done.stdout)
    assert "lab.cli.standing" in loaded
    assert [name for name in loaded if name.startswith(heavy)] == []

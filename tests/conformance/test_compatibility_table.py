"""Every row of docs/compatibility.md does what it says: typed on simulated hosts, which run the real command line,
control API and router, or handed to the parsers of flags and variables. What the code has of the original is there."""

import fcntl
import re
import shlex
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from command_hosts import CommandHost

from lab.backends.simulated.backend import SimBackend, SimLab
from lab.scenario.load import parse
from lab.scenario.resolve import resolve
from overlay.cli import main as cli
from overlay.cli.launch_flags import parse_launch
from overlay.cli.original import COMMANDS, DNS_FLAGS, FLAGS
from overlay.cli.proxy_flags import parse_proxy, split_proxy_words
from overlay.cli.variables import REFUSED, TAKEN
from overlay.cli.words import Usage
from overlay.daemon.control.route import Fields
from overlay.daemon.control.server import application
from overlay.daemon.control.table import ROUTES, Asked
from overlay.http.listener import Door
from overlay.options import LaunchOptions
from overlay.proxy.process import ProxyOptions, Running

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
VERSIONS = {"1.0", "1.1", "2.8"}
HOSTS = """
version: 1
underlay: {hosts: {a: {}, b: {}}}
timeline: [{launch: all}]
"""
THEIRS = {
    *("status", "status-json", "report", "metrics", "connect", "forget", "peer", "ring", "ip", "ipinfo", "name"),
    *("domain", "dns-address", "dns-address-port", "proxyaddrs"),
}
"""What the original's paths begin with. Others of the control API are our own: `weave` and the proxy use them."""
NOTHING = "asks for what is so anyhow"


def tables() -> dict[str, list[list[str]]]:
    """Heading -> rows of the tables below it; code spans without their backticks where a cell is nothing else."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    ours = "Many at once"  # what the original has nothing of
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| `") and heading != ours:
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            cells[0] = cells[0].strip("`")
            found.setdefault(heading, []).append(cells)
    return found


TABLES = tables()
ROUTER = [row for row in TABLES["Commands"] if "proxy" not in row[0] and row[0].split()[1] not in ("env", "config")]
PROXY = [row for row in TABLES["Commands"] if row not in ROUTER]


def on_two_hosts(work: Callable[[SimLab], Coroutine[Any, Any, None]]) -> None:
    """Play `work` on two hosts of which `a` has dialled `b`, and has a container `c1`."""
    backend = SimBackend()

    async def play() -> None:
        lab = await backend.up(resolve(parse(HOSTS), seed=1))
        try:
            for host in ("a", "b"):
                await ok(lab, host, "weave launch")
            await ok(lab, "a", "weave connect 192.168.0.3")
            await lab.sleep_until(lab.now() + 10_000_000_000)
            await ok(lab, "a", "weave run --name c1 ksahnine/dummy-http c1")
            await work(lab)
        finally:
            await lab.down()

    backend.run(play())


async def ok(lab: SimLab, host: str, line: str) -> None:
    done = await lab.hosts[host].exec(["sh", "-c", line])
    assert done.code == 0, (line, done)


def says(pattern: str, text: str) -> bool:
    """Whether a text matches what the first code span of a cell says."""
    span = re.match(r"`(.*?)`(?: |$)", pattern)
    assert span is not None, f"{pattern}: no code span"
    return re.search(span[1], text.strip("\n")) is not None


def test_the_table_is_whole() -> None:
    assert {heading: len(rows) for heading, rows in TABLES.items() if len(rows) < 10} == {}
    for rows in TABLES.values():
        assert {row[1] for row in rows} <= VERSIONS
    typed = {word for row in TABLES["Commands"] for word in row[0].replace("--local", "").split()}
    assert set(COMMANDS) - typed == set()
    for heading, flags in (("Flags of `launch`", FLAGS), ("Flags of `launch-dns` in 1.0", DNS_FLAGS)):
        assert set(flags) == {key(row[0]) for row in TABLES[heading] if row[2] == "refused"} - {"ipalloc-range"}
    assert {*TAKEN, *REFUSED} == {row[0].partition("=")[0] for row in TABLES["Variables"]}
    routes = {route.path for route in ROUTES}
    asked = {route_of(row[0]) for row in TABLES["HTTP"]}
    assert asked <= routes
    assert {path for path in routes - asked if path.split("/")[1] in THEIRS} == set()


def key(form: str) -> str:
    return form.split()[0].lstrip("-").partition("=")[0]


def route_of(request: str) -> str:
    """The route of the control API that a row asks."""
    path = request.split()[1].partition("?")[0]
    if re.fullmatch(r"/(status|peer)/\w+", path):
        return re.sub(r"/\w+$", "/{part}" if path.startswith("/status") else "/{peer}", path)
    words = path.split("/")[1:]
    names = {"ip": ("{container}", "{ip}", "{length}"), "name": ("{container}", "{ip}"), "expose": ("{ip}", "{length}")}
    return "/" + "/".join((words[0], *names.get(words[0], tuple(words[1:]))[: len(words) - 1]))


def test_every_command() -> None:
    async def work(lab: SimLab) -> None:
        for typed, _, code, pattern, _ in ROUTER:
            done = await lab.hosts["a"].exec(["sh", "-c", typed])
            assert done.code == int(code), (typed, done)
            assert says(pattern, done.out + done.err), (typed, pattern, done)
            if typed.startswith("weave connect"):
                await lab.sleep_until(lab.now() + 5_000_000_000)

    on_two_hosts(work)


@pytest.mark.parametrize("row", PROXY, ids=lambda row: row[0])
def test_every_command_for_the_proxy(
    row: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEAVE_PROXY_SOCK", str(tmp_path / "p"))
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "ORIG_DOCKER_HOST", *REFUSED):
        monkeypatch.delenv(name, raising=False)
    with (tmp_path / "p.json").open("wb") as file:
        file.write(msgspec.json.encode(Running(1, ("tcp://127.0.0.1:12375",), ProxyOptions())))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)  # as a proxy that runs
        assert cli.main(shlex.split(row[0])[1:]) == int(row[2])
    assert says(row[3], "".join(capsys.readouterr()))


def judged(row: list[str], read: Callable[[], dict[str, object]]) -> None:
    """A row about a flag or variable: `read` gives the options that differ from the usual ones."""
    form, _, kind, said = row
    if kind == "refused":
        with pytest.raises(Usage) as found:
            read()
        assert said in str(found.value), form
        return
    assert kind == "taken", form
    expected = [] if said == NOTHING else [said.split("`")[1]]
    assert list(read()) == expected, form


def changed(found: Any, usual: Any) -> dict[str, object]:
    return {
        name: getattr(found, name) for name in usual.__struct_fields__ if getattr(found, name) != getattr(usual, name)
    }


@pytest.mark.parametrize("row", TABLES["Flags of `launch`"], ids=lambda row: row[0])
def test_every_flag_of_launch(row: list[str]) -> None:
    def read() -> dict[str, object]:
        words, proxy = split_proxy_words(shlex.split(row[0]))
        assert proxy is None
        return changed(parse_launch(words, {}), LaunchOptions())

    judged(row, read)


@pytest.mark.parametrize("row", TABLES["Flags of `launch-dns` in 1.0"], ids=lambda row: row[0])
def test_every_flag_of_launch_dns(row: list[str]) -> None:
    judged(row, lambda: {"code": cli.finish(cli.obey(CommandHost(), ["launch-dns", *shlex.split(row[0])]))})


@pytest.mark.parametrize("row", TABLES["Flags of the proxy"], ids=lambda row: row[0])
def test_every_flag_of_the_proxy(row: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = [word.replace("{file}", str(tmp_path / "file")) for word in row[0].split()]

    def read() -> dict[str, object]:
        found = parse_proxy(words)
        both = {**changed(found, ProxyOptions()), **changed(found.policy, ProxyOptions().policy)}
        return {name: value for name, value in both.items() if name not in ("tlscacert", "tlscert", "tlskey", "policy")}

    judged(row, read)
    if row[2] == "taken":  # and of version 2.8's `launch`
        assert split_proxy_words(words)[1] is not None or "log-level" in row[0] or row[0].startswith(("-D", "--docker"))


@pytest.mark.parametrize("row", TABLES["Variables"], ids=lambda row: row[0])
def test_every_variable(row: list[str]) -> None:
    name, _, value = row[0].partition("=")
    judged(row, lambda: changed(parse_launch([], {name: value}), LaunchOptions()))


def test_every_request() -> None:
    async def work(lab: SimLab) -> None:
        for request, _, _, status, pattern in TABLES["HTTP"]:
            method, path, *form = request.split()
            daemon = lab.hosts["a"].daemon
            assert daemon is not None
            path, _, query = path.partition("?")
            asked = Asked(method, path, Fields.of(parse_qsl(query)), Fields.of(parse_qsl("".join(form))))
            found, text = await daemon.request(asked)
            assert found == int(status), (request, found, text)
            assert says(pattern, text), (request, pattern, text)
        assert lab.hosts["a"].daemon is None

    on_two_hosts(work)


def test_every_request_that_changes_something_takes_the_token() -> None:
    guarded = {}
    none: Any = None  # nothing is asked of the parts of a daemon
    for route in application(none, Door(token="x")).router.routes():
        assert route.resource is not None
        guarded[route.method, route.resource.canonical] = route.handler.__qualname__.startswith("Door.with_token.")
    for request, _, token, _, _ in TABLES["HTTP"]:
        assert guarded[request.split()[0], route_of(request)] == (token == "token"), request


def test_every_template() -> None:
    async def work(lab: SimLab) -> None:
        for template, _, pattern in TABLES["Templates"]:
            done = await lab.hosts["a"].exec(["weave", "report", "-f", template])
            assert says(pattern, done.out + done.err), (template, pattern, done)

    on_two_hosts(work)

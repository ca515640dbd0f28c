"""Names of hosts and services: what they become, and which are refused before anything starts."""

from pathlib import Path
from typing import Any, cast

import pytest

from lab.backends.simulated.engine import SimEngine
from lab.checkers.world import ExpectedState
from lab.records.history import Event, Meta
from lab.scenario.load import ScenarioError, load, load_resolved, parse, read
from lab.scenario.resolve import Resolved, resolve
from overlay.cli.run import parse_run
from overlay.config import Config
from overlay.docker.attachments import Attachments
from overlay.docker.engine_facts import Container
from overlay.errors import UsageError

LONG = "x" + "0123456789" * 5 + "abcdefghi"


def scenario(services: str = "{}", hosts: str = "{a: {}, b: {}}", rest: str = "") -> Resolved:
    services = services.replace("IMAGE", "image: ksahnine/dummy-http")
    return resolve(
        parse(f"version: 1\nunderlay: {{hosts: {hosts}}}\nservices: {services}\n{rest}timeline: [wait: 1s]\n")
    )


def refused(services: str = "{}", hosts: str = "{a: {}, b: {}}", rest: str = "") -> str:
    with pytest.raises(ScenarioError) as raised:
        scenario(services, hosts, rest)
    return str(raised.value)


@pytest.mark.parametrize(
    "name", ["localhost", "LocalHost", "localhost.localdomain", "my.localhost", "ip6-loopback", "host.docker.internal"]
)
def test_names_that_every_machine_has_are_refused(name: str) -> None:
    assert f"underlay.hosts.{name}: found '{name}', expected another name than one which means" in refused(
        hosts=f"{{{name}: {{}}}}"
    )
    assert f"services.{name}: found '{name}'" in refused(f"{{{name}: {{IMAGE}}}}")


@pytest.mark.parametrize("name", ["12.83.46.1", "'1.2'", "0x7f.1", "'7'", "'0177'"])
def test_names_that_are_addresses_are_refused(name: str) -> None:
    assert "which every tool takes for an address" in refused(hosts=f"{{{name}: {{}}}}")
    assert "which every tool takes for an address" in refused(f"{{{name}: {{IMAGE}}}}")


@pytest.mark.parametrize("name", ["1.2.3.4.5", "a.1", "7up", "host12.83.46.1"])
def test_names_that_only_look_a_little_like_that_are_not(name: str) -> None:
    assert name in scenario(hosts=f"{{{name}: {{}}}}").hosts


def test_upper_and_lower_case_are_one_name() -> None:
    assert "services.web: found 'web' next to 'Web', expected a name of its own" in refused(
        "{Web: {IMAGE}, web: {IMAGE}}"
    )
    assert "'A' next to 'a'" in refused(hosts="{a: {}, A: {}}")
    assert "found 'A' next to 'a'" in refused("{A: {IMAGE}}")
    assert "'WEB-2' next to the replicas of 'web'" in refused("{web: {IMAGE, replicas: 2}, WEB-2: {IMAGE}}")
    assert "'db.weave.local' next to 'db'" in refused("{db: {IMAGE}, db.weave.local: {IMAGE}}")
    assert scenario("{db: {IMAGE}, db.prod: {IMAGE}, web: {IMAGE, replicas: 2}, web-3: {IMAGE}}")


def test_a_container_of_one_letter_does_not_exist() -> None:
    assert "services.s: found 's', expected another name than one which no engine takes" in refused("{s: {IMAGE}}")
    assert [one.name for one in scenario("{s: {IMAGE, replicas: 2}}").replicas()] == ["s-1", "s-2"]


def test_a_long_name_is_no_host_name_but_a_dns_name() -> None:
    found = scenario(f"{{{LONG}: {{IMAGE}}, db.prod: {{IMAGE}}, own: {{IMAGE, hostname: a.example.com}}}}").services
    assert found[LONG].hostname == LONG and len(LONG) == 60
    assert found["db.prod"].hostname == "db.prod.weave.local"
    assert found["own"].hostname == "a.example.com"
    domain = ".".join(["d" * 60] * 4)
    assert "at most 253 characters" in refused(
        f"{{{LONG}: {{IMAGE}}}}", rest=f"overlay: {{options: {{dns-domain: {domain}}}}}\n"
    )
    longest = f"expect: {{dns: {{name: {LONG}.weave.local, answers: 1}}}}"
    assert parse(f"version: 1\nunderlay: {{hosts: {{a: {{}}}}}}\ntimeline: [{longest}]\n")


def test_a_scenarios_name_is_short_enough_for_its_lab(tmp_path: Path) -> None:
    names = []
    for end in ("one", "two"):
        file = tmp_path / f"{'n' * 100}{end}.yaml"
        file.write_text("version: 1\nunderlay: {hosts: {a: {}}}\ntimeline: [wait: 1s]\n")
        names.append(load_resolved(file).name)
        assert "the file's name has 103 characters" in read(file).notes[0].text
    assert len(set(names)) == 2 and all(len(name) <= 63 for name in names)


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("db", "db.weave.local."),
        ("db.prod", "db.prod.weave.local."),
        ("db.prod.weave.local", "db.prod.weave.local."),
        ("db.WEAVE.local.", "db.WEAVE.local."),
        (LONG, f"{LONG}.weave.local."),
    ],
)
def test_a_containers_whole_name_is_under_the_domain(own: str, name: str) -> None:
    nothing = cast(Any, None)
    bookings = Attachments(nothing, nothing, Config(name="00:00:00:00:00:01", nickname="a"), nothing)
    assert bookings.qualified(own) == name
    assert bookings.fqdn(Container(id="f" * 64, name=own, hostname="", pid=1, network_mode="")) == name


def test_weave_run_makes_no_host_name_that_a_kernel_refuses() -> None:
    assert parse_run(["--name", "db.prod", "image"], {})["create"]["Hostname"] == "db.prod"
    assert parse_run(["--name", "n" * 63, "image"], {})["create"]["Hostname"] == "n" * 63
    assert "Hostname" not in parse_run(["--name", "n" * 64, "image"], {})["create"]


async def _made(name: str, hostname: str = "") -> str:
    engine = SimEngine("a", 0, lambda name: 0, lambda: None)
    return await engine.create({"Image": "ksahnine/dummy-http", "Hostname": hostname}, name)


def test_simulated_engines_refuse_what_real_ones_do() -> None:
    import asyncio

    assert asyncio.run(_made("ok", "h" * 64))
    for name, hostname in (("s", ""), ("-x", ""), ("ok", "h" * 65)):
        with pytest.raises(UsageError):
            asyncio.run(_made(name, hostname))


def test_checkers_know_whose_a_name_is() -> None:
    services = "{db.prod: {IMAGE, host: a}, db: {IMAGE, host: a}, web: {IMAGE, replicas: 2}}"
    found = scenario(services, rest="overlay: {options: {dns-domain: example.org}}\n")
    world = ExpectedState()
    world.feed(Meta(t=0, scenario=found.to_json(), backend="sim", seed=0, version="1", started=""))
    places = {one.name: one.host for one in found.replicas()}
    world.feed(Event(t=1, step=0, what="run", detail={"replicas": places}))
    assert world.owners("db.prod.example.org") == ["db.prod"]
    assert world.owners("DB.example.org.") == ["db"]
    assert world.owners("web.example.org") == ["web-1", "web-2"]
    assert world.owners("db.weave.local") == []


def test_a_key_writes_no_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(
        'version: 1\n"key\\nFORGED: valid": 1\nservices: {"ab\\nFORGED: valid": {image: x}}\n', encoding="utf-8"
    )
    with pytest.raises(ScenarioError) as caught:
        load(file)
    lines = str(caught.value).splitlines()
    assert len(lines) > 1 and all(line.startswith(f"{file}:") for line in lines)

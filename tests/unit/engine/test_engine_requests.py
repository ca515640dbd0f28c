"""What create requests mean, and the small texts of the Docker API."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.engine import clock, spec
from lab.engine.errors import ApiError
from lab.engine.files import resolver
from lab.engine.hijack import detach_keys
from lab.engine.spec import parse_create, parse_signal
from lab.images import IMAGES, SHIMS_FIRST, SHIMS_LAST, find, reference, search_path


def create(**body: Any) -> tuple[spec.CreateRequest, Any]:
    request, image, _ = parse_create(json.dumps({"Image": "process", "Cmd": ["true"], **body}).encode(), IMAGES)
    return request, image


def test_what_a_go_client_sends() -> None:
    request, image = create(
        Image="ksahnine/dummy-http:latest",
        Cmd=["svc1"],
        Env=None,
        Entrypoint=None,
        Volumes={},
        HostConfig={"Binds": None, "PortBindings": {"8080/tcp": [{"HostIp": "", "HostPort": "80"}]}, "Memory": 0},
        NetworkingConfig={"EndpointsConfig": {}},
    )
    assert spec.command(request, image) == (("dummy-http",), ("svc1",))
    assert spec.bindings(request, image) == [(8080, "tcp", spec.PortBinding("", "80"))]


def test_entrypoints_follow_dockers_rule() -> None:
    curl = {"Image": "tutum/curl", "Cmd": None}
    assert spec.command(*create(**curl)) == ((), ("/bin/bash",))
    assert spec.command(*create(**curl, Entrypoint=["/bin/ls"])) == (("/bin/ls",), ())
    assert spec.command(*create(Image="ksahnine/dummy-http", Entrypoint=[""], Cmd=["id"])) == ((), ("id",))
    assert spec.command(*create(Cmd="date")) == ((), ("date",))


def test_ports_that_are_published_without_being_named() -> None:
    request, image = create(
        Image="ksahnine/dummy-http", ExposedPorts={"53/udp": {}}, HostConfig={"PublishAllPorts": True}
    )
    assert [(port, protocol) for port, protocol, _ in spec.bindings(request, image)] == [(8080, "tcp"), (53, "udp")]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Image": "nothing"}, 404, "No such image: nothing:latest"),
        ({"Image": "process:2"}, 404, "No such image: process:2"),
        ({"Cmd": None}, 400, "No command specified"),
        ({"Cmd": 3}, 400, "invalid JSON"),
        ({"User": "www"}, 400, "know only root"),
        ({"HostConfig": {"NetworkMode": "x"}}, 404, "network x not found"),
        ({"HostConfig": {"RestartPolicy": {"Name": "maybe"}}}, 400, "invalid restart policy"),
        ({"HostConfig": {"RestartPolicy": {"Name": "always"}, "AutoRemove": True}}, 400, "AutoRemove"),
        ({"HostConfig": {"PortBindings": {"0/tcp": []}}}, 400, "invalid port specification"),
        ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "70000"}]}}}, 400, "invalid port specification"),
        ({"HostConfig": {"Binds": ["data:/data"]}}, 400, "invalid volume specification"),
        ({"StopSignal": "SIGNOTHING"}, 400, "Invalid signal"),
    ],
)
def test_refusals(body: dict[str, Any], status: int, text: str) -> None:
    with pytest.raises(ApiError) as refusal:
        create(**body)
    assert refusal.value.status == status and text in refusal.value.message


JSON = st.recursive(st.none() | st.integers() | st.text(), lambda e: st.lists(e) | st.dictionaries(st.text(), e))


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_hostile_bodies_are_refused_in_words(body: bytes) -> None:
    for parse in (lambda: parse_create(body, IMAGES), lambda: spec.parse_exec(body)):
        try:
            parse()
        except ApiError as refusal:
            assert 400 <= refusal.status < 500 and refusal.message


def test_references() -> None:
    assert reference("a/b") == ("a/b", "latest") and reference("host:5000/a") == ("host:5000/a", "latest")
    assert reference("docker.io/library/process:1") == ("process", "1")
    image = IMAGES["tutum/curl"]
    assert find("docker.io/tutum/curl:latest") is image and find(image.id) is image and find(image.id[7:19]) is image
    assert find("") is None and find(image.id[:9]) is None


def test_search_path_puts_shims_around_the_machines() -> None:
    parts = search_path("/opt/x:relative::/bin").split(":")
    assert parts[0] == SHIMS_FIRST and parts[-2:] == ["/opt/x", SHIMS_LAST] and parts.count("/bin") == 1


def test_name_servers() -> None:
    host = (
        "nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch old\nsearch a b\noptions ndots:2\n# nameserver 1.1.1.1\n\n"
    )
    assert resolver(host, create()[0]) == "nameserver 192.0.2.1\nsearch a b\noptions ndots:2\n"
    own = {"Dns": ["172.17.0.1"], "DnsSearch": ["weave.local"]}
    assert resolver(host, create(HostConfig=own)[0]) == "nameserver 172.17.0.1\nsearch weave.local\noptions ndots:2\n"
    assert resolver(host, create(HostConfig={"NetworkMode": "host"})[0]).startswith("nameserver 127.0.0.53\n")
    assert "search" not in resolver(host, create(HostConfig={"DnsSearch": ["."]})[0])


def test_signals_and_keys() -> None:
    assert [int(parse_signal(text)) for text in ("SIGTERM", "kill", "1")] == [15, 9, 1]
    assert detach_keys("") == b"\x10\x11" and detach_keys("ctrl-a,d") == b"\x01d"
    for wrong in ("ctrl-1", "alt-x", "ctrl-"):
        with pytest.raises(ApiError):
            detach_keys(wrong)


@given(st.integers(1, 4_000_000_000_000_000_000))
def test_times_survive_their_text_to_the_microsecond(ns: int) -> None:
    assert abs(clock.parse_time(clock.rfc3339(ns)) - ns) < 1_000_000
    assert clock.parse_time(f"{ns // clock.SECOND}.{ns % clock.SECOND:09d}") == ns


def test_durations_read_as_in_docker_ps() -> None:
    seconds = [0, 1, 59, 60, 120, 3600, 7200, 86400 * 3]
    texts = [clock.duration(n * clock.SECOND) for n in seconds]
    assert texts[:3] == ["Less than a second", "1 second", "59 seconds"]
    assert texts[3:] == ["About a minute", "2 minutes", "About an hour", "2 hours", "3 days"]

"""The rewrites of the Docker API: what goes in front of a container's program comes off again; nothing else moves."""

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from overlay.docker.cidr import allows_spoofing, wanted_addresses
from overlay.docker.hosts_file import rewritten
from overlay.docker.waiter import WAITER, program
from overlay.proxy import unwrap
from overlay.proxy.create import ContainerDefaults, joining, named_network, rewrite
from overlay.proxy.policy import AttachmentPolicy, Rejected
from overlay.proxy.routes import route

FACTS = ContainerDefaults(resolver="172.17.0.1", domain="weave.local", waiter="/var/lib/weave/waiter")
# Hypothesis takes constants from our sources, too: an image whose own program is the waiter has one beneath it.
word = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8).filter(WAITER.__ne__)
words = st.lists(word, max_size=3)
maybe = st.none() | words


def engines(body: dict[str, Any], image: dict[str, Any]) -> tuple[list[str] | None, list[str] | None]:
    """What the engine makes of both (moby: daemon/commit.go merge, daemon/container.go mergeAndVerifyConfig)."""
    entrypoint, command = body.get("Entrypoint"), body.get("Cmd")
    if not entrypoint:
        if not command:
            command = image.get("Cmd")
        if entrypoint is None:
            entrypoint = image.get("Entrypoint")
    if entrypoint == [""]:
        entrypoint = None
    return entrypoint or None, command or None


@given(mine=maybe, command=maybe, images=maybe, images_command=maybe)
@example(mine=None, command=None, images=[""], images_command=["x"])
def test_taking_the_waiter_off_gives_what_the_engine_would_show(
    mine: list[str] | None, command: list[str] | None, images: list[str] | None, images_command: list[str] | None
) -> None:
    body = {"Image": "i", "Entrypoint": mine, "Cmd": command, "HostConfig": {"Binds": None}}
    image = {"Entrypoint": images, "Cmd": images_command}
    entrypoint, argv = engines(body, image)
    before = copy.deepcopy(body)
    changed = rewrite(body, image, "", FACTS, AttachmentPolicy())
    assert body == before
    if not entrypoint and not argv:
        assert changed is None
        return
    assert changed is not None
    kept_entrypoint, kept_command = engines(changed, image)
    line = [*(kept_entrypoint or ()), *(kept_command or ())]
    shown = {
        "Path": line[0],
        "Args": line[1:],
        "Config": {"Entrypoint": kept_entrypoint, "Cmd": kept_command},
        "HostConfig": dict(changed["HostConfig"]),
        "Mounts": [{"Destination": "/w"}, {"Destination": "/data"}],
    }
    assert unwrap.container(shown)
    assert (shown["Config"]["Entrypoint"], shown["Config"]["Cmd"]) == (entrypoint, argv)
    assert [shown["Path"], *shown["Args"]] == [*(entrypoint or ()), *(argv or ())]
    assert shown["HostConfig"]["Binds"] is None
    assert shown["Mounts"] == [{"Destination": "/data"}]
    again = copy.deepcopy(shown)
    assert not unwrap.container(again) and again == shown


def test_only_what_must_changes() -> None:
    body = {"Image": "i", "Cmd": ["x"], "Env": ["A=b"], "HostConfig": {"Memory": 1, "Dns": ["9.9.9.9"]}, "Labels": {}}
    changed = rewrite(body, {}, "svc1", FACTS, AttachmentPolicy())
    assert changed == {
        **body,
        "Entrypoint": [WAITER],
        "Hostname": "svc1",
        "Domainname": "weave.local",
        "HostConfig": {
            "Memory": 1,
            "Dns": ["9.9.9.9"],
            "DnsSearch": ["weave.local"],
            "Binds": ["/var/lib/weave/waiter:/w:ro"],
        },
    }


@pytest.mark.parametrize(
    ("policy", "name", "labels", "expected"),
    [
        (AttachmentPolicy(), "svc1", {}, "svc1"),
        (AttachmentPolicy(), "", {}, ""),
        (AttachmentPolicy(hostname_from_label="h"), "n", {"h": "labelled"}, "labelled"),
        (AttachmentPolicy(hostname_from_label="h"), "n", {}, "n"),
        (
            AttachmentPolicy(hostname_match="^aws-[0-9]+-(.*)$", hostname_replacement="my-app-$1"),
            "aws-12-web",
            {},
            "my-app-web",
        ),
        (AttachmentPolicy(hostname_match="^aws-(.*)$", hostname_replacement="x-\\1"), "other", {}, "other"),
        (AttachmentPolicy(without_dns=True), "svc1", {}, ""),
    ],
)
def test_host_names(policy: AttachmentPolicy, name: str, labels: dict[str, str], expected: str) -> None:
    changed = rewrite({"Image": "i", "Cmd": ["x"], "Labels": labels}, {}, name, FACTS, policy)
    assert changed is not None
    assert changed.get("Hostname", "") == expected


def test_a_host_name_keeps_within_what_the_kernel_takes() -> None:
    for length in (52, 53, 63, 64):
        changed = rewrite({"Cmd": ["x"]}, {}, "n" * length, FACTS, AttachmentPolicy())
        assert changed is not None
        full = changed.get("Hostname", "") + "." * ("Domainname" in changed) + changed.get("Domainname", "")
        assert len(full) <= 64
        assert bool(full) == (length < 64)


@pytest.mark.parametrize(
    ("env", "default", "expected"),
    [
        ([], True, ()),
        ([], False, None),
        (["WEAVE_CIDR="], False, ()),
        (["WEAVE_CIDR=none"], True, None),
        (["WEAVE_CIDR=10.0.1.4/24 net:10.2.0.0/16"], True, ("10.0.1.4/24", "net:10.2.0.0/16")),
        (["WEAVE_CIDR=none", "WEAVE_CIDR=net:default"], True, ("net:default",)),
        (["WEAVE_CIDRS=x", "WEAVE_CIDR"], False, None),
    ],
)
def test_what_an_environment_asks_for(env: list[str], default: bool, expected: tuple[str, ...] | None) -> None:
    assert wanted_addresses(env, by_default=default) == expected


@pytest.mark.parametrize("mode", ["host", "container:x"])
def test_no_address_for_who_has_no_network_of_its_own(mode: str) -> None:
    body: dict[str, Any] = {"HostConfig": {"NetworkMode": mode}}
    assert joining(body, (), AttachmentPolicy()) is None
    with pytest.raises(Rejected, match=f"--net={mode}"):
        joining({**body, "Env": ["WEAVE_CIDR=10.0.1.4/24"]}, (), AttachmentPolicy())
    assert joining({**body, "Env": ["WEAVE_CIDR=none"]}, (), AttachmentPolicy()) is None
    assert named_network(body) == ""


@pytest.mark.parametrize("text", ["10.0.1.4", "10.0.1.0/24", "net:10.0.1.4/24", "x", "10.0.1.4/24 x"])
def test_malformed_addresses_are_refused(text: str) -> None:
    with pytest.raises(Rejected, match="WEAVE_CIDR"):
        joining({"Env": [f"WEAVE_CIDR={text}"]}, (), AttachmentPolicy())


@pytest.mark.parametrize(
    ("method", "target", "endpoint", "container"),
    [
        ("POST", "/v1.41/containers/create?name=x", "create", ""),
        ("POST", "/containers/abc/start", "start", "abc"),
        ("POST", "/v1.24/containers/a%2Fb/restart?t=1", "restart", "a/b"),
        ("GET", "/v1.41/containers/json?all=1", "list", ""),
        ("GET", "/v1.41/containers/x/json", "inspect", "x"),
        ("POST", "/commit?container=x&repo=y", "commit", "x"),
        ("GET", "/v1.41/containers/create", "", ""),
        ("POST", "/v1.41/containers/x/attach", "", ""),
        ("POST", "/v1.41/exec/x/start", "", ""),
        ("GET", "/v1.41/images/json", "", ""),
        ("POST", "/build", "", ""),
    ],
)
def test_which_requests_are_rewritten(method: str, target: str, endpoint: str, container: str) -> None:
    call = route(method, target)
    assert (call.endpoint if call else "") == endpoint
    assert (call.container if call else "") == container


def test_lists_changes_and_commits() -> None:
    entries: list[Any] = [{"Command": "/w/w sh -c x", "Mounts": []}, {"Command": "/w/wx"}, {"Command": "/w/w"}]
    assert unwrap.listing(entries, "/db/waiter")
    assert [entry["Command"] for entry in entries] == ["sh -c x", "/w/wx", ""]
    assert not unwrap.listing([{"Command": "sh", "Mounts": [{"Source": "/db", "Destination": "/w"}]}], "/db/waiter")
    podman = [{"Command": "x", "Mounts": [{"Source": "/db/waiter", "Destination": "/w"}, {"Destination": "/v"}]}]
    assert unwrap.listing(podman, "/db/waiter")
    assert podman == [{"Command": "x", "Mounts": [{"Destination": "/v"}]}]
    assert unwrap.changes([{"Path": "/w", "Kind": 1}]) is None
    assert unwrap.changes([{"Path": "/x", "Kind": 1}]) == [{"Path": "/x", "Kind": 1}]
    inspected = {"Config": {"Entrypoint": [WAITER, "/e"], "Cmd": ["c"], "Env": ["A=b"]}}
    assert unwrap.commit(None, inspected) == {"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=b"]}
    assert unwrap.commit({"Entrypoint": ["/own"]}, inspected) == {"Entrypoint": ["/own"]}
    assert unwrap.commit({"Cmd": ["d"]}, inspected) == {"Entrypoint": ["/e"], "Cmd": ["d"]}


def test_the_hosts_file_leads_its_own_name_to_the_overlay() -> None:
    text = "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.9.9.9\tadded\n172.17.0.2\tsvc1.weave.local svc1\n"
    changed = rewritten(text, "svc1", "weave.local", ("10.0.1.1/24",))
    assert changed.splitlines() == [*text.splitlines()[:3], "10.0.1.1\tsvc1.weave.local svc1"]
    assert rewritten(changed, "svc1", "weave.local", ("10.0.1.1/24",)) == changed
    assert rewritten(text, "", "", ("10.0.1.1/24",)) == text


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_waiter_is_a_small_static_program(machine: str) -> None:
    code = program(machine)
    assert code.startswith(b"\x7fELF\x02\x01") and len(code) < 4096
    assert int.from_bytes(code[18:20], "little") == {"x86_64": 62, "aarch64": 183}[machine]
    headers, size, count = int.from_bytes(code[32:40], "little"), *(code[54], code[56])
    kinds = [int.from_bytes(code[headers + size * n : headers + size * n + 4], "little") for n in range(count)]
    assert 3 not in kinds and 2 not in kinds  # no interpreter, nothing dynamic


def test_no_waiter_for_other_machines() -> None:
    assert program("riscv64") == b""


def test_only_the_request_allows_spoofing_not_the_image() -> None:
    asked = joining({"Env": ["WEAVE_ALLOW_SPOOFING=1"]}, (), AttachmentPolicy())
    assert asked is not None and asked.spoofing
    image = joining(
        {"Env": ["WEAVE_ALLOW_SPOOFING=1", "WEAVE_ALLOW_SPOOFING=0"]}, ("WEAVE_ALLOW_SPOOFING=1",), AttachmentPolicy()
    )
    assert image is not None and not image.spoofing
    assert not allows_spoofing(["A=1"]) and allows_spoofing(["WEAVE_ALLOW_SPOOFING=TRUE"])
    with pytest.raises(Rejected, match="WEAVE_ALLOW_SPOOFING=maybe: expected 1 or 0"):
        joining({"Env": ["WEAVE_ALLOW_SPOOFING=maybe"]}, (), AttachmentPolicy())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["weave.local"]),
        ({"Hostname": "c1.Sub.weave.local"}, ["Sub.weave.local", "weave.local"]),
        ({"Hostname": "c1", "Domainname": "sub.weave.local"}, ["sub.weave.local", "weave.local"]),
        ({"Hostname": "c1.weave.local"}, ["weave.local"]),
        ({"Hostname": "c1.example.org"}, ["weave.local"]),
        ({"Hostname": "c1.sub.weave.local", "HostConfig": {"DnsSearch": ["mine"]}}, ["mine"]),
    ],
)
def test_a_container_in_a_sub_domain_searches_there_first(body: dict[str, Any], expected: list[str]) -> None:
    changed = rewrite({"Cmd": ["x"], **body}, {}, "c1", FACTS, AttachmentPolicy())
    assert changed is not None and changed["HostConfig"]["DnsSearch"] == expected

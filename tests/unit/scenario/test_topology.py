"""Scenarios made concrete: addresses, placement, names of replicas, links, generated underlays."""

import json

from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve

BASE = "version: 1\nunderlay:\n  hosts: {a: {}, b: {address: 192.168.0.2}, c: {}}\n"


def resolved(text: str) -> Resolved:
    return resolve(parse(text + "timeline: [wait: 1s]\n"), name="x")


def test_hosts_without_an_address_get_the_next_free_one() -> None:
    hosts = resolved(BASE).hosts
    assert [host.address for host in hosts.values()] == ["192.168.0.3", "192.168.0.2", "192.168.0.4"]
    assert hosts["a"].interfaces[0].prefix == 24


def test_replicas_go_round_the_hosts_and_keep_their_places_when_scaled() -> None:
    scenario = resolved(
        BASE + "services:\n  files: {command: [x], replicas: 4}\n  on: {command: [x], replicas: 2, hosts: [c, a]}\n"
    )
    assert [(r.name, r.host) for r in scenario.replicas()] == [
        ("files-1", "a"), ("files-2", "b"), ("files-3", "c"), ("files-4", "a"), ("on-1", "c"), ("on-2", "a"),
    ]  # fmt: skip
    assert scenario.services["files"].replica(6).host == "c"


def test_a_single_service_bears_its_own_name_and_its_second_replica_a_number() -> None:
    service = resolved(
        BASE + "services: {svc: {image: ksahnine/dummy-http, host: b, address: 10.0.1.1/24}}\n"
    ).services["svc"]
    assert [service.replica(1).name, service.replica(2).name] == ["svc", "svc-2"]
    assert [service.replica(1).address, service.replica(2).address] == ["10.0.1.1/24", ""]
    assert (service.port, service.hostname) == (8080, "svc.weave.local")


def test_single_services_without_a_host_are_spread() -> None:
    scenario = resolved(BASE + "services: {xx: {command: [x]}, yy: {command: [y]}, zz: {command: [z], host: a}}\n")
    assert [replica.host for replica in scenario.replicas()] == ["a", "b", "a"]


def test_probes_default_to_http_where_there_is_a_port() -> None:
    scenario = resolved(BASE + "services: {xx: {image: ksahnine/dummy-http}, yy: {image: tutum/curl}}\n")
    assert [(plan.kind, plan.sources, plan.targets) for plan in scenario.probes] == [
        ("http", ("xx", "yy"), ("xx",)),
        ("icmp", ("xx", "yy"), ("yy",)),
    ]


def test_links_override_the_default_one_direction_at_a_time() -> None:
    links = resolved(
        "version: 1\nunderlay:\n  hosts: {a: {}, b: {}}\n"
        "  links: {default: {delay: 2ms}, a <-> b: {loss: 1%}, b -> a: {rate: 1mbit}}\n"
    ).links
    assert (links.between("a", "b").delay, links.between("a", "b").loss, links.between("a", "b").rate) == (
        2_000_000,
        0.01,
        0,
    )
    assert (links.between("b", "a").loss, links.between("b", "a").rate) == (0.01, 1_000_000)


def test_a_full_mesh_is_generated() -> None:
    scenario = resolved("version: 1\nunderlay: {generate: {kind: full_mesh, hosts: 300}}\n")
    assert list(scenario.hosts)[:2] == ["host1", "host2"] and len(scenario.hosts) == 300
    assert len({host.address for host in scenario.hosts.values()}) == 300


def test_the_resolved_form_is_plain_json_with_nanoseconds() -> None:
    scenario = resolve(
        parse(BASE + "services: {x: {command: [x], replicas: 2}}\ntimeline:\n  - {at: 1s, kill: {host: a, for: 2s}}\n"),
        name="x",
    )
    plain = json.loads(json.dumps(scenario.to_json()))
    assert plain["timeline"][0]["at"] == 10**9 and plain["timeline"][0]["for"] == 2 * 10**9
    assert [replica["name"] for replica in plain["replicas"]] == ["x-1", "x-2"]
    assert plain["underlay"]["hosts"]["b"]["address"] == "192.168.0.2"

"""Scenario files: what is valid, and how what is not is told — every problem, with its place and the nearest word."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.scenario.load import Scenario, ScenarioError, json_schema, load, load_resolved, parse, question

ROOT = Path(__file__).parents[3]
EXAMPLE = """\
# The shape of a scenario file.
version: 1
name: partition
seed: 1

underlay:
  networks:
    lan: {subnet: 192.168.0.0/24}
  hosts:
    orion.local: {network: lan, address: 192.168.0.2}
    macbook.local: {network: lan, address: 192.168.0.3}
  links:
    default: {delay: 1ms}
    "orion.local -> macbook.local": {loss: 1%}

overlay:
  kind: weave
  options: {iprange: 10.32.0.0/12, dns: true}

services:
  svc1: {image: ksahnine/dummy-http, args: [svc1], host: orion.local, address: 10.0.1.1/24}
  svc2: {image: ksahnine/dummy-http, args: [svc2], host: orion.local, address: 10.0.1.2/24}
  svc3: {image: ksahnine/dummy-http, args: [svc3], host: macbook.local, address: 10.0.1.3/24}
  files: {command: [python3, -m, http.server, "9000"], replicas: 2, port: 9000}

probes:
  - {kind: http, from: all, to: all, every: 200ms, timeout: 1s}
  - {kind: dns, name: svc1.weave.local, from: all, every: 500ms}

timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 10s}
  - at: 15s
    partition: {groups: [[orion.local], [macbook.local]], for: 10s}
  - expect: {unreachable: {from: svc1, to: svc3}, within: 2s}
  - expect: {reachable: {from: svc1, to: svc2}, within: 2s}
  - at: 26s
    expect: {converged: all, within: 5s}
  - scale: {service: files, to: 6}
  - expect: {dns: {name: files.weave.local, answers: 6}, within: 5s}
"""
MINIMAL = """version: 1
underlay: {hosts: {a: {}, b: {}}}
services: {s: {image: ksahnine/dummy-http, replicas: 1}}
timeline:
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "x.yaml")
    return str(caught.value).splitlines()


def only(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def test_the_published_shape_is_valid() -> None:
    scenario = parse(EXAMPLE)
    assert [step.verb for step in scenario.timeline][:4] == ["launch", "connect", "run", "expect"]
    assert scenario.timeline[4].at == 15 * 10**9
    assert scenario.timeline[4].duration == 10 * 10**9
    assert scenario.underlay.links["orion.local -> macbook.local"].loss == 0.01


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_our_scenarios_are_valid_and_ask_a_question(path: Path) -> None:
    assert load_resolved(path).question.endswith("?")


def test_scenarios_are_frozen() -> None:
    scenario = parse(EXAMPLE)
    with pytest.raises(ValueError, match="frozen"):
        scenario.seed = 2


def test_short_forms_mean_the_full_ones() -> None:
    short = parse(
        MINIMAL
        + "  - launch: all\n  - launch: a\n  - launch: [a, b]\n  - kill: a\n  - exec: {host: a, command: ls | wc}\n"
    )
    full = parse(
        MINIMAL + "  - launch: {hosts: all}\n  - launch: {hosts: [a]}\n  - launch: {hosts: [a, b]}\n"
        "  - kill: {daemon: a}\n  - exec: {host: a, command: [sh, -c, ls | wc]}\n"
    )
    assert short == full


def test_all_problems_come_at_once_with_their_places() -> None:
    text = EXAMPLE.replace("address: 192.168.0.3", "addres: 192.168.0.3").replace("- scale:", "- scal:")
    text = text.replace("kind: weave", "kind: weav").replace(
        "host: macbook.local, address: 10.0.1.3", "host: macbok.local, address: 10.0.1.1"
    )
    lines = problems(text)
    for number, words in (
        (11, "found the key 'addres', expected one of network, address, networks, region, at; did you mean 'address'?"),
        (17, "found 'weav', expected 'weave', 'vxlan', 'none', "),
        (23, "found 'macbok.local', expected a host: orion.local, macbook.local; did you mean 'macbook.local'?"),
        (23, "found 10.0.1.1/24, expected an address of its own: svc1 has it already"),
        (41, "found the key 'scal', expected one of at,"),
    ):
        assert any(line.startswith(f"x.yaml:{number}:") and words in line for line in lines), (number, lines)
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("lunch: all", "did you mean 'launch'?"),
        ("wait: 5", "found 5, expected a duration"),
        ("{launch: all, run: all}", "found launch, run, expected exactly one verb"),
        ("{at: 5s}", "found none of them, expected exactly one verb"),
        ("{wait: 1s, for: 1s}", "found `for` with wait"),
        ("kill: {}", "expected exactly one of daemon, host, engine, service"),
        ("kill: {service: t}", "found 't', expected a service: s"),
        ("kill: {host: c}", "found 'c', expected a host: a, b"),
        ("partition: {groups: [[a], [a]]}", "found 'a' twice, expected each host in one group"),
        ("partition: {}", "expected exactly one of groups, one_way, isolate, bridge, ring"),
        ("exec: {command: ls}", "found neither, expected either `host` or `service`"),
        ("exec: {host: a, command: []}", "expected a command"),
        ("expect: {within: 1s}", "expected at least one of reachable"),
        ("expect: {dns: {name: s.weave.local, answers: -1}}", "found -1, expected a number of addresses"),
        ("expect: {http: {from: s, url: x, body: '('}}", "expected a regular expression"),
        ("scale: {service: s, to: -1}", "greater than or equal to 0"),
        ("launch: {hosts: [a, a]}", "expected each name once"),
    ],
)
def test_a_wrong_step_is_told(step: str, words: str) -> None:
    found = only(MINIMAL + f"  - {step}\n")
    assert words in found and found.startswith("x.yaml:5:")


def test_times_must_not_go_backwards() -> None:
    found = only(MINIMAL + "  - {at: 5s, launch: all}\n  - {at: 3s, run: all}\n")
    assert found.startswith("x.yaml:6:10: timeline[1].at: found at 3s, after a step at 5s")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("{address: 192.168.1.2}", "expected an address in 192.168.0.0/24"),
        ("{address: 192.168.0.255}", "not the broadcast address"),
        ("{address: 192.168.0}", "expected an address as 192.168.0.2"),
        ("{network: wan}", "found 'wan', expected a network: lan"),
        ("{networks: {lan: null, wan: 10.0.0.1}}", "found 'wan', expected a network: lan"),
    ],
)
def test_wrong_addresses_are_told(host: str, words: str) -> None:
    assert words in only(f"version: 1\nunderlay: {{hosts: {{a: {host}}}}}\ntimeline: [wait: 1s]\n")


def test_an_address_is_one_replicas_only() -> None:
    text = MINIMAL.replace("{image: ksahnine/dummy-http, replicas: 1}", "{image: x, address: 10.0.1.1/24, replicas: 2}")
    assert "found one address for 2 replicas" in only(text + "  - run: all\n")


def test_a_generator_that_does_not_exist_is_refused_by_name() -> None:
    text = "version: 1\nunderlay: {generate: {kind: rings, hosts: 3}}\ntimeline: [wait: 1s]\n"
    assert "found 'rings', expected a generator that exists: full_mesh" in only(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "a: [",
        "a: 1\na: 2",
        "a: &x [*x]",
        "? [1]\n: 2",
        "1: 2",
        "!!python/object:os.system {}",
        "a: !!binary x",
        "2026-01-01",
        "a: 2026-01-01",
        "\t",
        "a: !!int x",
        "a: !!timestamp nonsense",
        "[" * 5000,
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
        "version: 1\nunderlay: .nan\ntimeline: 0x",
        "a: 1e999999",
    ],
)
def test_hostile_yaml_is_a_scenario_error(text: str) -> None:
    assert all(line.startswith("x.yaml:") for line in problems(text))


_WORDS = """
version name seed underlay overlay services probes timeline hosts networks links address replicas kind options image
launch run kill partition groups expect reachable from to within for at dns host service command all 1
"""
_KEYS = st.sampled_from(_WORDS.split())
_LEAVES = (
    st.none() | st.booleans() | st.integers(-5, 99999) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["all", "a", "s", "1s", "192.168.0.1", "10.0.0.1/24", "x -> y", "weave", "http"])
)  # fmt: skip
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=15
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(_KEYS, _TREES, max_size=6))
def test_any_tree_is_a_scenario_or_a_scenario_error(tree: dict[str, object]) -> None:
    import io

    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML(typ="safe").dump(tree, text)
    try:
        assert isinstance(parse(text.getvalue()), Scenario)
    except ScenarioError as error:
        assert error.problems


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_damaged_file_is_a_scenario_or_a_scenario_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE)))
    text = EXAMPLE[:start] + data.draw(st.text(max_size=6)) + EXAMPLE[start + data.draw(st.integers(0, 12)) :]
    try:
        parse(text)
    except ScenarioError as error:
        assert all(1 <= problem.line <= text.count("\n") + 2 for problem in error.problems)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"x\.yaml:1:1: found no readable file \(No such file or directory\)"):
        load(tmp_path / "x.yaml")


def test_the_question_is_the_first_comment() -> None:
    assert question("# Does it?\n# More.\nversion: 1\n") == "Does it?"
    assert question("version: 1\n# no\n") == ""


def test_the_published_schema_is_current() -> None:
    assert (ROOT / "docs/scenario.schema.json").read_text() == json_schema()

"""`repeat` and `for_each`: plain steps, with every fault at its place in the file."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from lab.backends.simulated.backend import SimBackend
from lab.explore.case import first_case
from lab.records.history import Writer, read
from lab.runner.runner import Runner
from lab.scenario.from_json import from_json
from lab.scenario.load import Reading, json_schema, parse
from lab.scenario.load import read as read_file
from lab.scenario.loops import MOST
from lab.scenario.resolve import Resolved
from lab.sweep.grid import parse_set, variants

HEAD = """version: 1
underlay: {hosts: {edge-1: {}, edge-2: {}, core: {}}}
services:
  web: {image: ksahnine/dummy-http, args: [web], host: core, replicas: 1}
timeline:
  - launch: all
"""


def reading(tmp_path: Path, steps: str, head: str = HEAD) -> Reading:
    path = tmp_path / "x.yaml"
    path.write_text(head + steps)
    return read_file(path)


def resolved(tmp_path: Path, steps: str) -> Resolved:
    found = reading(tmp_path, steps)
    assert not found.problems and found.resolved, found.problems
    return found.resolved


def steps_of(scenario: Resolved) -> list[Any]:
    """(verb, body, at in seconds) of every step behind the launch."""
    rows = scenario.to_json()["timeline"][1:]
    return [(row["verb"], row[row["verb"]], None if row["at"] is None else row["at"] / 1e9) for row in rows]


def wrong(tmp_path: Path, steps: str) -> list[str]:
    found = reading(tmp_path, steps)
    return [found.told(problem).removeprefix(f"{found.file}:") for problem in found.problems]


def test_a_variable_stands_for_hosts_of_a_pattern_and_for_items(tmp_path: Path) -> None:
    found = steps_of(
        resolved(
            tmp_path,
            """
  - for_each: {as: host, in: edge-*, steps: [{kill: {host: $host}}, {restart: {host: $host}}]}
  - for_each: {as: n, in: [3, 2], steps: [{scale: {service: web, to: $n}}]}
  - for_each: {as: who, in: all, steps: [{exec: {host: $who, command: 'echo $who ${who} $whom $HOME'}}]}
""",
        )
    )
    assert [(verb, body["host"]) for verb, body, _ in found[:4]] == [
        ("kill", "edge-1"),
        ("restart", "edge-1"),
        ("kill", "edge-2"),
        ("restart", "edge-2"),
    ]
    assert [body["to"] for _, body, _ in found[4:6]] == [3, 2]
    said = [body["command"][-1] for _, body, _ in found[6:]]
    assert said == [f"echo {host} ${{who}} $whom $HOME" for host in ("edge-1", "edge-2", "core")]


def test_rounds_begin_every_so_often_and_times_in_them_count_from_there(tmp_path: Path) -> None:
    found = steps_of(
        resolved(
            tmp_path,
            """
  - at: 10s
    repeat:
      count: 2
      every: 1m
      as: round
      steps:
        - exec: {host: core, command: 'echo $round'}
        - at: 1.5s
          for_each: {as: host, in: [core], every: 5s, steps: [{wait: 1s}, {at: 2s, wait: 1s}]}
  - repeat: {count: 2, steps: [{repeat: {count: 2, steps: [{wait: 1s}]}}, {wait: 2s}]}
""",
        )
    )
    assert [at for _, _, at in found] == [10, 11.5, 13.5, 70, 71.5, 73.5, *[None] * 6]
    assert found[3][1]["command"][-1] == "echo 2"
    assert [body / 1e9 for verb, body, _ in found[6:] if verb == "wait"] == [1, 1, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("repeat: 3", "8:13: timeline[1].repeat: found 3, expected a mapping of count, steps"),
        ("repeat: {count: 2}", "8:13: timeline[1].repeat: found no 'steps', expected the key 'steps'"),
        ("repeat: {count: 2, steps: []}", "8:31: timeline[1].repeat.steps: found no steps, expected a list of at"),
        ("repeat: {count: 0, steps: [{wait: 1s}]}", "8:21: timeline[1].repeat.count: found 0, expected a whole number"),
        ("repeat: {count: yes, steps: [{wait: 1s}]}", "8:21: timeline[1].repeat.count: found 'yes', expected a whole"),
        ("repeat: {cuont: 2, count: 2, steps: [{wait: 1s}]}", "8:14: timeline[1].repeat.cuont: found the key 'cuont'"),
        ("repeat: {count: 2, every: 5s, steps: [{wait: 1s}]}", "8:24: timeline[1].repeat.every: found `every` without"),
        (
            "repeat: {count: 2, steps: [{at: 5s, wait: 1s}]}",
            "8:33: timeline[1].repeat.steps[0].at: found `at` in a",
        ),
        ("{at: soon, repeat: {count: 2, steps: [{wait: 1s}]}}", "8:10: timeline[1].at: found 'soon', expected a dur"),
        ("{for: 3s, repeat: {count: 2, steps: [{wait: 1s}]}}", "8:6: timeline[1].for: found the key 'for' next to"),
        ("for_each: {in: all, steps: [{wait: 1s}]}", "8:15: timeline[1].for_each: found no 'as', expected the key"),
        ("for_each: {as: a-b, in: all, steps: [{wait: 1s}]}", "8:20: timeline[1].for_each.as: found 'a-b', expected a"),
        (
            "for_each: {as: a, in: egde-*, steps: [{wait: 1s}]}",
            "8:27: timeline[1].for_each.in: found 'egde-*', which",
        ),
        ("for_each: {as: a, in: [[1]], steps: [{wait: 1s}]}", "8:28: timeline[1].for_each.in[0]: found a list of 1"),
        (
            "repeat: {count: 2, as: a, steps: [{repeat: {count: 2, as: a, steps: [{wait: 1s}]}}]}",
            "8:63: timeline[1].repeat.steps[0].repeat.as: found 'a', which a loop around it has",
        ),
    ],
)
def test_a_fault_of_a_loop_is_told_at_its_place(step: str, says: str, tmp_path: Path) -> None:
    told = wrong(tmp_path, f"  # a comment\n  - {step}\n")
    assert len(told) == 1 and told[0].startswith(says), told


def test_a_fault_of_a_step_in_a_loop_is_told_once_at_its_place(tmp_path: Path) -> None:
    told = wrong(
        tmp_path,
        """  - repeat:
      count: 40
      steps:
        - kil: {host: core}
        - for_each: {as: h, in: [core, edge-1, edge-9, edge-8], steps: [{kill: {host: $h}}, {wait: long}]}
  - kill: {host: nobody}
""",
    )
    assert [(line.partition(": ")[0], line.partition("found ")[2].partition(",")[0]) for line in told] == [
        ("10:11", "the key 'kil'"),
        ("11:87", "'edge-9'"),
        ("11:100", "'long'"),
        ("12:18", "'nobody'"),
    ]
    assert "timeline[1].repeat.steps[0].kil" in told[0] and "repeat, for_each" in told[0]
    assert "timeline[1].repeat.steps[1].for_each.steps[0].kill.host" in told[1]


def test_what_a_backend_refuses_has_its_place_in_the_loop(tmp_path: Path) -> None:
    found = reading(
        tmp_path, "  - repeat:\n      count: 3\n      steps: [{wait: 1s}, {exec: {host: core, command: 'perl x'}}]\n"
    )
    refused = found.refused("timeline[4].exec: no perl here")
    assert (refused.line, refused.path) == (9, "timeline[1].repeat.steps[1].exec")


@pytest.mark.parametrize(
    "step",
    [
        f"repeat: {{count: {MOST}, steps: [{{wait: 1s}}]}}",
        "repeat: {count: 999, steps: [{repeat: {count: 999, steps: [{repeat: {count: 999, steps: [{wait: 1}]}}]}}]}",
    ],
)
def test_loops_are_bounded_before_they_are_written_out(step: str, tmp_path: Path) -> None:
    (told,) = wrong(tmp_path, f"  - {step}\n")
    assert "steps when it is written out, expected at most 10,000 in the whole timeline" in told
    assert told.startswith("7:5: timeline[1].repeat")


def test_loops_are_bounded_in_depth(tmp_path: Path) -> None:
    step = "{wait: 1s}"
    for _ in range(12):
        step = f"{{repeat: {{count: 1, steps: [{step}]}}}}"
    (told,) = wrong(tmp_path, f"  - {step}\n")
    assert "found a loop in 8 others" in told


LOOPED = """  - connect: all
  - for_each: {as: s, in: [web], steps: [{run: $s}]}
  - expect: {converged: all, within: 10s}
  - repeat:
      count: 2
      as: n
      steps:
        - partition: {isolate: edge-1, for: 2s}
        - wait: 3s
        - scale: {service: web, to: 3}
        - scale: {service: web, to: $n}
        - expect: {converged: all, within: 20s}
"""


def test_a_run_lists_plain_steps_and_can_be_played_again_from_them(tmp_path: Path) -> None:
    scenario = resolved(tmp_path, LOOPED)

    def played(what: Resolved) -> bytes:
        backend, history = SimBackend(), io.BytesIO()
        outcome = backend.run(Runner(what, backend, Writer(history)).run())
        assert (outcome.verdict, outcome.reason) == ("valid", "")
        return history.getvalue()

    first = played(scenario)
    (tmp_path / "history.jsonl").write_bytes(first)
    meta: Any = next(iter(read(tmp_path / "history.jsonl")))
    assert [step["verb"] for step in meta.scenario["timeline"][4:9]] == [
        "partition",
        "wait",
        "scale",
        "scale",
        "expect",
    ]
    assert played(from_json(meta.scenario)) == first


def test_sweeps_and_explorations_take_loops(tmp_path: Path) -> None:
    text = HEAD + LOOPED
    found = variants(text, [parse_set("timeline.4.repeat.count=1,2")], file="x.yaml", name="x", question="")
    assert [len(one.scenario.timeline) for one in found] == [9, 14]
    case = first_case(text, "x", tmp_path, deadline=10**9, hosts=("edge-1", "edge-2", "core"))
    assert [next(iter(step)) for step in case.setup] == ["launch", "connect", "run", "expect"]
    assert case.setup[2] == {"run": "web"}
    numbered = text.replace("partition: {isolate: edge-1, for: 2s}", 'exec: {host: core, command: "echo $n"}')
    assert parse(first_case(numbered, "x", tmp_path, deadline=10**9).text())


def test_the_schema_knows_loops() -> None:
    schema = json.loads(json_schema())
    assert {"$ref": "#/$defs/Loop"} in schema["properties"]["timeline"]["items"]["anyOf"]
    assert set(schema["$defs"]["Loop"]["properties"]) == {"at", "repeat", "for_each"}

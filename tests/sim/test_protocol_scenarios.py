"""Protocols in scenarios: the same steps, faults, verdicts, sweeps and replays as for any overlay; whose code runs."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lab
from lab import foreign_code
from lab.backends.netns.backend import NetnsBackend
from lab.backends.simulated.backend import SimBackend
from lab.errors import LabError
from lab.kinds.overlays import OVERLAYS
from lab.records.history import RunFigure, Writer, decode
from lab.records.trace import TABLES, Traces, write_traces
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import ScenarioError, parse
from lab.scenario.resolve import resolve

RING = Path(__file__).parents[1] / "support" / "ring_protocol.py"
SWIM = """
version: 1
underlay: {generate: {kind: star, hosts: 6}}
overlay: {kind: swim, options: {period: 200ms, timeout: 50ms, reconnect: 1s}}
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 30s}
  - kill: {daemon: host3}
    for: 20s
  - expect: {converged: all, within: 15s}
  - wait: 15s
  - expect: {converged: all, within: 15s}
  - partition: {groups: [[host1, host2], [host3, host4, host5, host6]]}
    for: 20s
  - expect: {converged: all, within: 19s}
  - wait: 12s
  - expect: {converged: all, within: 30s}
  - pause: {daemon: host2}
    for: 2s
  - kill: {host: host6}
    for: 5s
  - wait: 6s
  - expect: {converged: all, within: 30s}
"""
TWO = """
version: 1
underlay:
  hosts: {a: {}, b: {}, c: {}}
  edges: [[a, b], [b, c]]
services:
  left: {image: ksahnine/dummy-http, args: [left], host: a}
  right: {image: ksahnine/dummy-http, args: [right], host: c}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 20s}
"""
TREE = """
version: 1
underlay: {generate: {kind: star, hosts: 20}}
overlay: {kind: plumtree, options: {shuffle: 2s}}
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 30s}
  - publish: {from: [host1, host2], messages: 10, size: 50}
  - wait: 1s
  - kill: {daemon: host5}
  - publish: {from: host1, messages: 5}
  - expect: {converged: all, within: 30s}
"""
ASKS_RING = """
version: 1
underlay: {generate: {kind: star, hosts: 5}}
overlay: {kind: "ring_protocol:Ring"}
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 10s}
  - publish: {from: host2, messages: 3}
  - wait: 1s
"""


@pytest.fixture
def nothing_allowed(monkeypatch):
    """No code is allowed, and what a test allows is not afterwards."""
    monkeypatch.setenv(foreign_code._VARIABLE, "")
    yield monkeypatch
    OVERLAYS._loaded.pop("ring_protocol:Ring", None)
    sys.modules.pop("ring_protocol", None)


def played(text: str, seed: int, *, traced: bool = False) -> tuple[RunOutcome, bytes, dict[str, Any]]:
    """Outcome, history and traces."""
    backend, history = SimBackend(), io.BytesIO()
    backend.traced = traced
    outcome = backend.run(Runner(resolve(parse(text), seed=seed), backend, Writer(history)).run())
    return outcome, history.getvalue(), dict(backend.traces())


def test_members_are_killed_cut_off_stopped_and_come_back():
    outcome, history, _ = played(SWIM, 2)
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    records = [decode(line) for line in history.splitlines()]
    figures = {record.name: record.value for record in records if isinstance(record, RunFigure)}
    assert figures["failures"] == 2
    assert 0 < figures["first_detection_mean"] < 3
    measured = {name for change in outcome.convergence for name in change["metrics"]}
    assert measured == {"topology"}  # nobody has views of rings and names here


@pytest.mark.parametrize("text", [TREE, TWO], ids=["protocol", "weave"])
def test_a_run_is_the_same_to_the_byte_traced_or_not(tmp_path, text: str):
    assert played(text, 7)[1] == played(text, 7, traced=True)[1]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_traces(tmp_path / name, played(text, 7, traced=True)[2])
    for name in TABLES:
        files = [(tmp_path / run / "trace" / f"{name}.parquet").read_bytes() for run in ("a", "b")]
        assert files[0] == files[1], name


def test_a_run_that_was_not_traced_says_how(tmp_path):
    assert not Traces(tmp_path)
    with pytest.raises(LabError, match="was not traced: play it again with --trace"):
        Traces(tmp_path).table("messages")
    with pytest.raises(AttributeError, match="no table 'packets' among the traces, expected one of: messages"):
        _ = Traces(tmp_path).packets


def test_traces_of_a_protocol_have_every_delivery_and_the_tree(tmp_path):
    run = lab.play(TREE, backend="sim", out=tmp_path, seed=7, trace=True)
    assert run.verdict == "valid"
    for name, columns in TABLES.items():
        table = run.trace.table(name)
        assert [(field.name, str(field.type).replace("double", "float64")) for field in table.schema] == [
            (column.name, column.type) for column in columns
        ]
    payloads, deliveries = run.trace.payloads.to_pylist(), run.trace.deliveries.to_pylist()
    assert len(payloads) == 15
    assert {row["delivered"] for row in payloads[:10]} == {20}
    assert payloads[9]["rmr"] == pytest.approx(0, abs=0.06)
    assert sum(row["delivered"] for row in payloads) == len(deliveries)
    by_payload: dict[str, dict[str, Any]] = {}
    for row in deliveries:
        by_payload.setdefault(row["payload"], {})[row["host"]] = row
    for hosts in by_payload.values():
        for row in hosts.values():
            assert row["hops"] == (hosts[row["sender"]]["hops"] + 1 if row["sender"] else 0)
    last = payloads[9]
    assert max(row["hops"] for row in by_payload[last["payload"]].values()) == last["last_hop"]
    # The tree: each member but the origin got the last one over an edge that is in the table.
    edges = {(row["host"], row["peer"]) for row in run.trace.edges.to_pylist() if row["kind"] == "tree" and row["up"]}
    assert all((row["sender"], row["host"]) in edges for row in by_payload[last["payload"]].values() if row["sender"])
    sent = run.trace.messages.to_pylist()
    payload = [row for row in sent if row["kind"] == "Payload"]
    assert sum(row["count"] for row in payload) >= sum(row["copies"] for row in payloads)
    assert all(row["bytes"] >= 50 * row["count"] for row in payload)
    assert [row["host"] for row in run.trace.failures.to_pylist()] == ["host5"]


def test_traces_of_the_overlay_itself():
    outcome, _, traces = played(TWO, 1, traced=True)
    assert outcome.verdict == "valid"
    kinds = {row[3] for row in traces["messages"]}
    assert {"News", "Beat", "Hello"} <= kinds
    assert {row[4] for row in traces["messages"]} == {"tcp", "udp"}
    payloads = traces["payloads"]
    assert {row[1].partition("/")[0] for row in payloads} >= {"topology", "dns", "endpoints"}
    assert {row[2] for row in payloads} == {"a", "b", "c"}
    assert {row[8] for row in payloads} == {1, 2}  # b is between the others
    assert {("neighbour", True), ("tree", True)} <= {(row[3], row[4]) for row in traces["edges"]}


def test_code_of_a_scenario_is_not_imported_unless_it_was_named(tmp_path, nothing_allowed):
    shutil.copy(RING, tmp_path / "ring_protocol.py")
    (tmp_path / "s.yaml").write_text(ASKS_RING)
    with pytest.raises(
        ScenarioError, match=r"is code, and nobody has allowed this class.*--protocol ring_protocol\.py:Ring"
    ):
        parse(ASKS_RING, str(tmp_path / "s.yaml"))
    assert "ring_protocol" not in sys.modules
    nothing_allowed.setenv(foreign_code._VARIABLE, "os:path\nring_protocol:Other")
    with pytest.raises(ScenarioError, match="nobody has allowed"):
        parse(ASKS_RING)


def test_a_class_that_was_named_is_played_like_any_other(tmp_path, nothing_allowed):
    run = lab.play(ASKS_RING, backend="sim", out=tmp_path, trace=True, protocols=[f"{RING}:Ring"])
    assert (run.verdict, run.reason) == ("valid", "")
    assert [row["last_hop"] for row in run.trace.payloads.to_pylist()] == [4, 4, 4]
    assert run.figures["rmr_mean"] == pytest.approx(1 / 4)  # it comes back to its origin
    assert (
        "--protocol" in run.summary.get("replay", "")
        or "--protocol" in json.loads((run.folder / "summary.json").read_text())["replay"]
    )


def test_the_command_takes_the_class_for_runs_sweeps_and_replays(tmp_path, nothing_allowed):
    (tmp_path / "s.yaml").write_text(ASKS_RING)
    environment = {**os.environ, foreign_code._VARIABLE: ""}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lab.cli", *words], cwd=tmp_path, env=environment, text=True, capture_output=True
        )

    refused = command("run", "s.yaml", "--backend", "sim")
    assert (refused.returncode, "nobody has allowed" in refused.stderr) == (2, True)
    named = ("--protocol", f"{RING}:Ring")
    swept = command("sweep", "s.yaml", "--seeds", "2", "--jobs", "1", *named)
    assert swept.returncode == 0, swept.stderr + swept.stdout
    assert command("run", "s.yaml", "--backend", "sim", "--no-figures", *named).returncode == 0
    assert "the same to the byte" in command("replay", "s/latest", *named).stdout
    assert "not found" not in command("report", "s/latest").stderr
    assert command("run", "s.yaml", "--backend", "sim", "--protocol", "gone.py:Ring").returncode != 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{pause: 3}", "a duration as 200ms"),
        ("{greet: 3}", "true or false"),
        ("{paus: 10ms}", "did you mean 'pause'"),
    ],
)
def test_options_are_checked_by_their_defaults(nothing_allowed, options: str, said: str):
    foreign_code.allow(f"{RING}:Ring")
    with pytest.raises(ScenarioError, match=said):
        parse(ASKS_RING.replace('Ring"}', f'Ring", options: {options}}}'))


def test_what_is_no_protocol_is_refused(nothing_allowed):
    foreign_code.allow("pathlib:Path")
    with pytest.raises(ScenarioError, match="is no protocol: the class has no method handle"):
        parse(ASKS_RING.replace("ring_protocol:Ring", "pathlib:Path"))


def test_protocols_have_no_containers_and_no_real_hosts():
    with pytest.raises(ScenarioError, match="no services: overlay swim has no containers"):
        parse(SWIM.replace("timeline:", "services: {web: {image: nginx, host: host1}}\ntimeline:"))
    (reason,) = [one for one in NetnsBackend().refuse(resolve(parse(SWIM))) if "protocol" in one]
    assert reason == "overlay: swim is a protocol for simulated hosts; use sim"
    with pytest.raises(ScenarioError, match="`publish` on overlay swim"):
        parse(SWIM + "  - publish: {from: host1}\n")

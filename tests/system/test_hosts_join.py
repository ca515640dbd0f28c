"""A host joins a standing lab of real packets and leaves it; the session replays on packets and in virtual time."""

import json
from pathlib import Path

import pytest
from standing_labs import ask, lab, standing

from lab.errors import LabError
from lab.records.history import Event, read
from lab.records.store import HISTORY, find_run


def test_a_host_joins_and_leaves(tmp_path: Path) -> None:
    with standing(tmp_path) as name:
        lab("add", "host", "d", "--name", name, cwd=tmp_path)
        assert [host["name"] for host in ask(name, "inspect")["hosts"]] == ["a", "b", "c", "d"]
        asked = ask(name, "step", step={"expect": {"converged": "all", "within": "60s"}})
        assert asked["event"]["ok"], asked
        for host, other in (("a", "d"), ("d", "b")):  # by name, in both directions
            done = lab("exec", "--name", name, host, "--", "ping", "-n", "-c1", "-W30", other, cwd=tmp_path)
            assert " 0% packet loss" in done.stdout
        peers = lab("exec", "--name", name, "d", "--", "weave", "status", cwd=tmp_path).stdout
        assert "Peers: 4" in peers, peers
        # It can be cut like any other.
        lab("partition", "d", "a,b,c", "--for", "200ms", "--name", name, cwd=tmp_path)
        for words, says in (
            ({"host": "d"}, "there is a host named d already; hosts: a, b, c, d"),
            ({"host": "e/f"}, "found 'e/f'"),
            ({"host": "e", "network": "wan"}, "found 'wan'"),
        ):
            with pytest.raises(LabError, match=says):
                ask(name, "add_host", **words)
        with pytest.raises(LabError, match="no host named dd; hosts: a, b, c, d; did you mean 'd'"):
            ask(name, "remove_host", host="dd")
        # It joins the hosts that no group of a partition in force names.
        lab("partition", "a", "b", "--name", name, cwd=tmp_path)
        lab("add", "host", "e", "--name", name, cwd=tmp_path)
        assert {other for one, other in ask(name, "inspect")["cut"] if one == "e"} == {"a", "b"}
        for other, wait, code in (("c", "30", 0), ("a", "1", 1)):
            lab("exec", "--name", name, "e", "--", "ping", "-n", "-c1", f"-W{wait}", other, cwd=tmp_path, code=code)
        lab("heal", "--name", name, cwd=tmp_path)
        lab("remove", "host", "d", "--name", name, cwd=tmp_path)
        with pytest.raises(LabError, match="d is switched off already; in force: kill host d"):
            ask(name, "remove_host", host="d")
        asked = ask(name, "step", step={"expect": {"converged": "all", "within": "60s"}})
        assert asked["event"]["ok"], asked
        run_dir = ask(name, "state")["run_dir"]
        lab("save", "saved.yaml", "--name", name, cwd=tmp_path)
        lab("down", "--name", name, cwd=tmp_path)
    summary = json.loads((Path(run_dir) / "summary.json").read_text())
    assert summary["verdict"] == "valid", summary
    text = (tmp_path / "saved.yaml").read_text()
    assert "launch: [a, b, c]" in text and "launch: [d]" in text
    (joined,) = [groups for what, groups in _groups(Path(run_dir)) if what == "add host e"]
    assert joined == (("a",), ("b",), ("c", "d", "e"))
    for backend in ("sim", "netns"):
        lab("run", "saved.yaml", "--backend", backend, "--no-figures", cwd=tmp_path)
        replayed = find_run("standing", tmp_path / "reports")
        assert ("partition a | b | c, d, e", joined) in _groups(replayed), "as if it had been there from the start"


def _groups(run_dir: Path) -> list[tuple[str, tuple[tuple[str, ...], ...]]]:
    """What the events say of who can reach each other."""
    events = [record for record in read(run_dir / HISTORY) if isinstance(record, Event)]
    return [(event.detail.get("label", ""), event.groups) for event in events if event.groups]

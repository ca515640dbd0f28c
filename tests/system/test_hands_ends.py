"""Hands and the ends of labs: `kill -9` of the command, of the supervisor and of the runner with a fault in force, and
hands on a run that is being played."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lab_processes import family, gone, of_a_lab
from netns_labs import ROOT, require_netns
from standing_labs import SCENARIO, ask, lab, standing
from waiting import PATIENCE, eventually

from lab.backends.netns import LabClient, find, labs
from lab.errors import LabError
from lab.fabric.mechanisms import SWITCH
from lab.records.history import Event, read


def started(*words: str, cwd: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    argv = [sys.executable, "-m", "lab.cli", *words]
    out = subprocess.PIPE
    return subprocess.Popen(
        argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, text=True
    )


RELAYED = "the lab's relay has ended by itself or was killed: a -> b, which it carried"


@pytest.mark.parametrize(
    ("victim", "why"),
    [("lab-super", "its runner or its supervisor was killed"), ("lab-runner", "was killed"), ("lab-relay", RELAYED)],
)
def test_kill_9_with_faults_in_force_leaves_nothing_but_the_run(
    victim: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "relay")
    with standing(tmp_path) as name:
        lab("link", "a", "b", "--delay", "5ms", "--name", name, cwd=tmp_path)
        lab("partition", "a", "b", "--name", name, cwd=tmp_path)
        lab("kill", "--host", "c", "--for", "1h", "--name", name, cwd=tmp_path)
        run_dir = ask(name, "state")["run_dir"]
        with LabClient(find(name)) as client:
            supervisor = client.supervisor()
        fields = Path(f"/proc/self/fdinfo/{supervisor}").read_text().split()
        pids = family(int(fields[fields.index("Pid:") + 1]))
        own = of_a_lab(pids)
        os.kill(next(pid for pid, comm in pids.items() if comm == victim), signal.SIGKILL)
        eventually(lambda: name not in [one.name for one in labs()])
        os.close(supervisor)
        gone(own)
    said = lab("runs", cwd=tmp_path).stdout
    assert "unknown" in said and "running" not in said
    told = " ".join(lab("status", "--name", name, cwd=tmp_path, code=2).stderr.split())
    assert f"what became of {name}: " in told and why in told, told
    assert f"save FILE --run {run_dir}" in told and f"--name {name}" in told, "what to do"
    lab("save", "saved.yaml", "--run", run_dir, cwd=tmp_path)
    text = (tmp_path / "saved.yaml").read_text()
    assert "partition" in text and "kill: {host: c}, for: 1h" in text
    lab("run", "saved.yaml", "--backend", "sim", "--no-figures", cwd=tmp_path, code=None)


def test_kill_9_of_the_command_leaves_its_step_whole(tmp_path: Path) -> None:
    with standing(tmp_path) as name:
        run_dir = Path(ask(name, "state")["run_dir"])
        for _ in range(3):
            with started("kill", "--host", "b", "--for", "100ms", "--name", name, cwd=tmp_path) as front:
                eventually(lambda front=front: front.poll() is not None or ask(name, "state")["faults"])
                front.kill()
            eventually(lambda: ask(name, "state")["faults"] == [])  # the lease ends it, although the command is gone
        done = ask(name, "step", step={"expect": {"reachable": "all", "within": "60s"}})
        assert done["event"]["ok"]

        def whole() -> bool:
            kills = [one for one in read(run_dir / "history.jsonl") if isinstance(one, Event) and one.what == "kill"]
            return bool(kills) and [one.phase for one in kills] == ["start", "end"] * (len(kills) // 2)

        eventually(whole)


def test_hands_on_a_run_that_is_played(tmp_path: Path) -> None:
    """The run waits for what only a hand makes true."""
    require_netns()
    waits = SCENARIO.replace(
        "{kill: a}",
        f"{{expect: {{unreachable: {{from: web-1, to: web-2}}, within: {PATIENCE:.0f}s}}}}, "
        f"{{expect: {{converged: all, within: {PATIENCE:.0f}s}}}}",
    )
    name = f"played-{os.getpid()}"
    (tmp_path / "played.yaml").write_text(waits.replace("name: standing", f"name: {name}"))
    run = started("run", "played.yaml", "--no-figures", cwd=tmp_path)

    def expecting() -> bool:
        try:
            return ask(name, "status")["containers"].keys() >= {"web-1", "web-2", "web-3"}
        except LabError:
            assert run.poll() is None, run.communicate()
            return False

    eventually(expecting)
    lab("partition", "a", "b,c", "--name", name, cwd=tmp_path)
    said = lab("status", "--name", name, cwd=tmp_path).stdout
    assert "partition a | b, c" in said and "somebody ends it" in said
    eventually(lambda: run.poll() is not None or _healed(name))
    out, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, out
    assert "partition a | b, c" in out and "heal all" in out and "valid" in out
    said = lab("save", "saved.yaml", "--run", name, cwd=tmp_path).stdout
    assert "3 steps by hand" in said
    lab("run", "saved.yaml", "--backend", "sim", "--no-figures", cwd=tmp_path)


def _healed(name: str) -> bool:
    """Heal once what is cut has been seen."""
    try:
        asked = ask(name, "step", step={"expect": {"unreachable": {"from": "web-1", "to": "web-2"}, "within": "60s"}})
        return bool(asked["event"]["ok"] and ask(name, "step", step={"heal": "all"})["event"]["ok"])
    except LabError:
        return True

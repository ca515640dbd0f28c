"""Labs of Docker-in-Docker hosts for system tests: the images once for all, labs held by the `lab` command."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiers import cannot_run

from lab.backends.dind.engine import choose
from lab.errors import LabError
from lab.images import store

LAB = (sys.executable, "-m", "lab.cli")
OWN = {**os.environ, "LAB_ENGINE": "own"}


def require_dind() -> None:
    """Skip where hosts cannot be containers (fail in CI), naming what is missing; build missing images."""
    if os.geteuid() != 0:
        pytest.skip("an engine of the lab's own needs root")
    try:
        choose(OWN)
        store.build(lambda text: print(text, file=sys.stderr))
    except LabError as error:
        cannot_run(str(error))


def lab(*words: str, code: int = 0, env: dict[str, str] = OWN, timeout: float = 600) -> str:
    """Run a `lab` command that must end so; what it wrote."""
    done = subprocess.run([*LAB, *words], capture_output=True, text=True, env=env, timeout=timeout, check=False)
    assert done.returncode == code, f"lab {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@contextlib.contextmanager
def up(file: Path, name: str) -> Iterator[str]:
    """A lab of this scenario for as long as the block lasts."""
    lab("up", str(file), "--backend", "dind", "--name", name)
    try:
        yield name
    finally:
        subprocess.run([*LAB, "down", "--name", name], capture_output=True, env=OWN, timeout=60, check=False)


def on(name: str, where: str, *command: str) -> str:
    """What a command on a host, or in the container of a service, writes; it must end with 0."""
    return lab("exec", "--name", name, where, "--", *command)


def supervisor(name: str) -> int:
    """The pid of a lab's PID 1, as the machine sees it."""
    from lab.backends.netns import LabClient, find

    with LabClient(find(name)) as client:
        _, pidfd = client.call_pidfd("supervisor")
    try:
        fields = Path(f"/proc/self/fdinfo/{pidfd}").read_text().split()
        return int(fields[fields.index("Pid:") + 1])
    finally:
        os.close(pidfd)


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found, queue = list[int](), [pid]
    while queue:
        for task in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            more = [int(one) for one in task.read_text().split()]
            found += more
            queue += more
    return found


def alive(pid: int) -> bool:
    """A process that is there and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def groups(name: str) -> list[Path]:
    """Control groups of this name that are there now, in any hierarchy."""
    root = Path("/sys/fs/cgroup")
    return [*root.glob(name), *root.glob(f"*/{name}")]


def summary(out: str) -> dict[str, object]:
    """The summary that `lab run --json` ends with."""
    found: dict[str, object] = json.loads(out.strip().splitlines()[-1])
    return found

"""The engine's API against a real `docker` command, which decides what is Docker's API and what only looks like it."""

import os
import pty
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import engine_host
import pytest
from engine_host import EngineHost
from tiers import cannot_run
from waiting import eventually

HTTP = "ksahnine/dummy-http"


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineHost]:
    if not shutil.which("docker"):
        pytest.skip("no docker command on this machine (install the package docker-cli or docker.io)")
    reason = engine_host.skip_reason(os.geteuid() != 0)
    if reason:
        cannot_run(f"no engine here: {reason}")
    with tempfile.TemporaryDirectory(prefix="engine-") as directory:
        Path(directory).chmod(0o755)
        made = EngineHost(Path(directory, "h"), user=os.geteuid() != 0)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def docker(engine: EngineHost) -> Iterator["Docker"]:
    command = Docker(engine)
    yield command
    for container in command("ps", "-aq").split():
        command("rm", "-f", container)


class Docker:
    """`docker(*arguments)` is what the command prints; `docker.result(…)` with exit code and errors."""

    def __init__(self, engine: EngineHost) -> None:
        self.prefix = ["docker", "-H", f"unix://{engine.socket}"]

    def result(self, *arguments: str, text: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [*self.prefix, *arguments], input=text, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *arguments: str) -> str:
        code, out, err = self.result(*arguments)
        assert code == 0, (arguments, err)
        return out

    def terminal(self, *arguments: str, typed: bytes = b"") -> tuple[int, str]:
        """The command on a terminal, with something typed into it once it shows a prompt or a line."""
        pid, master = pty.fork()
        if pid == 0:
            os.execvp("docker", [*self.prefix, *arguments])
        out = bytearray()
        try:
            while data := os.read(master, 4096):
                out += data
                if typed and data.rstrip():
                    os.write(master, typed)
                    typed = b""
        except OSError:
            pass  # the terminal's last user has gone
        os.close(master)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.decode()


def test_run_ps_inspect_remove(docker: Docker) -> None:
    made = docker("run", "-td", "-p", "8080:8080", "--name", "svc1", "--label", "a=b", HTTP, "svc1").strip()
    assert re.fullmatch("[0-9a-f]{64}", made)
    line = docker("ps", "--format", "{{.ID}} {{.Image}} {{.Command}} {{.Ports}} {{.Names}}").strip()
    assert line == f'{made[:12]} {HTTP} "dummy-http svc1" 0.0.0.0:8080->8080/tcp svc1'
    shown = docker("inspect", "-f", "{{.State.Status}} {{.NetworkSettings.IPAddress}} {{.Config.Labels.a}}", made[:6])
    assert shown == "running 172.17.0.2 b\n"
    assert docker("port", "svc1").strip() == "8080/tcp -> 0.0.0.0:8080"
    assert docker("ps", "-q", "--filter", "name=svc1", "--filter", "status=running").strip() == made[:12]
    assert docker("exec", "svc1", "curl", "-s", "localhost:8080").startswith("Hi! I'm [svc1] service")
    assert "dummy-http" in docker("top", "svc1")

    code, _, err = docker.result("run", "-d", "-p", "8080:8080", HTTP, "svc2")
    assert code == 125 and "port is already allocated" in err
    code, _, err = docker.result("run", "-d", "--name", "svc1", HTTP, "svc2")
    assert code == 125 and "Conflict" in err
    docker("stop", "-t", "1", "svc1")
    assert "Exited (143)" in docker("ps", "-a", "--filter", "name=svc1")
    docker("start", "svc1")
    docker("restart", "-t", "1", "svc1")
    docker("rename", "svc1", "svc9")
    docker("kill", "svc9")
    docker("rm", "svc9")


def test_foreground_streams_and_exit_codes(docker: Docker) -> None:
    code, out, err = docker.result("run", "--rm", "tutum/curl", "bash", "-c", "echo out; echo err >&2; exit 3")
    assert (code, out, err) == (3, "out\n", "err\n")
    assert docker.result("run", "-i", "--rm", "process", "tr", "a-z", "A-Z", text="hello\n") == (0, "HELLO\n", "")
    assert docker("ps", "-aq") == ""
    code, _, err = docker.result("run", "process", "no-such-program")
    assert code == 127 and "executable file not found in $PATH" in err
    code, _, err = docker.result("run", "no-such-image")
    assert code == 125 and "pull access denied" in err


def test_exec(docker: Docker) -> None:
    docker("run", "-d", "--name", "box", "process", "sleep", "1000")
    assert docker.result("exec", "-i", "box", "sh", "-c", "cat; echo e >&2; exit 4", text="in") == (4, "in", "e\n")
    assert docker("exec", "-e", "A=1", "-w", "/tmp", "box", "sh", "-c", "echo $A $PWD") == "1 /tmp\n"
    code, out, _ = docker.result("exec", "box", "no-such-program")
    assert code == 127 and "executable file not found" in out
    docker("exec", "-d", "box", "sleep", "77")
    eventually(lambda: "sleep 77" in docker("top", "box"))
    code, out = docker.terminal("exec", "-ti", "box", "sh", "-c", "tty; stty size; exit 5")
    assert code == 5 and "/dev/pts/" in out


def test_terminals_attach_and_detach(docker: Docker) -> None:
    code, out = docker.terminal(
        "run", "--rm", "-ti", "tutum/curl", "/bin/sh", "-c", "echo ready; read a; echo got $a; exit 6", typed=b"hey\n"
    )
    assert code == 6 and "got hey" in out
    docker(
        "run",
        "-dti",
        "--name",
        "shell",
        "tutum/curl",
        "/bin/sh",
        "-c",
        "echo first; while read a; do echo got $a; done",
    )
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("docker", [*docker.prefix, "attach", "shell"])
    os.write(master, b"one\n")
    seen = b""
    while b"got one" not in seen:
        seen += os.read(master, 4096)
    os.write(master, b"\x10\x11")  # ctrl-p, ctrl-q
    os.waitpid(pid, 0)
    assert b"read escape sequence" in os.read(master, 4096)
    os.close(master)
    assert docker("inspect", "-f", "{{.State.Running}}", "shell") == "true\n"
    assert "first" in docker("logs", "shell") and "got one" in docker("logs", "--tail", "1", "shell")


def test_logs_follow_and_wait(docker: Docker) -> None:
    docker("run", "-d", "--name", "slow", "process", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done; exit 2")
    assert docker("logs", "-f", "slow") == "1\n2\n3\n"
    assert docker("wait", "slow") == "2\n"
    assert docker("logs", "--tail", "2", "slow") == "2\n3\n"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z 1\n", docker("logs", "-t", "slow"))


def test_images_version_info_events(docker: Docker) -> None:
    assert f"{HTTP}:latest" in docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert docker("image", "inspect", "-f", "{{.Config.Cmd}}", "tutum/curl:latest") == "[/bin/bash]\n"
    assert "up to date" in docker("pull", "tutum/curl")
    assert docker("version", "-f", "{{.Server.APIVersion}}") == "1.41\n"
    assert docker("info", "-f", "{{.Driver}}") == "process\n"
    docker("run", "--rm", "--name", "brief", "process", "true")
    now = docker("run", "--rm", "process", "date", "+%s").strip()
    seen = docker(
        "events",
        "--since",
        "0.5",
        "--until",
        str(int(now) + 1),
        "--filter",
        "container=brief",
        "--format",
        "{{.Action}}",
    )
    assert [action for action in seen.split() if action != "attach"][:2] == ["create", "start"]


def test_files_and_networks_of_one_container(docker: Docker) -> None:
    hosts = docker(
        "run",
        "--rm",
        "-h",
        "svc",
        "--add-host",
        "a:192.0.2.1",
        "--dns",
        "192.0.2.2",
        "process",
        "cat",
        "/etc/hosts",
        "/etc/resolv.conf",
    )
    assert "192.0.2.1\ta\n" in hosts and "nameserver 192.0.2.2\n" in hosts
    assert docker("run", "--rm", "--net", "none", "process", "ls", "/sys/class/net") == "lo\n"
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        Path(directory, "f").write_text("bound\n")
        arguments = ("-v", f"{directory}:/mnt:ro", "process", "sh", "-c", "cat /mnt/f; touch /mnt/g")
        code, out, err = docker.result("run", "--rm", *arguments)
        assert (code, out) == (1, "bound\n") and "Read-only" in err

"""Whoever interrupts a lab does not wait for Vagrant: its command is killed, and the lab goes on with its own end."""

import asyncio
import os
from pathlib import Path

import pytest

from lab.backends.vagrant import machines
from lab.errors import LabError


def test_the_command_of_a_cancelled_call_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "vagrant"
    os.mkfifo(tmp_path / "started")
    fake.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/started\nexec sleep 1000\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machines, "DIRECTORY", tmp_path)

    async def run() -> int:
        lab = machines.VagrantMachines()
        lab._vagrant = machines.Vagrant(os.environ)
        call = asyncio.ensure_future(lab.halt("h1"))
        pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return pid

    pid = asyncio.run(run())  # returns: the loop waits for the thread, which waits for the command
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_failed_command_shows_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "vagrant"
    fake.write_text("#!/bin/sh\necho 'the box is gone' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machines, "DIRECTORY", tmp_path)
    lab = machines.VagrantMachines()
    lab._vagrant = machines.Vagrant(os.environ)
    with pytest.raises(LabError, match="vagrant halt h1 failed:\nthe box is gone"):
        asyncio.run(lab.halt("h1"))

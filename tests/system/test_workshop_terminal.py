"""A class on a terminal, with the mistakes that learners make: the class goes on each time, and nothing is left."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from class_terminal import ClassTerminal
from netns_labs import require_netns
from tiers import cannot_run

from lab.backends.netns import labs

PAGE = """\
## 1. First

Some prose.

```console
orion.local:~$ sudo weave launch
orion.local:~$ touch /tmp/made && echo one
one
```

## 2. Inside

```console
orion.local:~$ cat /tmp/made && echo two
two
orion.local:~$ docker run --rm -ti tutum/curl /bin/bash
# echo three
three
# exit
```
"""


class Class(ClassTerminal):
    def name(self) -> str:
        return f"workshop-{self.pid}"

    def runs(self) -> bool:
        return any(lab.name == self.name() for lab in labs())


@pytest.fixture
def page(tmp_path: Path) -> Path:
    require_netns()
    if not shutil.which("docker"):
        cannot_run("no docker command on this machine (install the package docker.io)")
    file = tmp_path / "a page.md"
    file.write_text(PAGE)
    return file


@pytest.fixture
def hold(page: Path, tmp_path: Path) -> Iterator["Holder"]:
    holder = Holder(page, tmp_path)
    yield holder
    for one in holder.classes:
        one.close()


class Holder:
    def __init__(self, page: Path, home: Path) -> None:
        self.page, self.home = page, home
        self.classes: list[Class] = []

    def __call__(self, *options: str) -> Class:
        environment = {"XDG_STATE_HOME": str(self.home / "state"), "TERM": "dumb"}
        made = Class([str(self.page), "--backend", "netns", *options], environment)
        self.classes.append(made)
        return made


def _lab(*arguments: str) -> str:
    command = [sys.executable, "-m", "lab.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def test_a_learner_s_mistakes_do_not_end_the_class(hold: Holder) -> None:
    it = hold()
    it.until("step 1 of 2: type on orion.local:  sudo weave launch")
    it.until("orion.local:~$ ")
    it.press(b"half a li")
    it.until("half a li")
    it.drop_line()
    it.type("waeve launch")
    it.until("not yet: the step is `sudo weave launch`")
    it.type("hint")
    it.until("no command `waeve`; did you mean `weave`?")
    it.type("echo begun; sleep 1000")
    _until_runs(it, "sleep 1000")
    it.press(b"\x03")  # ^C in a command ends that command
    it.until("not yet")
    assert it.runs()
    it.type("")
    it.until("✓")
    it.until("step 2 of 2")
    # Other terminals reach a workshop's lab.
    assert "macbook.local" in _lab("inspect", "--name", it.name())
    assert "hello" in _lab("exec", "--name", it.name(), "orion.local", "--", "echo", "hello")
    it.type("skip")
    it.until("skipped: `touch /tmp/made && echo one`")

    it.until("2. Inside   (2 of 2)")
    it.type("")
    it.until("No such file")  # what was skipped is missed
    it.type("echo two")
    it.until("✓")
    it.type("")
    it.until("✓")
    it.until("type on the container:  echo three")
    it.type("echo in; sleep 1000")
    _until_runs(it, "sleep 1000")
    it.press(b"\x03")  # ^C in an attached container
    it.until("not yet")
    it.type("exit")  # too early
    it.until("not yet")
    it.type("echo three")
    it.until("no shell of the container is open any more")
    it.type("")
    it.type("echo three")
    it.until("✓")
    it.type("exit")
    it.until("✓")
    it.until("5 commands did what they should, 1 skipped")
    assert it.end() == 0
    assert not it.runs()


def test_a_closed_window_ends_the_hosts_and_the_class_goes_on_where_it_was(hold: Holder) -> None:
    it = hold()
    it.until("step 1 of 2")
    it.type("")
    it.until("step 2 of 2")
    it.hang_up()
    assert it.wait() == 3
    assert not it.runs()

    it = hold("--resume")
    it.until("getting ready: part 1, First")
    it.until("step 2 of 2")
    it.type("")
    it.until("✓")
    it.until("step 1 of 4")
    it.type("exit")
    it.until("goes on at part 2, step 1")
    assert it.end() == 3
    assert not it.runs()


def test_a_part_alone_finds_what_the_parts_before_leave_and_speaks_french(hold: Holder) -> None:
    it = hold("--part", "2", "--language", "fr")
    it.until("préparation : partie 1, First")
    it.until("étape 1 sur 4 : tapez sur orion.local")
    it.type("")
    it.until("✓")
    it.type("passer")
    it.until("tapez sur le conteneur")
    it.until("# ")  # before, the key would be taken away with the terminal's old mode
    it.press(b"\x04")
    assert it.end() == 3


def test_a_check_that_fails_is_invalid_and_one_that_is_interrupted_unknown(hold: Holder) -> None:
    hold.page.write_text(PAGE.replace("\none\n", "\neleven\n"))
    it = hold("--check")
    it.until("`eleven` is not in its output")
    assert it.end() == 1
    hold.page.write_text(PAGE.replace("&& echo one", "; sleep 1000"))
    it = hold("--check")
    it.until("sleep 1000")
    it.press(b"\x03")
    it.until("interrupted")
    assert it.end() == 3
    assert not it.runs()


def _until_runs(it: Class, line: str) -> None:
    """Wait until a command runs in the class's lab, as another terminal sees it."""
    words = f"until ps axo args | grep -qx '{line}'; do :; done"
    _lab("exec", "--name", it.name(), "orion.local", "--", "sh", "-c", words)

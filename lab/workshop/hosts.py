"""The two hosts of a class, and the page: the prerequisites of a class.

Owns the process that holds the hosts (`hosts_process.py`): starts and ends it, protected from the terminal's ^C.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError
from lab.workshop import hosts_process as hold
from lab.workshop.text import CoursePart, parse

__all__ = ["page", "read", "two_hosts"]


def page(language: str) -> Path:
    """The walk-through in a language. Raises `LabError` if this installation has no documentation."""
    name = "walkthrough.md" if language == "en" else f"walkthrough.{language}.md"
    here = Path(__file__).resolve()
    for path in (here.with_name(name), here.parents[2] / "docs" / name):  # in a wheel, in a checkout
        if path.exists():
            return path
    raise LabError(f"this installation has no {name}: give the path of the walk-through, `lab workshop FILE`")


def read(file: Path, numbers: tuple[int, ...] = ()) -> tuple[CoursePart, ...]:
    """The parts of a page. Raises `LabError` for a page that cannot be typed, or that lacks these numbers."""
    try:
        parts = parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LabError(f"{file} is not UTF-8 text: byte {error.start} cannot be read") from None
    have = [part.number for part in parts]
    for number in numbers:
        if number not in have:
            raise LabError(f"{file} has no part {number}, only {', '.join(map(str, have))}")
    return parts


@contextlib.contextmanager
def two_hosts(backend: str) -> Iterator[str]:
    """Keep two hosts up within the block; yields the lab's name. Raises `LabError` that says what is missing."""
    name = f"workshop-{os.getpid()}"
    command = [sys.executable, "-m", "lab.workshop.hosts_process", backend, name, str(os.getpid())]
    # In its own session: ^C on the terminal is for the learner's command, not for the hosts. They still end with this
    # process, however it ends.
    holder = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert holder.stdout is not None and holder.stderr is not None
    try:
        if holder.stdout.readline().strip() != hold.UP:
            _, complaint = holder.communicate()
            raise LabError(complaint.strip() or f"the hosts did not come up (exit code {holder.returncode})")
        yield name
    finally:
        holder.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            holder.communicate(timeout=30)
        if holder.returncode is None:
            holder.kill()
            holder.communicate()

"""`lab init` and `lab scenarios`: commands for a user who has no scenario yet.

Owns the file that `init` writes and its explanation; `lab.scenario.packaged` owns the scenarios.
"""

import json
import shlex
from pathlib import Path

import click

from lab.cli import table
from lab.cli.command import lab_command
from lab.errors import LabError
from lab.scenario import packaged
from lab.scenario.load import question, text_of

_FIRST = "first"


def write_first(folder: Path) -> None:
    """Write the first scenario into a folder, and print what it does and what to type next."""
    source = packaged.names().get(_FIRST)
    if source is None:
        raise LabError("this installation has no packaged scenarios: install overlay-lab again")
    path = folder / source.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _create(path, source.read_bytes())
    except FileExistsError:
        if path.is_symlink() or path.exists():
            raise LabError(f"{path} exists and stays as it is: name another folder, `lab init FOLDER`") from None
        raise LabError(f"{folder} is a file, expected a folder: name another one, `lab init FOLDER`") from None
    except NotADirectoryError:
        raise LabError(f"{folder} lies below a file, expected a folder: name another one, `lab init FOLDER`") from None
    lab, file = lab_command(), shlex.quote(str(path))
    width = len(f"{lab} run {file} --backend sim") + 3
    click.echo(f"{path}: two hosts, an overlay network between them, a web server on each host. The network between")
    click.echo("the hosts is cut for 5 seconds; the scenario expects that everything works again afterwards.")
    click.echo()
    for words, does in (
        (f"run {file} --backend sim", "plays it in virtual time, in a second"),
        (f"run {file}", "plays it with real packets, in network namespaces"),
        (f"validate {file}", "says what is wrong with it after you changed it"),
        (f"up {file}", "leaves its hosts running: look around with `shell alpha`, end them with `down`"),
    ):
        click.echo(f"  {f'{lab} {words}':{width}}{does}")


def list_scenarios(*, as_json: bool) -> None:
    """Print the packaged scenarios, each with its question."""
    found = [(name, question(text_of(path)), str(path)) for name, path in packaged.names().items()]
    if as_json:
        click.echo(json.dumps([{"name": name, "question": asks, "file": file} for name, asks, file in found]))
        return
    table.show(("scenario", "question"), [[name, asks] for name, asks, _ in found])


def _create(path: Path, content: bytes) -> None:
    """Write a new file; raises `FileExistsError` if it exists."""
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink()
            raise

"""Manual steps in a running lab, from another terminal: a verb carried out immediately, `lab undo`, `lab status`.

Owns the author's name, and the output. The lab itself validates steps and reports its state.
"""

import getpass
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli import table, terminal
from lab.cli.ended import find_running
from lab.words import count, few, sample_line, span, step_number
from overlay.clean import clean_json, clean_tree

if TYPE_CHECKING:
    from lab.cli.verbs import VerbCommand

__all__ = ["change_hosts", "do", "status", "undo", "whoami", "with_files"]

_INVALID, _REFUSED = 1, 2
_TOLD = 20
"""Most hosts that are named in one line."""


def whoami() -> str:
    """The user and the terminal, as recorded in the history for manual steps."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.geteuid()}"
    for stream in (0, 1, 2):
        with suppress(OSError):
            return f"{user} ({os.ttyname(stream).removeprefix('/dev/')})"
    return user


def do(context: click.Context, command: "VerbCommand") -> None:
    """Carry out a verb in a running lab; exits with 1 if a question's answer is no, with 2 if it could
    not be done."""
    step = with_files(command.step(context.params))
    answer = _asked(context.params["name"], "step", step=step, by=whoami())
    event = answer["event"]
    if context.params["as_json"]:
        click.echo(clean_json(json.dumps(answer)))
    else:
        answer = clean_tree(answer)
        _tell(answer["index"], answer["event"], step.get("for") if command.verb.lasts else None)
        for move in answer.get("meanwhile") or ():
            click.echo(f"meanwhile: {move['by']} did `{move['label']}` ({step_number(move['index'])})")
    if not event["ok"]:
        context.exit(_INVALID if command.verb.asks else _REFUSED)


def with_files(step: dict[str, Any]) -> dict[str, Any]:
    """The step with the contents of the files that it names, which are read here and not where the lab runs."""
    from lab.scenario.base import frozen
    from lab.scenario.link_files import with_link_files

    for body in step.values():
        if isinstance(body, dict) and isinstance(file := body.get("file"), str):
            body["file"] = str(Path(file).absolute())
    plain, problems = with_link_files({"timeline": (frozen(step),)}, Path.cwd())
    if problems:
        raise click.UsageError("\n".join(problem.said for problem in problems))
    return dict(plain["timeline"][0])


def undo(name: str, step: int | None, *, as_json: bool) -> None:
    """Undo the last move, or end the fault of a step."""
    index = None if step is None else step - 1
    answer = _asked(name, "undo", by=whoami(), **({} if index is None else {"index": index}))
    if as_json:
        click.echo(clean_json(json.dumps(answer)))
        return
    answer = clean_tree(answer)
    event = answer["event"]
    own = event["step"] == answer["index"]
    label = f"undone: {event['detail']['label']}" if own else f"done to undo it: {event['detail']['label']}"
    _tell(answer["index"], {**event, "detail": {**event["detail"], "label": label}}, None)
    for move in answer.get("kept") or ():
        click.echo(f"not undone: {move['label']} ({step_number(move['index'])}) is later, and undo cannot take it back")
    if not event["ok"]:
        raise SystemExit(_REFUSED)


def change_hosts(name: str, do: str, host: str, network: str | None, *, as_json: bool) -> None:
    """Add or remove a host."""
    answer = _asked(name, do, host=host, by=whoami(), **({"network": network} if network else {}))
    if as_json:
        click.echo(clean_json(json.dumps(answer)))
        return
    answer = clean_tree(answer)
    if "address" in answer:
        click.echo(f"{answer['host']} is up at {answer['address']}")
    for step in answer["steps"]:
        _tell(step["index"], step["event"], None)


def status(name: str, *, as_json: bool) -> None:
    """Print what is in force in a lab."""
    from lab.backends.netns import LabClient

    with LabClient(find_running(name)) as client:
        facts = client.call("state", scenario=as_json)  # in a large lab a person does not wait for what is not shown
        facts |= {key: value for key, value in client.call("inspect", each=as_json).items() if key not in facts}
    if as_json:
        click.echo(clean_json(json.dumps(facts)))
        return
    facts = clean_tree(facts)
    off = f" ({few(facts['off'], most=_TOLD)} switched off)" if facts["off"] else ""
    hosts = count(facts["count"], "host") + off
    up = span(facts["now"])
    click.echo(f"{facts['lab']}: {facts['scenario']['name']} on {facts['backend']}, {hosts}, up {up}")
    if facts["run_dir"]:
        click.echo(f"its run is written to {facts['run_dir']}")
    if not facts["faults"]:
        click.echo("nothing is in force")
        return
    rows = []
    for fault in facts["faults"]:
        since = f"{span(max(facts['now'] - fault['since'], 0))} ago"
        until = "somebody ends it" if fault["until"] is None else f"in {span(max(fault['until'] - facts['now'], 0))}"
        rows.append([str(fault["step"] + 1), fault["label"], fault["by"] or "the scenario", since, until])
    table.show(("step", "in force", "by", "since", "until"), rows, right=("step",))


def _asked(name: str, do: str, **arguments: Any) -> dict[str, Any]:
    from lab.backends.netns import LabClient

    with LabClient(find_running(name)) as client:
        return client.call(do, **arguments)


def _tell(index: int, event: dict[str, Any], lease: str | None) -> None:
    detail = event["detail"]
    note = f"ends by itself after {lease}" if lease else ""
    if "took" in detail and not lease:
        note = span(detail["took"])
    _say(event["ok"], detail.get("label") or event["what"], index, note)
    if not event["ok"]:
        for line in str(detail.get("error") or "").splitlines():
            click.echo(f"  {line}", err=True)
        for sample in detail.get("samples") or ():
            click.echo(f"  {sample_line(sample)}")


def _say(ok: bool, label: str, index: int, note: str) -> None:
    mark, colour = ("✓", "green") if ok else ("✗", "red")
    if terminal.live():
        mark = click.style(mark, fg=colour)
    click.echo(f"{mark} {label}  ({step_number(index)}{', ' + note if note else ''})")

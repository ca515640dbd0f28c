"""`lab up`, `down`, `inspect`, `exec`, `shell`: standing labs, reached by name from any terminal."""

import asyncio
import json
import os
import shlex
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lab.cli import interrupts, table
from lab.cli.captures import requests_for
from lab.cli.command import lab_command
from lab.cli.ended import find_running, forget, remember
from lab.cli.ending import USAGE
from lab.cli.play import answering, begun, inside, prepare, report_on, settle, shown, staying
from lab.cli.progress import ProgressPrinter
from lab.cli.runs import refresh
from lab.cli.saving import keep_scenario, scenario_text
from lab.contracts.lab import Virtual
from lab.errors import LabError
from lab.records.bounded import BoundedHistory
from lab.records.store import EXIT_CODES, HISTORY, SUMMARY, new_run, open_history, write_summary
from lab.runner.hands import Hands
from lab.runner.open_timeline import OpenTimeline
from lab.runner.runner import Runner
from lab.scenario.load import Scenario
from lab.scenario.resolve import Resolved
from lab.scenario.steps import Step
from lab.words import natural
from overlay import __version__
from overlay.clean import LINES, clean, clean_json, clean_tree

if TYPE_CHECKING:
    from lab.backends.netns import LabName

SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash -i || exec sh -i")


def first_steps(scenario: Resolved | Scenario) -> tuple[Step, ...]:
    """The steps before the first change or fault that bring the lab up, without their times."""
    steps = []
    for step in scenario.timeline:
        if not step.kind.setup:
            break
        if step.kind.setup != "watch":
            steps.append(step.model_copy(update={"at": None}))
    return tuple(steps)


def bring_up(
    path: Path,
    *,
    backend: str,
    seed: int | None,
    pace: int | None,
    name: str,
    out: Path,
    captures: Sequence[str] = (),
) -> int:
    """Bring a lab up and leave it running; returns the exit code of its first steps."""
    prepared = prepare(path, backend, seed, pace)
    if prepared is None:
        return USAGE
    model, scenario, chosen, text = prepared
    if isinstance(chosen, Virtual):
        raise LabError(
            f"a lab on {backend} lives in virtual time and cannot stay: `lab run` plays it; "
            "`lab up` takes netns, dind or vagrant"
        )
    captured = requests_for(prepared, captures)
    if captured is None:
        return USAGE
    name = name or scenario.name
    run_dir = new_run(scenario.name, out.absolute())
    teller = ProgressPrinter()
    teller.head(scenario, backend)
    blank = begun(path, chosen, scenario, run_dir)

    def work() -> int:
        timeline = OpenTimeline(model, scenario, chosen, first_steps(model))
        keep_scenario(run_dir, scenario_text(text, scenario.name, path.parent, timeline.plain_first()))
        with open_history(run_dir) as file:
            hands = Hands(timeline, stands=True, run_dir=run_dir)

            async def steps() -> AsyncIterator[Step]:
                from lab.backends.netns import ready

                for step in timeline.first:
                    yield step
                hands.open()
                ready()
                await asyncio.Event().wait()

            runner = Runner(
                timeline.resolved,
                chosen,
                BoundedHistory(file, run_dir / HISTORY),
                version=__version__,
                report=teller.progress,
                beside=answering(scenario, hands),
                hands=hands,
                run_dir=run_dir,
                captures=captured,
            )
            outcome = interrupts.run(asyncio.run, lambda: runner.run(timeline=steps()))
        timeline.conclude(run_dir)
        settle(run_dir, blank, outcome)
        if outcome.reason:
            click.echo(f"lab: {clean(outcome.reason, keep=LINES)}", err=True)
        return EXIT_CODES[outcome.verdict]

    try:
        code = inside(chosen, work, name=name, detach=True)
    except LabError as error:
        write_summary(run_dir, msgspec.structs.replace(blank, reason=str(error)))
        raise
    finally:
        refresh(out.absolute())
    if code == 0:
        remember(name, run_dir, path)
        click.echo(f"the lab is up: {staying(name)}")
        lab = lab_command()
        click.echo(f"by hand:       {lab} partition A B --for 10s, {lab} status, {lab} undo, {lab} save FILE")
        click.echo(f"its run is written to {shown(run_dir)}")
    return code


def take_down(name: str) -> None:
    """End a lab; returns when it is gone and its files are complete."""
    from lab.backends.netns import LabClient

    lab = find_running(name)
    run_dir = _run_of(lab) if lab.uid == os.geteuid() else None
    with LabClient(lab) as client:
        asked = client.down()
    forget(lab.name)
    click.echo(f"{lab.name} is down" + ("" if asked else ": it did not end by itself, so it was killed"))
    if run_dir is not None and (run_dir / SUMMARY).is_file():
        report_on(run_dir, lambda what: None, figures=False)
        refresh(run_dir.parent.parent)
        click.echo(f"draw:   {lab_command()} report {shlex.quote(str(shown(run_dir)))}")


def _run_of(lab: "LabName") -> Path | None:
    """The run directory of a standing lab; None if another command owns it, or the lab does not answer."""
    from lab.backends.netns import LabClient

    try:
        with LabClient(lab) as client:
            state = client.call("state")
        return Path(state["run_dir"]) if state["stands"] else None
    except (LabError, KeyError, TypeError):
        return None


def show(name: str, *, as_json: bool) -> None:
    """Print the state of a lab."""
    from lab.backends.netns import LabClient

    with LabClient(find_running(name)) as client:
        facts: dict[str, Any] = client.call("inspect") | client.call("status")
    if as_json:
        click.echo(clean_json(json.dumps(facts)))
        return
    facts = clean_tree(facts)
    rows = []
    for host in facts["hosts"]:
        peer = facts["peers"].get(host["name"], {})
        here = [
            f"{replica} {container['address']}".strip()
            for replica, container in facts["containers"].items()
            if container["host"] == host["name"]
        ]
        rows.append(
            [
                host["name"],
                host["address"],
                "up" if host["on"] else "down",
                peer.get("peer", ""),
                "\n".join(peer.get("connections", [])),
                "\n".join(here),
            ]
        )
    click.echo(f"{facts['lab']}: {facts['scenario']} on {facts['backend']}, up {facts['up_seconds']:.0f} s")
    table.show(("host", "address", "state", "peer", "connections", "containers"), rows)
    if facts["cut"]:
        click.echo("cut: " + ", ".join(f"{sender} -> {receiver}" for sender, receiver in facts["cut"]))
    for senders, receivers in facts.get("cut_classes") or ():
        click.echo(f"cut: {_few(senders)} -> {_few(receivers)}")


def _few(names: Sequence[str]) -> str:
    """The first and the last of many names."""
    ordered = sorted(names, key=natural)
    return ", ".join(ordered) if len(ordered) <= 3 else f"{ordered[0]} … {ordered[-1]} ({len(ordered):,})"


def enter(where: str, command: Sequence[str], name: str) -> int:
    """Run a command on a host, or in the (first) container of a service, on this terminal; returns its exit code."""
    from lab.backends.netns import LabClient, enter_host

    lab = find_running(name)
    with LabClient(lab) as client:
        hosts = [host["name"] for host in client.call("inspect")["hosts"]]
        containers = client.call("status")["containers"]
    if where in hosts:
        return enter_host(list(command), host=where, lab=lab.name)
    for replica, container in containers.items():
        if where in (replica, container["service"]):
            inside = container.get("container", replica)
            return enter_host(list(command), host=container["host"], lab=lab.name, container=inside)
    raise LabError(
        f"no host or service named {where}; hosts: {', '.join(hosts)}; "
        f"containers: {', '.join(sorted(containers, key=natural))}"
    )

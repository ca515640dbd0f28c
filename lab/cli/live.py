"""`lab up`, `down`, `inspect`, `exec`, `shell`: labs that stay, reached by name from any terminal."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lab.cli import interrupts, table
from lab.cli.ending import USAGE
from lab.cli.play import answering, inside, prepare, staying
from lab.cli.progress import ProgressPrinter
from lab.contracts.lab import Virtual
from lab.errors import LabError
from lab.records.history import Writer
from lab.records.store import EXIT_CODES
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.resolve import Resolved
from lab.scenario.steps import Step
from lab.words import natural
from overlay import __version__
from overlay.clean import LINES, clean, clean_json, clean_tree

SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash -i || exec sh -i")


def first_steps(scenario: Resolved) -> tuple[Step, ...]:
    """The steps that bring something up before anything is changed or broken, without their times."""
    steps = []
    for step in scenario.timeline:
        if not step.kind.setup:
            break
        if step.kind.setup != "watch":
            steps.append(step.model_copy(update={"at": None}))
    return tuple(steps)


def bring_up(path: Path, *, backend: str, seed: int | None, pace: int | None, name: str) -> int:
    """Bring a lab up and leave it running; the exit code of its first steps."""
    prepared = prepare(path, backend, seed, pace)
    if prepared is None:
        return USAGE
    scenario, chosen = prepared
    if isinstance(chosen, Virtual):
        raise LabError(
            f"a lab on {backend} lives in virtual time and cannot stay: `lab run` plays it; "
            "`lab up` takes netns, dind or vagrant"
        )
    name = name or scenario.name
    teller = ProgressPrinter()
    teller.head(scenario, backend)

    def work() -> int:
        async def stay(outcome: RunOutcome) -> None:
            from lab.backends.netns import ready

            if outcome.verdict == "valid":
                ready()
                await asyncio.Event().wait()

        with open(os.devnull, "wb") as nowhere:
            runner = Runner(
                scenario,
                chosen,
                Writer(nowhere),
                version=__version__,
                report=teller.progress,
                beside=answering(chosen, scenario),
                keep=stay,
            )
            outcome = interrupts.run(asyncio.run, lambda: runner.run(timeline=first_steps(scenario)))
        if outcome.reason:
            click.echo(f"lab: {clean(outcome.reason, keep=LINES)}", err=True)
        return EXIT_CODES[outcome.verdict]

    code = inside(chosen, work, name=name, detach=True)
    if code == 0:
        click.echo(f"the lab is up: {staying(name)}")
    return code


def take_down(name: str) -> None:
    """End a lab; returns when it is gone."""
    from lab.backends.netns import LabClient, find

    lab = find(name)
    with LabClient(lab) as client:
        asked = client.down()
    click.echo(f"{lab.name} is down" + ("" if asked else ": it did not end by itself, so it was killed"))


def show(name: str, *, as_json: bool) -> None:
    """Print what a lab says of itself."""
    from lab.backends.netns import LabClient, find

    with LabClient(find(name)) as client:
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


def enter(where: str, command: Sequence[str], name: str) -> int:
    """Run a command on a host, or in the (first) container of a service, on this terminal; its exit code."""
    from lab.backends.netns import LabClient, enter_host, find

    lab = find(name)
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

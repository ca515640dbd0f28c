"""`lab down`, `inspect`, `exec`, `shell`: a standing lab, reached by name from any terminal.

People wait for these commands, so this module imports little, and asks a lab for all of its hosts only to show them.
"""

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli import table
from lab.cli.command import lab_command
from lab.cli.ended import find_running, forget
from lab.errors import LabError
from lab.records.store import SUMMARY
from lab.words import MOST_TOLD, few
from overlay.clean import clean_json, clean_tree

if TYPE_CHECKING:
    from lab.backends.netns import LabClient, LabName

__all__ = ["SHELL", "enter", "show", "take_down"]

SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash -i || exec sh -i")


def take_down(name: str) -> None:
    """End a lab; returns when it is gone and its files are complete."""
    from lab.backends.netns import LabClient

    lab = find_running(name)
    run_dir = _run_of(lab) if lab.uid == os.geteuid() else None
    with LabClient(lab) as client:
        asked = client.down(lambda: _prepare_report(run_dir))
    forget(lab.name)
    click.echo(f"{lab.name} is down" + ("" if asked else ": it did not end by itself, so it was killed"))
    if run_dir is not None and (run_dir / SUMMARY).is_file():
        from lab.cli.play import report_on, shown
        from lab.cli.runs import refresh

        report_on(run_dir, lambda what: None, figures=False)
        refresh(run_dir.parent.parent)
        click.echo(f"draw:   {lab_command()} report {shlex.quote(str(shown(run_dir)))}")


def _prepare_report(run_dir: Path | None) -> None:
    """Import what the report of a run takes, which is half a second of work."""
    if run_dir is not None:
        import lab.checkers
        import lab.cli.play
        import lab.report.write  # noqa: F401


def _run_of(lab: "LabName") -> Path | None:
    """The run directory of a standing lab; None if another command owns it, or the lab does not answer."""
    from lab.backends.netns import LabClient

    try:
        with LabClient(lab) as client:
            state = client.call("state", scenario=False)
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
        click.echo(f"cut: {few(senders)} -> {few(receivers)}")


def enter(where: str, command: Sequence[str], name: str) -> int:
    """Run a command on a host, or in the (first) container of a service, on this terminal; returns its exit code."""
    from lab.backends.netns import LabClient, enter_host

    lab = find_running(name)
    with LabClient(lab) as client:
        host, container = _place(client, where)
    return enter_host(list(command), host=host, lab=lab.name, container=container)


def _place(client: "LabClient", where: str) -> tuple[str, str]:
    """The host, and the container in it or "". Does not ask for all hosts unless there is no such place."""
    if client.call("known", host=where)["known"]:
        return where, ""
    containers = client.call("status", peers=False)["containers"]
    for replica, container in containers.items():
        if where in (replica, container["service"]):
            return container["host"], container.get("container", replica)
    hosts = [host["name"] for host in client.call("inspect")["hosts"]]
    raise LabError(
        f"no host or service named {where}; hosts: {few(hosts, most=MOST_TOLD)}; "
        f"containers: {few(containers, most=MOST_TOLD)}"
    )

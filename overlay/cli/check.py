"""`weave check`: collects the facts, runs the checks, prints the table or JSON. Changes nothing.

Also works without a router, and says so. Exit code 0: no problems, 1: problems, 2: usage error.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from overlay import __version__
from overlay.check import Facts, Level, judge
from overlay.check.table import as_json, text
from overlay.clean import clean_tree
from overlay.cli.client import DaemonClient, NotRunning, RequestRefused
from overlay.cli.environment import CommandEnvironment
from overlay.cli.words import Usage, nearest

__all__ = ["HELP", "check"]

HELP = """\
Usage: weave check [--json]

Looks at everything that goes wrong on real hosts and says what is wrong and what to type: router, proxy and plugin,
the engine, the kernel, settings, the packet filter, routes, peers and the ports to them, packet sizes, clocks, the
bridge, addresses, DNS, policy, the disk. Changes nothing; as root it sees all, with the router down what it can.
Exit code 0: nothing is wrong, 1: something is. docs/troubleshooting.md goes by symptom."""

PATIENCE = 8.0
"""Seconds for the router to answer."""


async def check(words: Sequence[str], here: CommandEnvironment) -> tuple[str, int]:
    """The text to print, and the exit code. Raises `Usage`."""
    rest = [word for word in words if word not in ("--json", "-json")]
    if rest:
        raise Usage(f"check has no `{rest[0]}`{nearest(rest[0], ('--json',)) or ', only --json'}")
    findings = judge(await _facts(here))
    code = 1 if any(found.level is Level.WRONG for found in findings) else 0
    return (json.dumps(as_json(findings), indent=2) if len(words) > len(rest) else text(findings)), code


async def _facts(here: CommandEnvironment) -> Facts:
    client = here.client
    client.timeout = PATIENCE
    report: Mapping[str, Any] | None = None
    told: Mapping[str, Any] = {}
    attached: Sequence[Mapping[str, Any]] = ()
    problem = ""
    try:
        report, told, attached = [clean_tree(await client.get_json(path)) for path in ("/report", "/options", "/ps")]
    except NotRunning:
        pass
    except RequestRefused as error:
        report, problem = None, str(error)
    options = told.get("options", {}) if report is not None else {}
    return Facts(
        program=__version__,
        report=report,
        problem=problem,
        options=options,
        version=str(told.get("version", "")),
        clocks=await _clocks(client) if report is not None else None,
        host=here.look(report, options, attached),
    )


async def _clocks(client: DaemonClient) -> Sequence[Mapping[str, Any]] | None:
    """The neighbours' clock offsets; None: the router does not support this."""
    try:
        found: Sequence[Mapping[str, Any]] = json.loads(await client.post("/clocks", ()))
    except (RequestRefused, ValueError):
        return None
    return found

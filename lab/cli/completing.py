"""Shell completion for `lab …`: scenarios, runs, labs, hosts, backends. For `lab completion`.

Each function gets the text typed so far and returns whole words. A completion never fails and never prints: if
something cannot be determined, it offers nothing. Imports only what one completion needs, because the user waits.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from lab.errors import LabError

__all__ = ["backends", "faults", "hosts", "labs", "only_hosts", "runs", "scenarios", "script", "services"]

_SCENARIO_FILES = (".yaml", ".yml", ".json")
_MOST = 200
"""Maximum number of runs offered, the newest."""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _offering(words: Callable[[click.Context], Iterable[tuple[str, str]]]) -> Completer:
    """Make a completer from a function that yields all words, each with its explanation."""

    @wraps(words)
    def complete(context: click.Context, _param: click.Parameter, typed: str) -> list[CompletionItem]:
        try:
            return [CompletionItem(word, help=says or None) for word, says in words(context) if word.startswith(typed)]
        except Exception:  # a traceback would be printed into the line that the user types
            return []

    return complete


@_offering
def labs(_context: click.Context) -> Iterable[tuple[str, str]]:
    """Running labs."""
    from lab.backends.netns import labs as running

    return [(lab.name, "") for lab in running()]


@_offering
def hosts(context: click.Context) -> Iterable[tuple[str, str]]:
    """Hosts and containers of the lab chosen by `--name`, or of the only one."""
    return _of_lab(context)


def _of_lab(context: click.Context) -> list[tuple[str, str]]:
    from lab.backends.netns import LabClient, find

    with LabClient(find(context.params.get("name") or "")) as client:
        found = [(host["name"], "host") for host in client.call("inspect")["hosts"]]
        with suppress(LabError):  # no scenario is played there
            containers = client.call("status", peers=False)["containers"]
            found += [(name, f"on {one['host']}") for name, one in containers.items()]
    return found


@_offering
def only_hosts(context: click.Context) -> Iterable[tuple[str, str]]:
    """Hosts of the lab chosen by `--name`, or of the only one."""
    return [(word, says) for word, says in _of_lab(context) if says == "host"]


@_offering
def services(context: click.Context) -> Iterable[tuple[str, str]]:
    """Services of that lab, and their containers."""
    from lab.backends.netns import LabClient, find

    with LabClient(find(context.params.get("name") or "")) as client:
        named = client.call("state")["scenario"]["services"]
    return [*((name, "service") for name in named), *(one for one in _of_lab(context) if one[1] != "host")]


@_offering
def faults(context: click.Context) -> Iterable[tuple[str, str]]:
    """Steps whose faults are in force in that lab."""
    from lab.backends.netns import LabClient, find

    with LabClient(find(context.params.get("name") or "")) as client:
        return [(str(fault["step"] + 1), fault["label"]) for fault in client.call("state", scenario=False)["faults"]]


@_offering
def runs(_context: click.Context) -> Iterable[tuple[str, str]]:
    """Scenarios that have runs (meaning their latest), and the runs."""
    from lab.records.runs import stored_runs
    from lab.records.store import ROOT

    found, _ = stored_runs(ROOT, _MOST)
    names = dict.fromkeys(run.run.partition("/")[0] for run in found)
    return [*((name, "the latest run") for name in names), *((run.run, run.verdict) for run in found)]


@_offering
def backends(_context: click.Context) -> Iterable[tuple[str, str]]:
    """Backends by name."""
    from lab.kinds.backends import BACKENDS

    return [(kind.name, kind.about) for kind in BACKENDS]


def scenarios(_context: click.Context, _param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Packaged scenarios and scenario files in this folder; if none matches, any file (which the shell completes
    itself)."""
    from lab.scenario.packaged import names

    here = [path.name for path in sorted(Path().glob("*")) if path.suffix in _SCENARIO_FILES]
    found = [CompletionItem(name) for name in [*names(), *here] if name.startswith(typed)]
    return found or [CompletionItem(typed, type="file")]


def script(command: click.Command, shell: str) -> str:
    """The completion script of this command for a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(command, {}, "lab", "_LAB_COMPLETE").source()

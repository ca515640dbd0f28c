"""`overlay.kind: exec`: a user's own overlay, run by a program that speaks JSON lines (docs/overlays.md).

`options: {command: ./my-overlay}` names the program, relative to the scenario's folder; all other options are passed to
it.
"""

import shlex
from collections.abc import Iterator

from lab.contracts.driver import Driver, DriverFactory, DriverPlace
from lab.contracts.lab import Host
from lab.driven.kind import driven
from lab.driven.lines import LineDriver
from lab.kinds.options import OptionFault, Options
from lab.scenario.base import show
from lab.scenario.resolve import Resolved

COMMAND = "command"


def _making(scenario: Resolved) -> DriverFactory:
    command = shlex.split(str(scenario.options[COMMAND]))

    def make(host: Host, place: DriverPlace) -> Driver:
        return LineDriver(host, place, command)

    return make


def _faults(options: Options) -> Iterator[OptionFault]:
    command = options.get(COMMAND)
    if not isinstance(command, str) or not command.strip():
        found = show(command) if COMMAND in options else "no `command`"
        yield OptionFault(COMMAND, found, "the program that runs the overlay on a host, as ./my-overlay")
        return
    try:
        shlex.split(command)
    except ValueError as error:
        yield OptionFault(COMMAND, show(command), f"words as a shell reads them ({error})")


KIND = driven(
    name="exec",
    about="an overlay of yours, run by a program that you write ([overlays.md](overlays.md))",
    making=_making,
    options=(COMMAND,),
    commands=(COMMAND,),
    faults=_faults,
)

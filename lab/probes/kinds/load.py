"""The probe `load`: what a `load` step sends, tries of another kind in an open loop.

The schedule is fixed and no answer slows it down. A try that the machine sends late is sent all the same, and its time
counts from when it was due: what a client waits that comes at that moment, not what the server needed once it was asked
(coordinated omission). One that could not be sent before its timeout counts as failed (`unsent`). `Sample.late` says
how much of the time was the sender's own.
"""

from collections.abc import Iterator

from lab.contracts.lab import Probe
from lab.contracts.probe import Attempt, SharedByTries, SimulatedTry
from lab.kinds.options import OptionFault, Options
from lab.kinds.probes import PROBES, ProbeKind

__all__ = ["ASKING", "KIND"]

ASKING = ("http", "icmp", "udp")
"""The kinds of which a load can be made."""


def _attempt(probe: Probe, due: int, number: int, shared: SharedByTries) -> Attempt:
    return PROBES.get(str(probe.options["by"])).attempt(probe, due, number, shared)


def _simulate(attempt: SimulatedTry) -> None:
    PROBES.get(str(attempt.probe.options["by"])).simulate(attempt)


def _faults(options: Options) -> Iterator[OptionFault]:
    yield OptionFault("", "a probe of kind load", "a `load` step of the timeline: it has a beginning and a rate")


KIND = ProbeKind(
    name="load",
    title="Load",
    about="requests of `load` steps, in an open loop (not for the list `probes`); latency counts from when a request "
    "was due",
    asks="container",
    protocol="tcp",
    attempt=_attempt,
    simulate=_simulate,
    options=lambda: ("by",),
    faults=_faults,
    open_loop=True,
    judges=False,
)

"""The probe `load`: the traffic of a `load` step, tries of another kind in an open loop.

The schedule is fixed, and no response slows it down. A try that the machine sends late is sent anyway, and its time
counts from when it was due: this is the wait of a client that arrives at that moment, not only the time that the server
needs after the request (coordinated omission). A try that could not be sent before its timeout counts as failed
(`unsent`). `Sample.late` says how much of the time was the sender's own.
"""

from collections.abc import Iterator

from lab.contracts.lab import Probe
from lab.contracts.probe import Attempt, SharedByTries, SimulatedTry
from lab.kinds.options import OptionFault, Options
from lab.kinds.probes import PROBES, ProbeKind

__all__ = ["ASKING", "KIND"]

ASKING = ("http", "icmp", "udp")
"""The kinds of probe that a load can use."""


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

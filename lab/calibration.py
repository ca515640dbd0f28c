"""The constants of the simulator's model: how long what a simulated machine does takes. Pure data.

Each is a key of a scenario's `model:` and a row of docs/constants.md, made from what stands here. Owns defaults and
limits. How far base delays and round trips lie apart is measured (`lab.sim.spread`), sizes of headers are those of the
protocols, and what a verdict needs belongs to the checkers: these are no constants of the model.
"""

from typing import Annotated

from msgspec import Struct

from overlay.env import MICROSECOND, MILLISECOND, SECOND
from overlay.tuning import Constant, a_count, a_time, constants_of

__all__ = ["CALIBRATION", "Calibration", "model_constants"]

_MINUTES = 600 * SECOND


class Calibration(Struct, frozen=True, kw_only=True):
    """Times in nanoseconds."""

    base_delay: Annotated[int, a_time(0, "what a packet takes from host to host over a perfect link", SECOND)] = (
        100 * MICROSECOND
    )
    local_delay: Annotated[int, a_time(0, "what it takes between two containers of one host, one way", SECOND)] = (
        40 * MICROSECOND
    )
    command_time: Annotated[int, a_time(0, "what a command takes to be started and to end", _MINUTES)] = 3 * MILLISECOND
    launch_time: Annotated[int, a_time(0, "a daemon until it answers", _MINUTES)] = 60 * MILLISECOND
    start_time: Annotated[int, a_time(0, "a container until it runs", _MINUTES)] = 15 * MILLISECOND
    boot_time: Annotated[int, a_time(0, "a host until it is up after it was switched on", _MINUTES)] = 120 * MILLISECOND
    spread_parts: Annotated[int, a_count(1, 1000, "the four times above vary by one part of this many")] = 4
    compute_time: Annotated[int, a_time(0, "one step of a password proof", _MINUTES)] = 6 * MILLISECOND
    address_notice: Annotated[int, a_time(0, "until a daemon hears of a new address of its host", _MINUTES)] = (
        50 * MILLISECOND
    )
    slice_time: Annotated[int, a_time(0, "under stress a process runs so long at a time", SECOND)] = 3 * MILLISECOND
    dial_timeout: Annotated[int, a_time(MILLISECOND, "a TCP connection that is not answered fails after so long")] = (
        3 * SECOND
    )
    syn_retry: Annotated[int, a_time(MILLISECOND, "before a SYN is sent again; doubles")] = SECOND
    neighbour_delay: Annotated[int, a_time(0, "a doubted neighbour is used on for so long")] = 5 * SECOND
    neighbour_probing: Annotated[int, a_time(0, "then it is asked for so long before it is given up")] = 3 * SECOND
    nat_unanswered: Annotated[
        int, a_time(MILLISECOND, "a router (linux) forgets a flow without an answer after so long")
    ] = 30 * SECOND
    nat_answered: Annotated[int, a_time(MILLISECOND, "and a flow with answers after so long")] = 120 * SECOND
    nat_mapping: Annotated[
        int, a_time(MILLISECOND, "routers of other kinds forget a mapping after so long, unless `timeout` is set")
    ] = 120 * SECOND


CALIBRATION = Calibration()
"""The defaults."""


def model_constants() -> dict[str, Constant]:
    """Every field by its name, in their order."""
    return constants_of(Calibration)

"""The protocol's timers and the counts that shape them: what each is, its default, and between which limits it makes
sense. Pure data.

Each is a flag of `weave launch`, an option `overlay.NAME` of a scenario, and a row of docs/constants.md, all made from
what stands here. Those that people change more often are fields of `overlay.config.Config`. Limits of memory and sizes
of messages are no timers: they protect a peer from others, so nobody may lift them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

from msgspec import Meta, Struct

from overlay.env import MILLISECOND, SECOND

__all__ = ["STANDARD", "Constant", "Tuning", "a_count", "a_time", "constants", "constants_of", "senseless", "shown"]

_DAY = 24 * 3600 * SECOND
_UNIT = "unit"


def a_time(low: int, about: str, high: int = _DAY) -> Meta:
    """What there is to say of a time in nanoseconds."""
    return Meta(ge=low, le=high, description=about, extra={_UNIT: "time"})


def a_count(low: int, high: int, about: str) -> Meta:
    """What there is to say of a count."""
    return Meta(ge=low, le=high, description=about, extra={_UNIT: "count"})


_MS = MILLISECOND


class Tuning(Struct, frozen=True, kw_only=True):
    """Times in nanoseconds."""

    dial_first: Annotated[int, a_time(10 * _MS, "before a failed dial is repeated; grows by half each time")] = (
        500 * _MS
    )
    dial_longest: Annotated[int, a_time(10 * _MS, "longest pause between two dials")] = 60 * SECOND
    dial_lasting: Annotated[
        int, a_time(0, "a connection that lived longer counts as a success: the pauses begin again")
    ] = 10 * SECOND
    dial_urge_pause: Annotated[int, a_time(0, "a younger dial is not overtaken by another to the same address")] = (
        300 * _MS
    )
    dial_polite_delay: Annotated[
        int, a_time(0, "the peer with the higher name leaves so much time to the other before it dials a peer heard of")
    ] = 2 * SECOND
    dial_spread: Annotated[int, a_time(_MS, "dials to peers heard of are spread over this time")] = 100 * _MS
    dial_room_pause: Annotated[int, a_time(10 * _MS, "before a target for which there was no room asks again")] = (
        5 * SECOND
    )
    handshake_timeout: Annotated[int, a_time(100 * _MS, "a handshake without password ends by then")] = 5 * SECOND
    proof_timeout: Annotated[int, a_time(100 * _MS, "a handshake with a password ends by then")] = 20 * SECOND
    pake_turn: Annotated[
        int, a_time(10 * _MS, "a password proof (PAKE) that does not come forward for so long is not counted any more")
    ] = 3 * SECOND
    pake_pause: Annotated[int, a_time(0, "after a password proof: gossip may make the next ones unnecessary")] = (
        100 * _MS
    )
    publish_pause: Annotated[
        int, a_time(0, "between two versions of a peer's own record: a burst of connections becomes few versions")
    ] = 50 * _MS
    publish_spare_pause: Annotated[
        int, a_time(0, "a link to a peer that is reachable without it is published so much later")
    ] = 250 * _MS
    jump_pause: Annotated[int, a_time(_MS, "between two new incarnations of a peer with a namesake; doubles")] = SECOND
    jump_pause_max: Annotated[int, a_time(_MS, "longest such pause")] = 60 * SECOND
    jump_quiet: Annotated[int, a_time(_MS, "without a sign of a namesake for so long, there is none")] = 300 * SECOND
    routes_pause: Annotated[
        int, a_time(0, "between two computations of the routes, because changes come in crowds")
    ] = 20 * _MS
    routes_pause_per_peer: Annotated[
        int, a_time(0, "as much more for each known peer, because a large mesh costs more", SECOND)
    ] = _MS // 5
    beacon_budget: Annotated[int, a_count(1, 100_000, "beacons a second to all lost peers together")] = 50
    beacon_long_lost: Annotated[int, a_time(SECOND, "a peer lost for longer is called more rarely")] = 600 * SECOND
    beacon_long_lost_interval: Annotated[int, a_time(10 * _MS, "between two beacons to such a peer")] = 2 * SECOND
    beacon_given_up: Annotated[
        int, a_time(SECOND, "a lost peer that nobody asked for is called no more after so long", 30 * _DAY)
    ] = _DAY
    announce_delay: Annotated[
        int, a_time(_MS, "digests are announced after so much quiet, because a state that passes tells nobody anything")
    ] = 50 * _MS
    announce_delay_max: Annotated[int, a_time(_MS, "longest such delay")] = 400 * _MS
    announce_latest: Annotated[
        int, a_count(1, 1000, "digests are announced at most this many delays after the first change")
    ] = 4
    announce_pause: Annotated[int, a_time(0, "announcements that follow within this time double the delay")] = SECOND
    announce_fanout: Annotated[int, a_count(1, 10_000, "lazy neighbours that an announcement goes to")] = 3
    graft_delay: Annotated[
        int, a_time(0, "an announced difference that lasts longer is asked about: the tree needs this time")
    ] = 150 * _MS
    graft_hops: Annotated[
        int, a_count(0, 1000, "as many gaps between flushes more, because news wait for each other at every hop")
    ] = 4
    graft_broken: Annotated[
        int,
        a_time(
            0, "after a graft the tree is taken for broken for so long: announcements go to all who may lack the news"
        ),
    ] = SECOND
    graft_patience: Annotated[int, a_count(1, 1000, "own changes excuse a difference for this many delays")] = 6
    want_pause: Annotated[int, a_time(0, "before the same difference is asked for again")] = 500 * _MS
    prune_pause: Annotated[int, a_time(0, "between two prunes of one neighbour")] = SECOND
    prune_grace: Annotated[int, a_time(0, "so long after an answer news are its echo and no sign of a second path")] = (
        100 * _MS
    )
    flush_gap_max: Annotated[
        int, a_time(_MS, "longest gap between two flushes; it doubles from flush-delay on while news keep coming")
    ] = 64 * _MS
    flush_pause: Annotated[
        int, a_count(1, 10_000, "after this many quiet gaps the gap starts again at its minimum")
    ] = 8
    reissue_pause: Annotated[int, a_time(_MS, "between two reissues of own entries that others deny; doubles")] = SECOND
    reissue_pause_max: Annotated[int, a_time(_MS, "longest such pause")] = 60 * SECOND
    ipam_patience: Annotated[int, a_time(10 * _MS, "a request for an address fails after so long")] = 5 * SECOND
    ipam_answer_time: Annotated[int, a_time(10 * _MS, "before another peer is asked for space")] = SECOND
    ipam_pause: Annotated[int, a_time(10 * _MS, "before all are asked again")] = SECOND
    ipam_reclaim: Annotated[int, a_time(10 * _MS, "between two demands for an address owned elsewhere")] = 10 * SECOND
    ipam_gossip_time: Annotated[int, a_time(0, "gossip gets so long to bring a gift of space")] = 300 * _MS
    ipam_clash_memory: Annotated[int, a_time(0, "a peer of another range is remembered for so long")] = 60 * SECOND
    ipam_lazy: Annotated[int, a_time(0, "what is spare knowledge reaches the disk within this time")] = 10 * SECOND
    paxos_grace: Annotated[int, a_time(0, "a proposer waits so long for the others after a quorum")] = 100 * _MS
    paxos_backoff: Annotated[int, a_time(10 * _MS, "before a proposal is repeated; doubles")] = SECOND
    paxos_backoff_limit: Annotated[int, a_time(10 * _MS, "longest such pause")] = 8 * SECOND
    paxos_patience: Annotated[int, a_time(10 * _MS, "without a quorum for so long, observers are told")] = 5 * SECOND
    probe_busy_interval: Annotated[int, a_time(10 * _MS, "between two probes of a path in use")] = 700 * _MS
    probe_idle_interval: Annotated[int, a_time(10 * _MS, "of a path that is idle")] = 10 * SECOND
    probe_failed_interval: Annotated[int, a_time(10 * _MS, "of a path that failed")] = 2 * SECOND
    probe_busy_for: Annotated[int, a_time(0, "a path counts as used for so long after traffic")] = 5 * SECOND
    probe_budget: Annotated[int, a_count(1, 100_000, "probes a second to all idle neighbours together")] = 8
    probe_busy_budget: Annotated[int, a_count(1, 100_000, "probes a second to all busy neighbours together")] = 32
    probe_together: Annotated[
        int, a_time(_MS, "probes of idle paths wait for each other for so long, so that a peer wakes for some at once")
    ] = 2 * SECOND
    probe_timeout: Annotated[
        int, a_time(_MS, "no answer after this, or after three times what answers take, is a miss")
    ] = 250 * _MS
    probe_timeout_max: Annotated[int, a_time(_MS, "longest such time")] = 2 * SECOND
    probe_misses: Annotated[int, a_count(2, 16, "probes missed in a row before a path has failed")] = 4
    probe_lossy: Annotated[
        int, a_count(2, 16, "probes missed of the last 16 before a path is too lossy, though it answers")
    ] = 6
    probe_raise_interval: Annotated[
        int, a_time(10 * _MS, "between two tries of the full size by a tunnel with smaller packets")
    ] = 10 * SECOND
    detour_newcomer: Annotated[int, a_time(_MS, "frames for a new peer without a connection take a detour then")] = (
        SECOND // 2
    )
    detour_lost: Annotated[int, a_time(_MS, "frames for a peer whose connection was lost take a detour then")] = (
        3 * SECOND
    )
    endpoint_recovery: Annotated[int, a_time(0, "containers of an earlier life are announced for so long")] = (
        10 * SECOND
    )


STANDARD = Tuning()
"""The defaults."""


class Constant(Struct, frozen=True, kw_only=True):
    """What there is to know of one field."""

    name: str
    unit: Literal["time", "count"]
    default: int
    low: int
    high: int
    about: str

    @property
    def flag(self) -> str:
        """As an option is typed."""
        return self.name.replace("_", "-")


def constants() -> Mapping[str, Constant]:
    """Every field of `Tuning` by its name, in their order."""
    return _CONSTANTS


def constants_of(kind: type[Struct]) -> dict[str, Constant]:
    """The constants that a struct of such fields holds."""
    found: dict[str, Constant] = {}
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    for name, default in zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True):
        meta = get_args(hints[name])[1]
        unit = meta.extra[_UNIT]
        found[name] = Constant(name=name, unit=unit, default=default, low=meta.ge, high=meta.le, about=meta.description)
    return found


_CONSTANTS: Final = constants_of(Tuning)

_ORDER: Final = (
    ("dial_first", "dial_longest"),
    ("jump_pause", "jump_pause_max"),
    ("announce_delay", "announce_delay_max"),
    ("reissue_pause", "reissue_pause_max"),
    ("paxos_backoff", "paxos_backoff_limit"),
    ("probe_timeout", "probe_timeout_max"),
    ("probe_misses", "probe_lossy"),
)
"""What must not be above the other one of a pair."""


def senseless(tuning: Tuning) -> str:
    """What is wrong with constants that are each within their limits; empty if they make sense together."""
    for less, more in _ORDER:
        a, b = getattr(tuning, less), getattr(tuning, more)
        if a > b:
            one, other = constants()[less], constants()[more]
            return (
                f"--{one.flag} {shown(one, a)} is above --{other.flag} {shown(other, b)}; "
                f"expected at most as much ({one.about}; {other.about})"
            )
    return ""


def shown(constant: Constant, value: int) -> str:
    """A value as it is typed."""
    if constant.unit == "count":
        return str(value)
    for length, unit in ((3600 * SECOND, "h"), (SECOND, "s"), (MILLISECOND, "ms")):
        if value and value % length == 0:
            return f"{value // length}{unit}"
    return f"{value / MILLISECOND:g}ms"

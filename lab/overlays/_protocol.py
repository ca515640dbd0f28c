"""An overlay that is a protocol: a Python class (`lab.protocols`), one member of it on every simulated host.

Owns the options that a scenario may set for such a class (its options, `connect`, `publish`), and what a restarted
member is told again. It has no containers: only members' beliefs and deliveries are observed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from lab.contracts.lab import HoldsMember, Lab
from lab.contracts.overlay import Overlay, together
from lab.errors import LabError
from lab.kinds.options import OptionFault, Options
from lab.kinds.overlays import OverlayKind
from lab.protocols.contract import why_no_protocol
from lab.protocols.options import misfit, settled_options
from lab.scenario.base import show
from lab.scenario.resolve import Replica, Resolved
from lab.scenario.values import parse_duration

__all__ = ["ProtocolOverlay", "protocol_kind", "protocol_of"]


JOIN_GAP = "join-gap"
_COMMON: Mapping[str, bool | int | str] = {JOIN_GAP: "0s"}
"""Option of every protocol: the time between two members that join in one step."""


def protocol_kind(name: str, found: Any) -> Any:
    """The kind of a protocol's class; anything else is returned unchanged, or, if named by `module:Class`, refused."""
    if why := why_no_protocol(found):
        if ":" in name:
            raise LabError(f"{name!r} is no protocol: {why} (docs/protocols.md)")
        return found
    defaults: Mapping[str, bool | int | str] = {**_COMMON, **getattr(found, "defaults", {})}

    def faults(options: Options) -> Iterator[OptionFault]:
        for key, value in options.items():
            if key not in defaults:
                yield kind.unknown(key)
            elif why := misfit(defaults[key], value):
                yield OptionFault(key, show(value), why)

    about = str(getattr(found, "about", "") or f"the protocol {name}")
    kind = OverlayKind(
        name=name,
        about=f"{about} (docs/protocols.md); on `sim` only, without containers",
        make=lambda lab, scenario: ProtocolOverlay(lab, scenario, name, found),
        has_daemons=True,
        has_views=True,
        verbs=frozenset({"publish"} if getattr(found, "payloads", ()) else ()),
        options=lambda: tuple(defaults),
        faults=faults,
        protocol=found,
        partial=bool(getattr(found, "partial", False)),
    )
    return kind


class ProtocolOverlay:
    """One protocol on the hosts of a lab."""

    has_daemons = True
    has_views = True
    has_dns = False

    def __init__(self, lab: Lab, scenario: Resolved, kind: str, protocol: Callable[..., Any]) -> None:
        self.kind = kind
        self._lab = lab
        self._scenario = scenario
        self._protocol = protocol
        self._options: dict[str, dict[str, Any]] = {}
        """Host -> options of its member."""
        self._seeds: dict[str, dict[str, None]] = {}
        """Host -> members about which its member was told; a restarted member is told again."""

    async def launch(self, hosts: Sequence[str], options: Options) -> None:
        """Create members, which do not know each other yet."""
        defaults = getattr(self._protocol, "defaults", {})
        self._options |= dict.fromkeys(hosts, settled_options(defaults, {**self._scenario.options, **options}))
        await together((self._begin(name) for name in hosts), at_once=len(hosts))

    async def _begin(self, host: str) -> None:
        await self._host(host).begin_member(self._protocol, self._options[host])

    async def connect(self, source: str, targets: Sequence[str]) -> None:
        """Let `targets` join through `source`, one after the other."""
        begun, gap = self._lab.now(), parse_duration(str(self._scenario.options.get(JOIN_GAP, _COMMON[JOIN_GAP])))
        for number, target in enumerate(targets):
            if gap:
                await self._lab.sleep_until(begun + number * gap)
            self._seeds.setdefault(target, {})[source] = None
            self._host(target).join_member((source,))

    async def publish(self, host: str, id: str, size: int) -> None:
        """Let a member broadcast a message."""
        self._host(host).publish(id, size)

    async def run(self, replica: Replica) -> None:
        """There are no containers."""
        raise LabError(f"overlay {self.kind} has no containers")

    remove = kill = restart = run

    async def relaunch(self, host: str) -> bool:
        """Restart a member, which joins through the same others as before, or through those that joined through it."""
        if host not in self._options:
            return False
        await self._begin(host)
        seeds = self._seeds.get(host) or [name for name, told in self._seeds.items() if host in told]
        if seeds:
            self._host(host).join_member(tuple(seeds))
        return True

    async def stop(self, host: str) -> None:
        """Leave with a farewell."""
        await self._host(host).farewell_member()

    async def kill_daemon(self, host: str) -> None:
        """`kill -9` of the member."""
        await self._lab.hosts[host].kill_daemon()

    def address_of(self, replica: str) -> str:
        """There are no containers."""
        return ""

    def endpoint(self, source: Replica, target: Replica, port: int) -> tuple[str, int] | None:
        """There are no containers."""
        return None

    async def resolver(self, host: str) -> str:
        """There is no name server."""
        return ""

    async def log_tail(self, host: str) -> str:
        """The end of the member's log."""
        return "\n".join(self._host(host).member_log()[-5:])

    def _host(self, name: str) -> HoldsMember:
        return cast(HoldsMember, self._lab.hosts[name])


def protocol_of(overlay: Overlay) -> ProtocolOverlay:
    """The overlay as a `ProtocolOverlay`; the verb `publish` is allowed only on these."""
    return cast(ProtocolOverlay, overlay)

"""A simulated host that runs a member of a protocol (`lab.protocols`) instead of the overlay's daemon.

Owns the member's lifecycle as the runner sees it, and the conversion of its beliefs to a view. Knows no protocol.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab.backends.simulated.host import SimHost
from lab.errors import LabError
from lab.records.history import View
from lab.sim.member import MemberPeer

__all__ = ["MemberHost"]


class MemberHost(SimHost):
    """A simulated machine that may run a member. Implements `lab.contracts.lab.HoldsMember`."""

    @property
    def member(self) -> MemberPeer:
        """The host's peer in the simulated world."""
        assert isinstance(self._peer, MemberPeer)
        return self._peer

    @property
    def runs(self) -> bool:
        """See `SimHost`."""
        return self.member.core is not None

    async def begin_member(self, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """See `lab.contracts.lab.HoldsMember`."""
        await self._pass(self.world.model.launch_time)
        if self.runs or not self._peer.powered:
            raise LabError(f"a member runs on {self.name} already" if self.runs else f"host {self.name} went off")
        self.member.begin(make, dict(options))
        self.believes()

    def join_member(self, seeds: tuple[str, ...]) -> None:
        """See `lab.contracts.lab.HoldsMember`."""
        self._running().join(seeds)

    def publish(self, id: str, size: int) -> None:
        """See `lab.contracts.lab.HoldsMember`."""
        self._running().publish(id, size)

    async def farewell_member(self) -> None:
        """See `lab.contracts.lab.HoldsMember`."""
        self._running().farewell()
        self._daemon_is_gone(asked=True)

    def member_log(self) -> Sequence[str]:
        """See `lab.contracts.lab.HoldsMember`."""
        return self.member.log

    async def kill_daemon(self) -> None:
        """See `SimHost`."""
        self._running().kill()
        self._daemon_is_gone()

    async def kill(self) -> None:
        """See `SimHost`."""
        ran = self.runs
        await super().kill()
        if ran:
            self._daemon_is_gone()

    def _daemon_is_gone(self, *, asked: bool = False) -> None:
        super()._daemon_is_gone(asked=asked)
        if self.member.changed is not None:
            self.member.changed(self.name)

    def believes(self) -> None:
        """The member changed a belief, or its connected component of the group changed."""
        if self.runs:
            self._tell(self._look())

    def _look(self) -> View:
        peer = self.member
        self._told_bytes = peer.sent_bytes
        reachable, digest = peer.group.view(self.name)
        return View(
            t=self.world.now,
            host=self.name,
            peer=self.name,
            topology=digest,
            ring="",
            dns="",
            endpoints="",
            reachable=reachable,
            neighbours=tuple(sorted(peer.group.standing[self.name].neighbours)),
            sent_bytes=peer.sent_bytes,
            sent_messages=peer.sent_messages + peer.sent_datagrams,
        )

    def _running(self) -> MemberPeer:
        if not self.runs:
            raise LabError(f"no member runs on {self.name}")
        return self.member

"""The host as the kernel audit sees it: remakes devices, and puts addresses and containers back.

Owns the order in which everything attached to the bridge is restored. Decides nothing: `audit` says when.
"""

import logging

from overlay.daemon.router import DaemonRouter
from overlay.datapath.vxlan import VxlanPlan
from overlay.docker.attachments import is_own
from overlay.docker.expose import Exposure
from overlay.docker.journal import Journal
from overlay.docker.lifecycle import ContainerLifecycle
from overlay.kernel import bridge
from overlay.kernel.attach import port_name
from overlay.kernel.forwarding import Forwarding
from overlay.kernel.netlink import Netlink
from overlay.kernel.policy_filter import PolicyFilter

__all__ = ["AuditedHost"]

log = logging.getLogger(__name__)


class AuditedHost:
    """Implements `audit.AuditTarget`. `settle` passes in the parts that are created after the audit."""

    def __init__(
        self,
        netlink: Netlink,
        plan: VxlanPlan,
        clear: bool,
        own: str,
        forwarding: Forwarding,
        policy: PolicyFilter,
    ) -> None:
        self._netlink = netlink
        self._plan = plan
        self._clear = clear
        self._own = own
        self._forwarding = forwarding
        self._policy = policy
        self._around: tuple[DaemonRouter, Journal, Exposure, ContainerLifecycle] | None = None

    def settle(self, router: DaemonRouter, journal: Journal, exposure: Exposure, lives: ContainerLifecycle) -> None:
        """Set the remaining parts; everything is in place now."""
        self._around = router, journal, exposure, lives

    def remake_devices(self) -> None:
        """See `audit.AuditTarget`."""
        before = self._forwarding.devices
        after = bridge.again(self._netlink, self._plan, before, self._clear, self._own)
        self._forwarding.devices = after
        if self._around is None:
            return
        router, _, exposure, _ = self._around
        if router.sleeve is not None and (before.bridge, before.tunnel, before.vxlans) != (
            after.bridge,
            after.tunnel,
            after.vxlans,
        ):
            router.sleeve.close()
            try:
                router.sleeve.start()
            except OSError as error:
                log.warning("no userspace tunnel: %s", error.strerror or error)
        exposure.restore()

    def exposed(self) -> tuple[str, ...]:
        """See `audit.AuditTarget`."""
        return self._around[2].addresses if self._around is not None else ()

    def expose_again(self) -> None:
        """See `audit.AuditTarget`."""
        if self._around is not None:
            self._around[2].restore()

    def look_at_filter(self) -> tuple[str, ...]:
        """See `audit.AuditTarget`."""
        mended = self._policy.look()
        return (*mended, *self._around[2].look_at_filter()) if self._around is not None else mended

    def container_of(self, port: str) -> str:
        """See `audit.AuditTarget`."""
        records = self._around[1].all() if self._around is not None else ()
        return next(
            (each.container for each in records if not is_own(each.container) and port_name(each.container) == port), ""
        )

    def look_at(self, container: str) -> None:
        """See `audit.AuditTarget`."""
        if self._around is not None:
            self._around[3].look_at(container)

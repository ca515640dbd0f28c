"""The objects that the control API functions work on, and helpers that several functions share."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from overlay.daemon.control.watching import Watchers
from overlay.docker.containers import Containers
from overlay.docker.expose import Exposure
from overlay.errors import EnvironmentProblem, UsageError
from overlay.options import LaunchOptions
from overlay.runtime.router import Router

__all__ = ["Parts"]


class Parts(Struct, frozen=True, kw_only=True):
    """The parts of one running daemon."""

    router: Router
    containers: Containers
    exposure: Exposure
    options: LaunchOptions
    watchers: Watchers
    report: Callable[[], dict[str, Any]]
    leave: Callable[[bool, bool], Awaitable[None]]
    """Ends the daemon. First argument: hand the address space over; second: end without a farewell."""
    lookup: Callable[[str], Awaitable[tuple[str, ...]]]
    """The addresses of a name, as a container would resolve it."""
    resolve: Callable[[str], Awaitable[str]]
    """The address of an underlay host."""

    def check_room(self) -> None:
        """Raises `EnvironmentProblem` if the disk has no room for writes."""
        room = self.router.disk.check_room()
        if room:
            raise EnvironmentProblem(room)

    @property
    def default_subnet(self) -> str:
        """The subnet used when a request names none."""
        return self.options.ipalloc_default_subnet or self.options.ipalloc_range

    @property
    def domain(self) -> str:
        """The overlay's domain, without a trailing dot."""
        return self.options.dns_domain.rstrip(".")

    def qualified(self, name: str) -> str:
        """A name with the domain and a trailing dot."""
        bare = name.rstrip(".")
        is_whole = bare.lower().endswith("." + self.domain.lower()) or "." in bare
        return f"{bare}." if is_whole else f"{bare}.{self.domain}."

    def check_inside(self, fqdn: str) -> None:
        """Raises `UsageError` for a name outside this overlay's DNS domain."""
        if not fqdn.lower().endswith(f".{self.domain.lower()}."):
            bare = fqdn.rstrip(".")
            raise UsageError(
                f"{bare} is outside of {self.domain}, whose names are served here: use {bare}.{self.domain}"
            )

"""What the functions of the control API work on, and the few questions that several of them ask of it."""

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
    """Ends the daemon: the first hands its addresses over, the second says no farewell."""
    lookup: Callable[[str], Awaitable[tuple[str, ...]]]
    """The addresses of a name, as a container would get them."""
    resolve: Callable[[str], Awaitable[str]]
    """The address of a host of the underlay."""

    def check_room(self) -> None:
        """Raises `EnvironmentProblem` where nothing more can be written."""
        room = self.router.disk.check_room()
        if room:
            raise EnvironmentProblem(room)

    @property
    def default_subnet(self) -> str:
        """The subnet that is meant where none is named."""
        return self.options.ipalloc_default_subnet or self.options.ipalloc_range

    @property
    def domain(self) -> str:
        """The overlay's, without a dot at its end."""
        return self.options.dns_domain.rstrip(".")

    def qualified(self, name: str) -> str:
        """A name with the domain and a dot at its end."""
        bare = name.rstrip(".")
        is_whole = bare.lower().endswith("." + self.domain.lower()) or "." in bare
        return f"{bare}." if is_whole else f"{bare}.{self.domain}."

    def check_inside(self, fqdn: str) -> None:
        """Raises `UsageError` for a name that this overlay's DNS would never be asked for."""
        if not fqdn.lower().endswith(f".{self.domain.lower()}."):
            bare = fqdn.rstrip(".")
            raise UsageError(
                f"{bare} is outside of {self.domain}, whose names are served here: use {bare}.{self.domain}"
            )

"""What a command of `weave` is given: the host that it runs on, where its words go, and the daemon that it asks.

A border and little code: `this_host` is the machine that the real command runs on, the simulator has hosts of its own,
so that the same words do the same there. Commands are coroutines: whatever takes time is awaited.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from overlay.clean import LINES, clean
from overlay.cli.client import DaemonClient, RequestRefused

if TYPE_CHECKING:
    from overlay.check.facts import HostFacts
    from overlay.options import LaunchOptions
    from overlay.ranges import Network

__all__ = ["CommandEnvironment"]


class CommandEnvironment:
    """One host, for the time of one command."""

    simulated = False
    """There are no processes here besides the daemon: no proxy, no container form, no systemd."""

    def __init__(self, environment: Mapping[str, str], client: DaemonClient) -> None:
        self.environment = environment
        """Variables."""
        self.client = client
        """The daemon, whether it runs or not."""

    # --- output -----------------------------------------------------------------------------------------------------

    def write(self, text: str, *, complaint: bool = False) -> None:
        """Put out a text as it is; a complaint goes to the standard error."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """A line that may hold words of others: of peers, of the engine, of containers."""
        self.write(clean(text, keep=LINES) + "\n")

    def complain(self, text: str) -> None:
        """A line for the standard error."""
        self.write(clean(text, keep=LINES) + "\n", complaint=True)

    def note(self, text: str) -> None:
        """A word for people next to an exit code of 0; programs that read the output get none of it."""
        self.complain(f"weave: {text}")

    # --- the host ---------------------------------------------------------------------------------------------------

    async def start_router(self, words: Sequence[str], options: "LaunchOptions") -> None:
        """Start a daemon; returns once it answers. `words`: those of the launch. Raises `OverlayError`."""
        raise NotImplementedError

    async def clean_up(self) -> None:
        """Remove what a daemon that does not run has left. Raises `OverlayError`."""
        raise NotImplementedError

    def routes(self) -> "Sequence[tuple[Network, str]]":
        """The networks that the host has routes to, each with its device."""
        raise NotImplementedError

    def look(
        self,
        report: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        attached: Sequence[Mapping[str, Any]],
    ) -> "HostFacts | None":
        """The host as `weave check` judges it; None where there is none. The arguments: what the router has said."""
        raise NotImplementedError

    def bridge_address(self, name: str) -> str:
        """The IPv4 address of the engine's bridge; empty: it has none."""
        raise NotImplementedError

    def has_units(self) -> bool:
        """Whether systemd starts a router at each boot."""
        raise NotImplementedError

    def refuse_simulated(self, what: str) -> None:
        """Raise `RequestRefused` where there is no such thing."""
        if self.simulated:
            raise RequestRefused(f"a simulated host has no {what}")

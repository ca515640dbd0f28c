"""The environment of a `weave` command: its host, its output, and the daemon's client.

An interface with little code: `this_host` is the host of the real command; the simulator has its own hosts, on which
the same words have the same effect. Commands are coroutines, so they await everything that takes time.
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
    """One host, for the duration of one command."""

    simulated = False
    """The host has no processes except the daemon: no proxy, no container form, no systemd."""

    def __init__(self, environment: Mapping[str, str], client: DaemonClient) -> None:
        self.environment = environment
        """Environment variables."""
        self.client = client
        """The daemon's client, whether the daemon runs or not."""

    # --- output -----------------------------------------------------------------------------------------------------

    def write(self, text: str, *, complaint: bool = False) -> None:
        """Write a text unchanged, to standard output or as an error to standard error."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Write a line that may contain foreign text: from peers, the engine or containers."""
        self.write(clean(text, keep=LINES) + "\n")

    def complain(self, text: str) -> None:
        """Write a line to standard error."""
        self.write(clean(text, keep=LINES) + "\n", complaint=True)

    def note(self, text: str) -> None:
        """Write a remark for people, with exit code 0; programs that read the output do not get it."""
        self.complain(f"weave: {text}")

    # --- the host ---------------------------------------------------------------------------------------------------

    async def start_router(self, words: Sequence[str], options: "LaunchOptions") -> None:
        """Start a daemon; returns once it answers. `words`: the words of the launch. Raises `OverlayError`."""
        raise NotImplementedError

    async def clean_up(self) -> None:
        """Remove the leftovers of a stopped daemon. Raises `OverlayError`."""
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
        """The facts about the host for `weave check`; None if it has none. The arguments are the router's answers."""
        raise NotImplementedError

    def bridge_address(self, name: str) -> str:
        """The IPv4 address of the engine's bridge; empty if there is none."""
        raise NotImplementedError

    def has_units(self) -> bool:
        """Whether systemd starts a router at each boot."""
        raise NotImplementedError

    def refuse_simulated(self, what: str) -> None:
        """Raise `RequestRefused` on a simulated host."""
        if self.simulated:
            raise RequestRefused(f"a simulated host has no {what}")

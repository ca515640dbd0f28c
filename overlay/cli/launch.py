"""`weave launch`: starts a router or finds the running one, and cleans up after a stopped one.

`launch_flags` defines the flags. The daemon is in `overlay.daemon.daemon`, which is imported only to start one.
"""

import ipaddress
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from overlay.cli.client import DaemonClient, NotRunning, RequestRefused
from overlay.cli.container import is_inside, settle
from overlay.cli.environment import CommandEnvironment
from overlay.cli.launch_flags import is_given, parse_launch
from overlay.options import DaemonPaths, LaunchOptions
from overlay.ranges import Network, overlapping

__all__ = ["clean_up", "launch"]


async def launch(words: Sequence[str], here: CommandEnvironment) -> str:
    """Start a router, or find that the same one runs; returns one sentence. Raises `OverlayError`.

    In its own container, run the router, and return when it ends. The default range is refused if it overlaps a network
    of the host; an explicit range is accepted with a warning.
    """
    options = parse_launch(words, here.environment)
    different = None
    with suppress(NotRunning):
        # The running router compares, because it does not reveal its password.
        different = json.loads(await here.client.post_json("/options", msgspec.to_builtins(options)))
    if different is None:
        if not here.simulated and options.in_container and is_inside(here.environment):
            from overlay.daemon.daemon import hold_daemon

            hold_daemon(options, DaemonPaths.of(here.environment), here.environment)
            return "the router has ended"
        warning = _in_the_way(words, options, here.routes())
        await here.start_router(words, options)
        return f"{warning}{await _outside_of_seed(options, here.client)}the router runs"
    if different:
        raise RequestRefused(
            "a router runs here already, with other options: "
            + "; ".join(different)
            + ". `weave stop` (or `weave reset`, to forget its addresses) ends it;"
            + " peers are added by `weave connect PEER`"
        )
    return "the router runs already, with the same options" + (
        settle("router", words, here.environment) if options.in_container else ""
    )


def _in_the_way(words: Sequence[str], options: LaunchOptions, routes: Sequence[tuple[Network, str]]) -> str:
    """A warning line if the range overlaps a network of this host.

    Raises `RequestRefused` if it is the default range.
    """
    networks = dict(routes)
    found = overlapping(ipaddress.ip_network(options.ipalloc_range), networks)
    if found is None:
        return ""
    said = f"range {options.ipalloc_range} overlaps {found}, which this host reaches by {networks[found]}"
    if not is_given("ipalloc-range", words):
        raise RequestRefused(
            f"the default {said}: choose another with --ipalloc-range, or name this one there if that is meant"
        )
    return f"warning: the {said}; `weave expose` would take those addresses from this host\n"


async def _outside_of_seed(options: LaunchOptions, client: DaemonClient) -> str:
    """A warning line if the range was divided among other peers; this peer then waits for one of them."""
    seed = options.config("", "").seed
    if not seed:
        return ""
    try:
        own = (await client.get_json("/report"))["mesh"]["name"]
    except NotRunning:
        return ""
    if own in seed:
        return ""
    return (
        f"warning: this peer, {own}, is not of the seed ({', '.join(seed)}): it waits for one of them for addresses\n"
    )


def clean_up(environment: Mapping[str, str]) -> None:
    """Remove interfaces, bridge and state of a stopped router, and the leftovers of a stopped proxy.

    The logs stay. Raises `OverlayError`.
    """
    from overlay.datapath.vxlan import VXLAN_PORT
    from overlay.kernel import bridge, firewall
    from overlay.kernel.netlink import Netlink
    from overlay.kernel.policy_filter import PolicyFilter
    from overlay.kernel.port_filter import PortFilter
    from overlay.kernel.vxlan_filter import VxlanFilter
    from overlay.proxy.process import forget_proxy
    from overlay.runtime.disk import Disk

    places = DaemonPaths.of(environment)
    disk = Disk(places.db)
    try:
        with Netlink() as netlink:
            bridge.remove(netlink)
        VxlanFilter(VXLAN_PORT).remove()
        PortFilter().remove()
        PolicyFilter().remove()
        firewall.remove()
        forget_proxy(places)
        disk.remove()
        if not environment.get("WEAVE_SOCK"):  # else the directory belongs to somebody else
            with suppress(OSError):
                places.socket.parent.rmdir()
    except PermissionError as error:
        raise RequestRefused(f"not allowed to remove the bridge ({error}): run `weave` as root") from None
    finally:
        disk.close()

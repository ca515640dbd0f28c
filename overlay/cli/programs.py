"""Commands that start and stop the programs of this host (router, proxy, units), and show their settings.

Each gets the host and its words, and returns the exit code. `launch` and `proxy` start the programs and define the
flags.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from overlay import __version__
from overlay.cli.client import NotRunning, RequestRefused
from overlay.cli.environment import CommandEnvironment
from overlay.cli.original import refuse_dns_flag
from overlay.cli.words import IN_CONTAINER, Usage, plain

if TYPE_CHECKING:
    from overlay.cli.container import ProgramContainer

__all__ = [
    "bridge_type",
    "config",
    "docker_bridge_ip",
    "env",
    "launch",
    "launch_dns",
    "launch_plugin",
    "launch_proxy",
    "reset",
    "setup",
    "stop",
    "stop_proxy",
    "systemd",
    "version",
]


async def launch(here: CommandEnvironment, words: list[str]) -> int:
    """Start the router, and the proxy where its flags are among the words."""
    from overlay.cli.container import as_container
    from overlay.cli.launch import launch as launched

    if words in (["--version"], ["-version"]):
        return await version(here, [])
    words = as_container(words, here.environment)
    if IN_CONTAINER in words:
        here.refuse_simulated("container form")
    proxy: list[str] | None = None
    if any(word.startswith("-") for word in words):
        from overlay.cli.proxy_flags import parse_proxy, split_proxy_words

        words, proxy = split_proxy_words(words)
        if proxy is not None:
            here.refuse_simulated("Docker API proxy")
            parse_proxy(proxy)  # report errors before anything is started
    here.complain(await launched(words, here))
    if proxy is not None:
        from overlay.cli.proxy import launch_proxy as launched_proxy

        here.complain(launched_proxy(proxy, here.environment))
    return 0


async def launch_dns(here: CommandEnvironment, words: list[str]) -> int:
    """Say that DNS is part of the router."""
    for word in words:
        if not word[:1].isdigit():
            refuse_dns_flag(word)
    if (await _options(here))["no_dns"]:
        raise RequestRefused("the router was launched with --no-dns: `weave stop`, then launch it without")
    here.complain("DNS is part of the router: it is running")
    return 0


async def launch_plugin(here: CommandEnvironment, words: list[str]) -> int:
    """Say that the plugin is part of the router, or how it becomes one."""
    if plain(words, "launch-plugin"):
        raise Usage("launch-plugin takes no arguments")
    if not (await _options(here))["plugin"]:
        raise RequestRefused("the plugin is part of the router: `weave stop`, then `weave launch --plugin`")
    here.complain("the plugin is part of the router: it is running")
    return 0


async def launch_proxy(here: CommandEnvironment, words: list[str]) -> int:
    """Start the proxy."""
    from overlay.cli.container import as_container
    from overlay.cli.proxy import launch_proxy as launched

    here.refuse_simulated("Docker API proxy")
    environment = here.environment
    here.complain(launched(as_container(words, environment), environment))
    return 0


async def stop_proxy(here: CommandEnvironment, words: list[str]) -> int:
    """End the proxy."""
    from overlay.cli.proxy import stop as stopped

    if plain(words, "stop-proxy"):
        raise Usage("stop-proxy takes no arguments")
    if not stopped(here.environment):
        here.note("the proxy is not running")
    return 0


async def env(here: CommandEnvironment, words: list[str]) -> int:
    """Print what makes a shell talk to the proxy."""
    from overlay.cli.proxy import env_words

    flags = [word for word in words if word in ("--restore", "-restore")]
    if plain([word for word in words if word not in flags], "env", ("--restore",)):
        raise Usage("env takes no arguments but --restore")
    here.say(env_words(here.environment, restore=bool(flags)))
    return 0


async def config(here: CommandEnvironment, words: list[str]) -> int:
    """Print the flags that make docker talk to the proxy."""
    from overlay.cli.proxy import config_words

    if plain(words, "config"):
        raise Usage("config takes no arguments")
    here.say(config_words(here.environment))
    return 0


async def stop(here: CommandEnvironment, words: list[str]) -> int:
    """End the router."""
    flag = "--for-restart"
    if plain([word for word in words if word != flag], "stop", (flag,)):
        raise Usage(f"stop takes no arguments but {flag}")
    with _router_container(here) as held:
        try:
            await here.client.leave(restart=flag in words)
        except NotRunning:
            if held is None:
                here.note("weave is not running")
    return 0


async def reset(here: CommandEnvironment, words: list[str]) -> int:
    """End the router and remove all that it has left."""
    force = [word for word in words if word in ("--force", "-force")]
    if plain([word for word in words if word not in force], "reset", ("--force",)):
        raise Usage("reset takes no arguments but --force")
    with _router_container(here):
        try:
            await here.client.leave(surrender=True)
        except NotRunning:
            pass
        except RequestRefused:
            if not force:
                raise
    await here.clean_up()
    if here.has_units():
        here.note("the router starts again at the next boot; `weave systemd remove` ends that")
    return 0


@contextmanager
def _router_container(here: CommandEnvironment) -> "Iterator[ProgramContainer | None]":
    """The router's container, if there is one: switch its restart off, and remove it after the router has left."""
    if here.simulated:
        yield None
        return
    from overlay.cli.container import find

    held = find("router", here.environment)
    if held is None:
        yield None
        return
    held.comes_back(False)
    try:
        yield held
    except BaseException:
        held.comes_back(True)
        raise
    held.remove()


async def systemd(here: CommandEnvironment, words: list[str]) -> int:
    """Print, install or remove units."""
    from overlay.cli.systemd import systemd as done

    here.refuse_simulated("systemd")
    here.say(done(words, here.environment))
    return 0


async def setup(here: CommandEnvironment, words: list[str]) -> int:
    """The original fetched its images; here is nothing to fetch."""
    if plain(words, "setup"):
        raise Usage("setup takes no arguments")
    here.note("nothing has to be set up: `weave launch` starts the router")
    return 0


async def bridge_type(here: CommandEnvironment, words: list[str]) -> int:
    """Print how frames travel, with the original's words."""
    if plain(words, "bridge-type"):
        raise Usage("bridge-type takes no arguments")
    here.say("bridge" if (await _options(here))["no_fastdp"] else "bridged_fastdp")
    return 0


async def docker_bridge_ip(here: CommandEnvironment, words: list[str]) -> int:
    """Print the address of the engine's bridge."""
    if plain(words, "docker-bridge-ip"):
        raise Usage("docker-bridge-ip takes no arguments")
    name = here.environment.get("DOCKER_BRIDGE") or "docker0"
    address = here.bridge_address(name)
    if not address:
        raise RequestRefused(
            f"this host has no address on `{name}`, the engine's bridge (the variable DOCKER_BRIDGE names it)"
        )
    here.say(address)
    return 0


async def version(here: CommandEnvironment, words: list[str]) -> int:
    """Print the version of this command, and of the router that runs."""
    if words:
        raise Usage("version takes no arguments")
    here.say(f"weave {__version__}")
    try:
        running = (await here.client.get_json("/options"))["version"]
    except (NotRunning, RequestRefused):
        return 0
    here.say(f"weave router {running}")
    return 0


async def _options(here: CommandEnvironment) -> Any:
    """The launch options of the running router."""
    return (await here.client.get_json("/options"))["options"]

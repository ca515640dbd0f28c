"""The `weave` command: words in, requests to this host's daemon, text out.

Owns the table of commands and the exit codes: 0 done, 1 failed, 2 usage error. Each command is a coroutine that gets
the host it runs on (`CommandEnvironment`), so the simulator runs the same commands on its own hosts. Knows no protocol
and does not touch the kernel: it sends all requests to the daemon over its unix socket, except to start one, and to
clean up if none runs. Imports only what a command needs, so that `weave status` answers at once.
"""

import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from overlay.cli import addresses, containers, names, peers, policy, programs, show
from overlay.cli.client import NotRunning
from overlay.cli.environment import CommandEnvironment
from overlay.cli.help import HELP, help_on
from overlay.cli.original import refuse_command
from overlay.cli.this_host import ThisHost
from overlay.cli.words import Usage, nearest
from overlay.errors import OverlayError

__all__ = ["COMMANDS", "finish", "main", "obey", "weave"]

T = TypeVar("T")


def main(argv: list[str] | None = None) -> int:
    """Run one command on this host; returns its exit code."""
    return finish(weave(ThisHost(), sys.argv[1:] if argv is None else argv))


def finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of a command on this host, where everything that it awaits blocks.

    There is no event loop. A command never waits for two things, importing asyncio takes as long as the whole of
    `weave status`, and `weave launch` forks a daemon, which has its own loop.
    """
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    work.close()
    raise RuntimeError("a command on this host awaited something that needs an event loop")


async def weave(here: CommandEnvironment, words: Sequence[str]) -> int:
    """Run one command; returns its exit code. Errors go to standard error."""
    try:
        return await obey(here, words)
    except Usage as error:
        here.complain(f"weave: {error}")
        return 2
    except NotRunning:
        here.complain("weave is not running: start it with `weave launch`")
        return 1
    except OverlayError as error:
        here.complain(f"weave: {error}")
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        here.complain(f"weave: {error.strerror or error}{place}")
        return 1
    except KeyboardInterrupt:
        return 130


async def obey(here: CommandEnvironment, words: Sequence[str]) -> int:
    """Execute the command. Raises `OverlayError` and `OSError`."""
    if not words:
        here.complain(HELP)
        return 2
    if words[0] == "--local":  # in the original: "in this process", where every command runs here
        return await obey(here, words[1:])
    name, rest = words[0], list(words[1:])
    name = {"--help": "help", "-h": "help", "--version": "version"}.get(name, name)
    command = COMMANDS.get(name)
    if command is None:
        refuse_command(name)
        raise Usage(f"there is no command `{name}`{nearest(name, COMMANDS)} (`weave help` lists all)")
    if name not in ("run", "help") and (
        "--help" in rest or (rest == ["-h"] and name not in ("dns-add", "dns-remove", "expose"))
    ):
        return await _help(here, [name])
    return await command(here, rest)


async def _help(here: CommandEnvironment, words: list[str]) -> int:
    return await help_on(here, words, COMMANDS)


async def _completion(here: CommandEnvironment, words: list[str]) -> int:
    from overlay.cli.completion import complete

    return await complete(here, words, COMMANDS)


COMMANDS: Mapping[str, Callable[[CommandEnvironment, list[str]], Awaitable[int]]] = {
    "launch": programs.launch,
    "launch-router": programs.launch,
    "launch-dns": programs.launch_dns,
    "launch-plugin": programs.launch_plugin,
    "launch-proxy": programs.launch_proxy,
    "stop-proxy": programs.stop_proxy,
    "env": programs.env,
    "proxy-env": programs.env,
    "config": programs.config,
    "proxy-config": programs.config,
    "connect": peers.connect,
    "forget": peers.forget,
    "status": show.status,
    "check": show.check,
    "graph": show.graph,
    "report": show.report,
    "run": containers.run_container,
    "start": containers.start,
    "attach": containers.attach,
    "detach": containers.detach,
    "ps": containers.ps,
    "expose": containers.expose,
    "hide": containers.hide,
    "ip-claim": addresses.ip_claim,
    "ip-release": addresses.ip_release,
    "dns-add": names.dns_add,
    "dns-remove": names.dns_remove,
    "dns-lookup": names.dns_lookup,
    "dns-args": names.dns_args,
    "allow": policy.allow,
    "deny": policy.deny,
    "policies": policy.policies,
    "prime": peers.prime,
    "rmpeer": peers.rmpeer,
    "stop": programs.stop,
    "stop-router": programs.stop,
    "setup": programs.setup,
    "bridge-type": programs.bridge_type,
    "docker-bridge-ip": programs.docker_bridge_ip,
    "systemd": programs.systemd,
    "reset": programs.reset,
    "version": programs.version,
    "completion": _completion,
    "help": _help,
}


if __name__ == "__main__":
    sys.exit(main())

"""The output of `weave help`, and the help of each topic."""

import itertools
import re
from collections.abc import Collection
from importlib import import_module

from overlay.cli.environment import CommandEnvironment
from overlay.cli.examples import examples
from overlay.cli.original import refuse_command
from overlay.cli.words import Usage, nearest

__all__ = ["HELP", "TOPICS", "help_on", "help_text", "own_help"]

HELP = """\
Usage: weave COMMAND [ARGUMENTS]

  launch [FLAGS] [PEER ...]         start the router of this host (weave help launch)
  connect [--replace] PEER ...      dial these peers, now and for ever
  forget PEER ...                   stop dialling them
  status [PART]                     targets, connections, peers, dns, ipam, policies; all in short
                                    without PART
  check [--json]                    what is wrong on this host or between the peers, and what to type (changes nothing)
  graph [--format dot|mermaid] [--containers]
                                    the peers and their connections as a graph, for Graphviz or Mermaid
  report [-f TEMPLATE]              everything, as JSON, or what a template takes out of it: '{{json .mesh.targets}}'

  run [ADDRESS ...] [DOCKER-RUN-FLAGS] IMAGE [COMMAND ...]
                                    start a container on the overlay; prints its id
  start [ADDRESS ...] CONTAINER     start a stopped container on the overlay; prints its addresses
  attach [--allow-spoofing] [ADDRESS ...] CONTAINER
                                    put a running container on the overlay; prints the addresses that were asked for
  detach [--all] [ADDRESS ...] CONTAINER
                                    take these addresses from it, or all
  ps [CONTAINER ...]                id, MAC and addresses of attached containers, and of this host (weave:expose)
  expose [ADDRESS ...] [-h NAME] [--without-masquerade]
                                    put this host itself on the overlay
  hide [--all] [ADDRESS ...]        take these addresses from it, or all

  ip-claim CONTAINER [ADDRESS]      book an address for an owner that something else puts on the overlay; prints it
  ip-release CONTAINER [IP]         free it, or all that the owner has
  ip-claim --from FILE, ip-release --from FILE   all lines of a file, or none: CONTAINER [ADDRESS], or JSON lines

  dns-add [IP ...] CONTAINER [-h NAME]      add a DNS name (without CONTAINER: IP ... -h NAME)
  dns-remove [IP ...] CONTAINER [-h NAME]   remove it
  dns-add --from FILE, dns-remove --from FILE   all names of a file: lines as in a hosts file, or JSON lines
  dns-lookup NAME                   the addresses that a container would get
  dns-args [DOCKER-RUN-FLAGS]       flags of `docker run` for the overlay's names, where the proxy is not asked

  launch-proxy [FLAGS]              start the Docker API proxy (weave help launch-proxy)
  env [--restore], config           shell words, and docker flags, that lead to the proxy (also proxy-env, proxy-config)
  stop-proxy                        end it; containers stay on the overlay

  allow [--force] [from X] [to Y[:PORT][/PROTOCOL]]   who may talk to which container (weave help policies)
  deny [--force] [from X] [to Y[:PORT][/PROTOCOL]]    who may not; the most specific policy decides
  policies                          all of them; --explain X Y[:PORT] which decides; --remove N ...

  prime                             wait until addresses can be given out
  rmpeer PEER ...                   take over the addresses of peers that will never come back
  stop [--for-restart]              say farewell and end the router; containers keep their interfaces (--for-restart: no
                                    farewell; containers talk on, for --hold, until it is launched again)
  reset [--force]                   stop, hand all addresses over, remove interfaces, bridge and state
  systemd [install ... | remove]    units that bring router and proxy back after a crash and a boot (weave help systemd)
  completion bash|zsh               what the shell reads to complete commands, flags and peers
  version, help [COMMAND]

ADDRESS is a.b.c.d/n, net:a.b.c.0/n (any of that subnet; for detach and hide: all that are of it) or net:default, which
is also what none means (start: only where the container has none). Addresses are printed without their /n.
docs/compatibility.md lists what users of the original may type, and what says the same where it is not taken.
WEAVE_DB, WEAVE_SOCK and WEAVE_LOG move the state, the control socket and the log; WEAVE_PROXY_SOCK the proxy's socket,
DOCKER_HOST the engine's."""


_NAMES = 36
"""Width of the column with the commands; the descriptions follow."""
TOPICS = {
    "launch": "launch_flags",
    "launch-proxy": "proxy_flags",
    "policies": "policy",
    "allow": "policy",
    "deny": "policy",
    "check": "check",
    "systemd": "systemd",
    "run": "run",
}
"""Commands with a help of their own, and the module that has it."""


def help_text(topic: str) -> str:
    """The help of a command, with its examples; empty if there is none."""
    text = own_help(TOPICS[topic]) if topic in TOPICS else _entry(topic)
    return text + examples(topic)


def own_help(module: str) -> str:
    """The help in a command's module."""
    text: str = import_module(f"overlay.cli.{module}").HELP
    return text


async def help_on(here: CommandEnvironment, words: list[str], known: Collection[str]) -> int:
    """Print what `weave help TOPIC` says. `known`: all commands."""
    topic = words[0] if words else ""
    if topic and topic not in known:
        refuse_command(topic)
        raise Usage(f"there is no command `{topic}`{nearest(topic, known)} (`weave help` lists all)")
    here.say(help_text(topic) if topic else HELP)
    return 0


def _entry(topic: str) -> str:
    """The lines of the main help about a command."""
    lines = HELP.splitlines()
    named = re.compile(rf"  (?:\S.*, )?{re.escape(topic)}(?![\w-])")
    first = next((at for at, line in enumerate(lines) if named.match(line[:_NAMES])), None)
    if first is None:
        return f"weave {topic}: a command of the original (docs/compatibility.md)"
    more = itertools.takewhile(lambda line: line.startswith("    "), lines[first + 1 :])
    return "\n".join([lines[first], *more])

"""What `weave help` prints, and which help a topic has."""

from collections.abc import Collection

from overlay.cli.environment import CommandEnvironment
from overlay.cli.original import refuse_command
from overlay.cli.words import Usage, nearest

__all__ = ["HELP", "help_on"]

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

  dns-add [IP ...] CONTAINER [-h NAME]      add a DNS name (without CONTAINER: IP ... -h NAME)
  dns-remove [IP ...] CONTAINER [-h NAME]   remove it
  dns-lookup NAME                   the addresses that a container would get
  dns-args [DOCKER-RUN-FLAGS]       flags of `docker run` for the overlay's names, where the proxy is not asked

  launch-proxy [FLAGS]              start the Docker API proxy (weave help launch-proxy)
  env [--restore], config           shell words, and docker flags, that lead to the proxy (also proxy-env, proxy-config)
  stop-proxy                        end it; containers stay on the overlay

  allow [--force] [from X] [to Y[:PORT][/PROTOCOL]]   who may speak to whom, on all hosts (weave help policies)
  deny [--force] [from X] [to Y[:PORT][/PROTOCOL]]    who may not; the most specific policy decides
  policies                          all of them; --explain X Y[:PORT] which decides; --remove N ...

  prime                             wait until addresses can be given out
  rmpeer PEER ...                   take over the addresses of peers that will never come back
  stop [--for-restart]              say farewell and end the router; containers keep their interfaces (--for-restart: no
                                    farewell; containers talk on, for --hold, until it is launched again)
  reset [--force]                   stop, hand all addresses over, remove interfaces, bridge and state
  systemd [install ... | remove]    units that bring router and proxy back after a crash and a boot (weave help systemd)
  version, help [COMMAND]

ADDRESS is a.b.c.d/n, net:a.b.c.0/n (any of that subnet; for detach and hide: all that are of it) or net:default, which
is also what none means (start: only where the container has none). Addresses are printed without their /n.
docs/compatibility.md lists what users of the original may type, and what says the same where it is not taken.
WEAVE_DB, WEAVE_SOCK and WEAVE_LOG move the state, the control socket and the log; WEAVE_PROXY_SOCK the proxy's socket,
DOCKER_HOST the engine's."""


async def help_on(here: CommandEnvironment, words: list[str], known: Collection[str]) -> int:
    """Print what `weave help TOPIC` says. `known`: all commands."""
    topic = words[0] if words else ""
    if topic == "launch":
        from overlay.cli.launch_flags import HELP as LAUNCH_HELP

        here.say(LAUNCH_HELP)
    elif topic == "launch-proxy":
        from overlay.cli.proxy_flags import HELP as PROXY_HELP

        here.say(PROXY_HELP)
    elif topic in ("policies", "allow", "deny"):
        from overlay.cli.policy import HELP as POLICY_HELP

        here.say(POLICY_HELP)
    elif topic == "check":
        from overlay.cli.check import HELP as CHECK_HELP

        here.say(CHECK_HELP)
    elif topic == "systemd":
        from overlay.cli.systemd import HELP as SYSTEMD_HELP

        here.say(SYSTEMD_HELP)
    elif topic == "run":
        from overlay.cli.run import HELP as RUN_HELP

        here.say(RUN_HELP)
    elif not topic:
        here.say(HELP)
    elif topic in known:
        here.say("\n".join(line for line in HELP.splitlines() if line.strip().startswith(topic)) or HELP)
    else:
        refuse_command(topic)
        raise Usage(f"there is no command `{topic}`{nearest(topic, known)}")
    return 0

"""The `weave` command: words in, requests to the daemon of this host, text out.

Owns the commands and what they print; exit code 0 done, 1 failed, 2 wrong words. Knows no protocol and touches no
kernel: everything is asked of the daemon over its unix socket, but starting one, and cleaning up where none runs.
Imports only what a command needs, so that `weave status` answers at once.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

from overlay import __version__
from overlay.clean import LINES, clean, clean_json
from overlay.cli.client import DaemonClient, NotRunning, RequestRefused
from overlay.cli.original import dns_arguments, refuse_command, refuse_dns_flag
from overlay.cli.words import Usage, nearest, take_addresses
from overlay.errors import OverlayError

if TYPE_CHECKING:
    from overlay.check.facts import HostFacts
    from overlay.cli.container import ProgramContainer
    from overlay.options import LaunchOptions
    from overlay.ranges import Network

__all__ = ["HERE", "CommandEnvironment", "main"]

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


class CommandEnvironment:
    """What a command finds where it runs: the environment, the daemon, and how one is started and cleaned up after.

    A simulator puts one of its own in `HERE`, so that the same words do the same on a simulated host.
    """

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables."""
        return os.environ

    def client(self) -> DaemonClient:
        """The daemon, whether it runs or not."""
        from overlay.cli.client import socket_path

        return DaemonClient(socket_path(self.environment))

    spawn: "Callable[[LaunchOptions], None] | None" = None
    """Start a daemon; None: as `overlay.daemon.daemon` does."""

    def routes(self) -> "Sequence[tuple[Network, str]]":
        """The networks that the host has routes to, each with its device."""
        from overlay.kernel.routes import host_routes

        return host_routes()

    def look(
        self,
        report: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        attached: Sequence[Mapping[str, Any]],
    ) -> "HostFacts | None":
        """The host as `weave check` judges it; None where there is none. The arguments: what the router has said."""
        from overlay.cli.facts import look

        return look(self.environment, report, options, attached)

    def bridge_address(self, name: str) -> str:
        """The IPv4 address of the engine's bridge; empty: it has none."""
        from overlay.kernel.bridge import interface_address
        from overlay.kernel.netlink import Netlink

        with Netlink() as netlink:
            return interface_address(netlink, name)

    def has_units(self) -> bool:
        """Whether systemd starts a router at each boot."""
        from overlay.cli.systemd import installed

        return installed()

    def clean_up(self) -> None:
        """Remove what a daemon that does not run has left."""
        from overlay.cli.launch import clean_up

        clean_up(self.environment)


HERE: ContextVar[CommandEnvironment] = ContextVar("HERE", default=CommandEnvironment())  # noqa: B039  # it has no state


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code. Output goes to `sys.stdout`, complaints to `sys.stderr`."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except Usage as error:
        _say(f"weave: {error}", sys.stderr)
        return 2
    except NotRunning:
        _say("weave is not running: start it with `weave launch`", sys.stderr)
        return 1
    except (RequestRefused, OverlayError) as error:
        _say(f"weave: {error}", sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        _say(f"weave: {error.strerror or error}{place}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(words: Sequence[str]) -> int:
    if not words:
        _say(HELP, sys.stderr)
        return 2
    if words[0] == "--local":  # the original's word for "in this process", which is where every command runs here
        return _run(words[1:])
    name, rest = words[0], list(words[1:])
    name = {"--help": "help", "-h": "help", "--version": "version"}.get(name, name)
    command = _COMMANDS.get(name)
    if command is None:
        refuse_command(name)
        raise Usage(f"there is no command `{name}`{nearest(name, _COMMANDS)}; `weave help` lists all")
    if name not in ("run", "help") and (
        "--help" in rest or (rest == ["-h"] and name not in ("dns-add", "dns-remove", "expose"))
    ):
        return _help([name])
    return command(rest)


def _say(text: str, stream: TextIO | None = None) -> None:
    """Print a text that may hold words of others: of peers, of the engine, of containers."""
    print(clean(text, keep=LINES), file=stream or sys.stdout, flush=True)


def _note(text: str) -> None:
    """A word for people beside an exit code of 0; whoever reads the output gets none of it."""
    _say(f"weave: {text}", sys.stderr)


def _client() -> DaemonClient:
    return HERE.get().client()


# --- the router ---------------------------------------------------------------------------------------------------


def _launch(words: list[str]) -> int:
    from overlay.cli.container import FLAG, as_container
    from overlay.cli.launch import launch

    if words in (["--version"], ["-version"]):
        return _version([])
    here = HERE.get()
    words = as_container(words, here.environment)
    if FLAG in words:
        _real("the container form")
    proxy: list[str] | None = None
    if any(word.startswith("-") for word in words):
        from overlay.cli.proxy import launch_proxy, parse_proxy, split_proxy_words

        words, proxy = split_proxy_words(words)
        if proxy is not None:
            _real("the Docker API proxy")
            parse_proxy(proxy)  # whatever is wrong with it is said before anything is started
    _say(launch(words, here.environment, here.client(), here.spawn, here.routes), sys.stderr)
    if proxy is not None:
        _say(launch_proxy(proxy, here.environment), sys.stderr)
    return 0


def _launch_plugin(words: list[str]) -> int:
    if _plain(words, "launch-plugin"):
        raise Usage("launch-plugin takes no arguments")
    if not _client().get_json("/options")["options"]["plugin"]:
        raise RequestRefused("the plugin is part of the router: `weave stop`, then `weave launch --plugin`")
    _say("the plugin is part of the router: it is running", sys.stderr)
    return 0


def _setup(words: list[str]) -> int:
    """The original fetched its images; here is nothing to fetch."""
    if _plain(words, "setup"):
        raise Usage("setup takes no arguments")
    _note("nothing has to be set up: `weave launch` starts the router")
    return 0


def _bridge_type(words: list[str]) -> int:
    if _plain(words, "bridge-type"):
        raise Usage("bridge-type takes no arguments")
    _say("bridge" if _client().get_json("/options")["options"]["no_fastdp"] else "bridged_fastdp")
    return 0


def _docker_bridge_ip(words: list[str]) -> int:
    if _plain(words, "docker-bridge-ip"):
        raise Usage("docker-bridge-ip takes no arguments")
    name = HERE.get().environment.get("DOCKER_BRIDGE") or "docker0"
    address = HERE.get().bridge_address(name)
    if not address:
        raise RequestRefused(
            f"this host has no address on `{name}`, the engine's bridge (the variable DOCKER_BRIDGE names it)"
        )
    _say(address)
    return 0


def _launch_proxy(words: list[str]) -> int:
    from overlay.cli.container import as_container
    from overlay.cli.proxy import launch_proxy

    _real("the Docker API proxy")
    environment = HERE.get().environment
    _say(launch_proxy(as_container(words, environment), environment), sys.stderr)
    return 0


def _real(what: str) -> None:
    if HERE.get().spawn is not None:
        raise RequestRefused(f"a simulated host has no {what.removeprefix('the ')}")


def _dns_args(words: list[str]) -> int:
    """What `docker run` needs for names of the overlay, where the proxy is not asked."""
    found = _client().get_json("/proxy")
    if found["resolver"]:
        _say(" ".join(dns_arguments(words, found["resolver"], found["domain"])))
    else:
        _note("this router serves no DNS: no flags are needed")
    return 0


def _stop_proxy(words: list[str]) -> int:
    from overlay.cli.proxy import stop

    if _plain(words, "stop-proxy"):
        raise Usage("stop-proxy takes no arguments")
    if not stop(HERE.get().environment):
        _note("the proxy is not running")
    return 0


def _env(words: list[str]) -> int:
    from overlay.cli.proxy import env_words

    flags = [word for word in words if word in ("--restore", "-restore")]
    if _plain([word for word in words if word not in flags], "env", ("--restore",)):
        raise Usage("env takes no arguments but --restore")
    _say(env_words(HERE.get().environment, restore=bool(flags)))
    return 0


def _config(words: list[str]) -> int:
    from overlay.cli.proxy import config_words

    if _plain(words, "config"):
        raise Usage("config takes no arguments")
    _say(config_words(HERE.get().environment))
    return 0


def _launch_dns(words: list[str]) -> int:
    for word in words:
        if not word[:1].isdigit():
            refuse_dns_flag(word)
    client = _client()
    if client.get_json("/options")["options"]["no_dns"]:
        raise RequestRefused("the router was launched with --no-dns: `weave stop`, then launch it without")
    _say("DNS is part of the router: it is running", sys.stderr)
    return 0


def _connect(words: list[str]) -> int:
    replace = [word for word in words if word in ("--replace", "-replace")]
    peers = _plain([word for word in words if word not in replace], "connect", ("--replace",))
    if not peers and not replace:
        raise Usage("connect which peer? `weave connect [--replace] PEER ...`")
    form = [("peer", peer) for peer in peers]
    _client().post("/connect", [*form, *([("replace", "true")] if replace else [])])
    return 0


def _forget(words: list[str]) -> int:
    peers = _plain(words, "forget")
    if not peers:
        raise Usage("forget which peer? `weave forget PEER ...`")
    _client().post("/forget", [("peer", peer) for peer in peers])
    return 0


def _status(words: list[str]) -> int:
    parts = _plain(words, "status")
    if len(parts) > 1:
        raise Usage(f"status takes one part, not {len(parts)}")
    if parts and parts[0] not in _PARTS:
        raise Usage(f"there is no status `{parts[0]}`{nearest(parts[0], _PARTS)}; there are {', '.join(_PARTS)}")
    sys.stdout.write(_client().get("/status" + "".join(f"/{part}" for part in parts)))
    sys.stdout.flush()
    return 0


def _check(words: list[str]) -> int:
    from overlay.cli.check import check

    told, code = check(words, _client(), HERE.get().look)
    _say(told)
    return code


def _graph(words: list[str]) -> int:
    from overlay.daemon.graph import FORMATS, graph

    rest = [word for word in words if word != "--containers"]
    language = "dot"
    if rest and rest[0].partition("=")[0] in ("-f", "--format"):
        flag, equals, language = rest[0].partition("=")
        if not equals and len(rest) == 1:
            raise Usage(f"{flag} lacks its value: dot or mermaid")
        language, rest = (language, rest[1:]) if equals else (rest[1], rest[2:])
    if language not in FORMATS:
        raise Usage(f"--format {language}: expected dot or mermaid{nearest(language, FORMATS)}")
    if _plain(rest, "graph", ("--format", "--containers")):
        raise Usage(f"graph takes no `{rest[0]}`, only --format and --containers")
    print(FORMATS[language](graph(_client().get_json("/report"), containers="--containers" in words)), flush=True)
    return 0


def _report(words: list[str]) -> int:
    template = ""
    if words and words[0].partition("=")[0] in ("-f", "--format"):
        _, equals, template = words[0].partition("=")
        if not equals and len(words) == 1:
            raise Usage(f"{words[0]} lacks its TEMPLATE")
        template, words = (template, words[1:]) if equals else (words[1], words[2:])
    if _plain(words, "report", ("-f",)):
        raise Usage("report takes no arguments but -f TEMPLATE")
    if template:
        print(_client().get(f"/report?format={_quote(template)}"), flush=True)  # the template's own words are ours
        return 0
    import json

    from overlay.daemon.original_report import views

    report = _client().get_json("/report")
    _say(clean_json(json.dumps({**report, **views(report)}, indent=2)))
    return 0


def _prime(words: list[str]) -> int:
    if _plain(words, "prime"):
        raise Usage("prime takes no arguments")
    _client().get("/ring")
    return 0


def _rmpeer(words: list[str]) -> int:
    peers = _plain(words, "rmpeer")
    if not peers:
        raise Usage("remove which peer? `weave rmpeer PEER ...` (by name or nickname)")
    for peer in peers:
        _say(_client().delete("/peer/" + _quote(peer)) or f"the addresses of {peer} are ours now")
    return 0


def _stop(words: list[str]) -> int:
    flag = "--for-restart"
    if _plain([word for word in words if word != flag], "stop", (flag,)):
        raise Usage(f"stop takes no arguments but {flag}")
    with _router_container() as held:
        try:
            _client().leave(restart=flag in words)
        except NotRunning:
            if held is None:
                _note("weave is not running")
    return 0


def _reset(words: list[str]) -> int:
    force = [word for word in words if word in ("--force", "-force")]
    if _plain([word for word in words if word not in force], "reset", ("--force",)):
        raise Usage("reset takes no arguments but --force")
    with _router_container():
        try:
            _client().leave(surrender=True)
        except NotRunning:
            pass
        except RequestRefused:
            if not force:
                raise
    here = HERE.get()
    here.clean_up()
    if here.has_units():
        _note("the router starts again at the next boot; `weave systemd remove` ends that")
    return 0


def _systemd(words: list[str]) -> int:
    from overlay.cli.systemd import systemd

    _real("the systemd")
    _say(systemd(words, HERE.get().environment))
    return 0


@contextmanager
def _router_container() -> "Iterator[ProgramContainer | None]":
    """The container that the router runs in, if it does: it does not come back, and is removed once the router left."""
    if HERE.get().spawn is not None:
        yield None
        return
    from overlay.cli.container import find

    held = find("router", HERE.get().environment)
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


# --- containers ---------------------------------------------------------------------------------------------------


def _run_container(words: list[str]) -> int:
    from overlay.cli.run import parse_run

    _say(_client().post_json("/run", parse_run(words, HERE.get().environment)))
    return 0


def _start(words: list[str]) -> int:
    flags = {"--with-dns": "true", "--without-dns": "false"}
    given = [word for word in words if word in flags]
    addresses, rest = take_addresses(_plain([word for word in words if word not in given], "start", tuple(flags)))
    container = _one(rest, "start")
    form = [("address", address) for address in addresses] + [("dns", flags[word]) for word in given]
    _say(_bare(_client().post(f"/start/{_quote(container)}", form)))
    return 0


def _attach(words: list[str]) -> int:
    forms = {
        "--without-dns": ("dns", "false"),
        "--no-multicast-route": ("multicast", "false"),
        "--rewrite-hosts": ("hosts", "true"),
        "--allow-spoofing": ("spoofing", "true"),
    }
    given = [word for word in words if word in forms]
    for word in words:
        if word.lstrip("-").partition("=")[0] == "add-host" and word.startswith("-"):
            raise Usage(
                f"{word}: the engine writes other hosts into /etc/hosts when a container is made: `docker run {word}`"
            )
    addresses, rest = take_addresses(_plain([word for word in words if word not in given], "attach", tuple(forms)))
    container = _one(rest, "attach")
    form = [("address", address) for address in addresses] + [forms[word] for word in given]
    _say(_bare(_client().post(f"/attach/{_quote(container)}", form)))
    return 0


def _detach(words: list[str]) -> int:
    addresses, rest = _given_up(words, "detach")
    container = _one(rest, "detach")
    gone = _client().post(f"/detach/{_quote(container)}", [("address", address) for address in addresses])
    return _taken(gone, f"{container} has no such address: `weave ps {container}` shows what it has")


def _given_up(words: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """The addresses that `detach` and `hide` are to take, and the rest. As in the original, none means those of the
    default subnet; `--all` says all, which the control API is told by naming none."""
    everything = [word for word in words if word in ("--all", "-all")]
    addresses, rest = take_addresses(_plain([word for word in words if word not in everything], command, ("--all",)))
    if everything and addresses:
        raise Usage(f"{command} takes --all or addresses, found both")
    return addresses or ([] if everything else ["net:default"]), rest


def _expose(words: list[str]) -> int:
    name, rest = _named(words)
    plain = "--without-masquerade"
    masquerade = [("masquerade", "false")] if plain in rest else []
    addresses, rest = take_addresses(_plain([word for word in rest if word != plain], "expose", (plain, "-h")))
    if rest:
        raise Usage(f"expose takes addresses, as a.b.c.d/n, not `{rest[0]}`")
    form = [("address", address) for address in addresses] + ([("fqdn", name)] if name else []) + masquerade
    _say(_bare(_client().post("/expose", form)))
    return 0


def _hide(words: list[str]) -> int:
    addresses, rest = _given_up(words, "hide")
    if rest:
        raise Usage(f"hide takes addresses, as a.b.c.d/n, not `{rest[0]}`")
    gone = _client().post("/hide", [("address", address) for address in addresses])
    return _taken(gone, "this host has no such address: `weave ps weave:expose` shows what it has")


def _taken(gone: str, nothing: str) -> int:
    """Addresses that were given up; that there was nothing to give up is no fault: the aim is reached."""
    if gone:
        _say(_bare(gone))
    else:
        _note(nothing)
    return 0


def _bare(addresses: str) -> str:
    """Addresses without their prefix lengths, as the original prints them."""
    return " ".join(address.partition("/")[0] for address in addresses.split())


def _ps(words: list[str]) -> int:
    query = "&".join(f"container={_quote(word)}" for word in _plain(words, "ps"))
    for entry in _client().get_json("/ps" + (f"?{query}" if query else "")):
        free = ["spoofing-allowed"] if entry.get("spoofing") else []
        _say(" ".join([entry["id"][:12], entry["mac"], *entry["addresses"], *free]))
    return 0


# --- policies -----------------------------------------------------------------------------------------------------


def _allow(words: list[str]) -> int:
    from overlay.cli.policy import change

    return change("allow", words, _client(), _say)


def _deny(words: list[str]) -> int:
    from overlay.cli.policy import change

    return change("deny", words, _client(), _say)


def _policies(words: list[str]) -> int:
    from overlay.cli.policy import policies

    return policies(words, _client(), _say)


# --- names --------------------------------------------------------------------------------------------------------


def _dns_lookup(words: list[str]) -> int:
    name = _one(_plain(words, "dns-lookup"), "dns-lookup", "NAME")
    found = _client().get_json(f"/lookup/{_quote(name)}")
    for address in found:
        _say(address)
    if not found:
        _say(f"weave: no address is known for {name}", sys.stderr)
    return 0 if found else 1


def _dns_add(words: list[str]) -> int:
    return _dns_change("dns-add", words)


def _dns_remove(words: list[str]) -> int:
    return _dns_change("dns-remove", words)


def _dns_change(command: str, words: list[str]) -> int:
    name, rest = _named(words)
    rest = _plain(rest, command, ("-h",))
    addresses = [word for word in rest if _is_literal(word)]
    containers = [word for word in rest if not _is_literal(word)]
    if len(containers) > 1 or not rest:
        raise Usage(f"expected `weave {command} [IP ...] CONTAINER [-h NAME]` or `weave {command} IP ... -h NAME`")
    if not containers and not name:
        raise Usage(f"no container is named, so a name has to be: `weave {command} IP ... -h NAME`")
    client = _client()
    container = containers[0] if containers else "weave:extern"
    if (containers and not addresses) or (containers and not name):
        entry = client.get_json(f"/ps?container={_quote(container)}")
        if not entry or not entry[0]["addresses"]:
            raise RequestRefused(f"container {container} is not attached")
        addresses = addresses or [cidr.partition("/")[0] for cidr in entry[0]["addresses"]]
        name = name or entry[0]["name"]
    for address in addresses:
        path = f"/name/{_quote(container)}/{address}?fqdn={_quote(name)}"
        if command == "dns-add":
            client.put(path)
        else:
            client.delete(path)
    return 0


def _named(words: Sequence[str]) -> tuple[str, list[str]]:
    """The NAME of `-h NAME`, and the other words."""
    name, rest = "", list(words)
    if "-h" in rest:
        at = rest.index("-h")
        if at + 1 == len(rest):
            raise Usage("-h lacks its NAME")
        name = rest[at + 1]
        del rest[at : at + 2]
    return name, rest


# --- the rest -----------------------------------------------------------------------------------------------------


def _version(words: list[str]) -> int:
    if words:
        raise Usage("version takes no arguments")
    _say(f"weave {__version__}")
    try:
        running = _client().get_json("/options")["version"]
    except (NotRunning, RequestRefused):
        return 0
    _say(f"weave router {running}")
    return 0


def _help(words: list[str]) -> int:
    topic = words[0] if words else ""
    if topic == "launch":
        from overlay.cli.launch import HELP as LAUNCH_HELP

        _say(LAUNCH_HELP)
    elif topic == "launch-proxy":
        from overlay.cli.proxy import HELP as PROXY_HELP

        _say(PROXY_HELP)
    elif topic in ("policies", "allow", "deny"):
        from overlay.cli.policy import HELP as POLICY_HELP

        _say(POLICY_HELP)
    elif topic == "check":
        from overlay.cli.check import HELP as CHECK_HELP

        _say(CHECK_HELP)
    elif topic == "systemd":
        from overlay.cli.systemd import HELP as SYSTEMD_HELP

        _say(SYSTEMD_HELP)
    elif topic == "run":
        from overlay.cli.run import HELP as RUN_HELP

        _say(RUN_HELP)
    elif not topic:
        _say(HELP)
    elif topic in _COMMANDS:
        _say("\n".join(line for line in HELP.splitlines() if line.strip().startswith(topic)) or HELP)
    else:
        refuse_command(topic)
        raise Usage(f"there is no command `{topic}`{nearest(topic, _COMMANDS)}")
    return 0


_PARTS = ("targets", "connections", "peers", "dns", "ipam", "policies")

_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "launch": _launch,
    "launch-router": _launch,
    "launch-dns": _launch_dns,
    "launch-plugin": _launch_plugin,
    "launch-proxy": _launch_proxy,
    "stop-proxy": _stop_proxy,
    "env": _env,
    "proxy-env": _env,
    "config": _config,
    "proxy-config": _config,
    "connect": _connect,
    "forget": _forget,
    "status": _status,
    "check": _check,
    "graph": _graph,
    "report": _report,
    "run": _run_container,
    "start": _start,
    "attach": _attach,
    "detach": _detach,
    "ps": _ps,
    "expose": _expose,
    "hide": _hide,
    "dns-add": _dns_add,
    "dns-remove": _dns_remove,
    "dns-lookup": _dns_lookup,
    "dns-args": _dns_args,
    "allow": _allow,
    "deny": _deny,
    "policies": _policies,
    "prime": _prime,
    "rmpeer": _rmpeer,
    "stop": _stop,
    "stop-router": _stop,
    "setup": _setup,
    "bridge-type": _bridge_type,
    "docker-bridge-ip": _docker_bridge_ip,
    "systemd": _systemd,
    "reset": _reset,
    "version": _version,
    "help": _help,
}


def _plain(words: Sequence[str], command: str, flags: Sequence[str] = ()) -> list[str]:
    """The words, none of which may be a flag."""
    for word in words:
        if word.startswith("-") and len(word) > 1:
            known = f", only {' '.join(flags)}" if flags else ""
            raise Usage(f"{command} has no flag `{word}`{nearest(word, flags) or known}")
    return list(words)


def _one(words: Sequence[str], command: str, what: str = "CONTAINER") -> str:
    if len(words) != 1:
        found = f"{len(words)} of them: {' '.join(words)}" if words else "none"
        raise Usage(f"{command} takes one {what}, found {found}")
    return words[0]


def _is_literal(word: str) -> bool:
    return (word.replace(".", "").isdigit() and word.count(".") == 3) or (":" in word and not word.startswith("weave:"))


def _quote(word: str) -> str:
    from urllib.parse import quote

    return quote(word, safe="")


if __name__ == "__main__":
    sys.exit(main())

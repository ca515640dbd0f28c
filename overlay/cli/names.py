"""Commands about DNS names."""

import json

from overlay.cli.client import RequestRefused
from overlay.cli.environment import CommandEnvironment
from overlay.cli.line_files import lines_of
from overlay.cli.original import dns_arguments
from overlay.cli.words import Usage, is_literal, named, one, plain, quoted

__all__ = ["dns_add", "dns_args", "dns_lookup", "dns_remove"]


async def dns_lookup(here: CommandEnvironment, words: list[str]) -> int:
    """Print the addresses of a name."""
    name = one(plain(words, "dns-lookup"), "dns-lookup", "NAME")
    found = await here.client.get_json(f"/lookup/{quoted(name)}")
    for address in found:
        here.say(address)
    if not found:
        here.complain(f"weave: no address is known for {name}")
    return 0 if found else 1


async def dns_add(here: CommandEnvironment, words: list[str]) -> int:
    """Add a name."""
    return await _change(here, "dns-add", words)


async def dns_remove(here: CommandEnvironment, words: list[str]) -> int:
    """Remove a name."""
    return await _change(here, "dns-remove", words)


async def _change(here: CommandEnvironment, command: str, words: list[str]) -> int:
    if "--from" in words:
        return await _change_all(here, command, words)
    name, rest = named(words)
    rest = plain(rest, command, ("-h", "--from"))
    addresses = [word for word in rest if is_literal(word)]
    containers = [word for word in rest if not is_literal(word)]
    if len(containers) > 1 or not rest:
        raise Usage(f"expected `weave {command} [IP ...] CONTAINER [-h NAME]` or `weave {command} IP ... -h NAME`")
    if not containers and not name:
        raise Usage(f"no container is named, so a name has to be: `weave {command} IP ... -h NAME`")
    client = here.client
    container = containers[0] if containers else "weave:extern"
    if (containers and not addresses) or (containers and not name):
        entry = await client.get_json("/ps", [("container", container)])
        if not entry or not entry[0]["addresses"]:
            raise RequestRefused(f"container {container} is not attached")
        addresses = addresses or [cidr.partition("/")[0] for cidr in entry[0]["addresses"]]
        name = name or entry[0]["name"]
    for address in addresses:
        method = "PUT" if command == "dns-add" else "DELETE"
        await client.ask(method, f"/name/{quoted(container)}/{address}", [("fqdn", name)])
    return 0


async def _change_all(here: CommandEnvironment, command: str, words: list[str]) -> int:
    """Send a file of names as it is; the daemon reads it."""
    if len(words) != 2 or words[0] != "--from":
        raise Usage(f"expected `weave {command} --from FILE` and nothing else (FILE `-`: standard input)")
    here.refuse_simulated("files of names; there, `weave dns-add IP ... -h NAME` adds one name")
    text = lines_of(words[1], "10.2.1.9 printer.weave.local")
    done = json.loads(await here.client.ask("POST" if command == "dns-add" else "DELETE", "/names", lines=text))
    here.say(", ".join(f"{count} {word}" for word, count in done.items() if word != "entries"))
    return 0


async def dns_args(here: CommandEnvironment, words: list[str]) -> int:
    """What `docker run` needs for names of the overlay, where the proxy is not asked."""
    found = await here.client.get_json("/proxy")
    if found["resolver"]:
        here.say(" ".join(dns_arguments(words, found["resolver"], found["domain"])))
    else:
        here.note("this router serves no DNS: no flags are needed")
    return 0

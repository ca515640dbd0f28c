"""Commands about containers on the overlay, and this host itself on it."""

from collections.abc import Sequence

from overlay.cli.environment import CommandEnvironment
from overlay.cli.words import Usage, named, one, plain, quoted, take_addresses

__all__ = ["attach", "detach", "expose", "hide", "ps", "run_container", "start"]


async def run_container(here: CommandEnvironment, words: list[str]) -> int:
    """Start a container on the overlay."""
    from overlay.cli.run import parse_run

    here.say(await here.client.post_json("/run", parse_run(words, here.environment)))
    return 0


async def start(here: CommandEnvironment, words: list[str]) -> int:
    """Start a stopped container on the overlay."""
    flags = {"--with-dns": "true", "--without-dns": "false"}
    given = [word for word in words if word in flags]
    addresses, rest = take_addresses(plain([word for word in words if word not in given], "start", tuple(flags)))
    container = one(rest, "start")
    form = [("address", address) for address in addresses] + [("dns", flags[word]) for word in given]
    here.say(_bare(await here.client.post(f"/start/{quoted(container)}", form)))
    return 0


async def attach(here: CommandEnvironment, words: list[str]) -> int:
    """Put a running container on the overlay."""
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
    addresses, rest = take_addresses(plain([word for word in words if word not in given], "attach", tuple(forms)))
    container = one(rest, "attach")
    form = [("address", address) for address in addresses] + [forms[word] for word in given]
    here.say(_bare(await here.client.post(f"/attach/{quoted(container)}", form)))
    return 0


async def detach(here: CommandEnvironment, words: list[str]) -> int:
    """Take addresses from a container."""
    addresses, rest = _given_up(words, "detach")
    container = one(rest, "detach")
    gone = await here.client.post(f"/detach/{quoted(container)}", [("address", address) for address in addresses])
    return _taken(here, gone, f"{container} has no such address: `weave ps {container}` shows what it has")


def _given_up(words: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """The addresses that `detach` and `hide` are to remove, and the remaining words. As in the original, no address
    means those of the default subnet; `--all` means all, for which the request to the control API names no address."""
    everything = [word for word in words if word in ("--all", "-all")]
    addresses, rest = take_addresses(plain([word for word in words if word not in everything], command, ("--all",)))
    if everything and addresses:
        raise Usage(f"{command} takes --all or addresses, found both")
    return addresses or ([] if everything else ["net:default"]), rest


async def expose(here: CommandEnvironment, words: list[str]) -> int:
    """Put this host on the overlay."""
    name, rest = named(words)
    flag = "--without-masquerade"
    masquerade = [("masquerade", "false")] if flag in rest else []
    addresses, rest = take_addresses(plain([word for word in rest if word != flag], "expose", (flag, "-h")))
    if rest:
        raise Usage(f"expose takes addresses, as a.b.c.d/n, not `{rest[0]}`")
    form = [("address", address) for address in addresses] + ([("fqdn", name)] if name else []) + masquerade
    here.say(_bare(await here.client.post("/expose", form)))
    return 0


async def hide(here: CommandEnvironment, words: list[str]) -> int:
    """Take addresses from this host."""
    addresses, rest = _given_up(words, "hide")
    if rest:
        raise Usage(f"hide takes addresses, as a.b.c.d/n, not `{rest[0]}`")
    gone = await here.client.post("/hide", [("address", address) for address in addresses])
    return _taken(here, gone, "this host has no such address: `weave ps weave:expose` shows what it has")


def _taken(here: CommandEnvironment, gone: str, nothing: str) -> int:
    """Print the removed addresses. It is not an error if there were none, because the result is the same."""
    if gone:
        here.say(_bare(gone))
    else:
        here.note(nothing)
    return 0


def _bare(addresses: str) -> str:
    """Addresses without prefix lengths, as the original prints them."""
    return " ".join(address.partition("/")[0] for address in addresses.split())


async def ps(here: CommandEnvironment, words: list[str]) -> int:
    """Print attached containers."""
    for entry in await here.client.get_json("/ps", [("container", word) for word in plain(words, "ps")]):
        free = ["spoofing-allowed"] if entry.get("spoofing") else []
        here.say(" ".join([entry["id"][:12], entry["mac"], *entry["addresses"], *free]))
    return 0

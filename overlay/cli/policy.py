"""`weave allow`, `deny` and `policies`: words in, requests to the daemon out.

The daemon interprets the words (`overlay.policy`), in the same way on all hosts.
"""

from collections.abc import Sequence

from overlay.cli.environment import CommandEnvironment
from overlay.cli.words import Usage, nearest

__all__ = ["HELP", "allow", "deny", "policies"]

HELP = """\
Usage: weave allow [--force | --remove] [from X] [to Y[:PORTS][/PROTOCOL]]
       weave deny  [--force | --remove] [from X] [to Y[:PORTS][/PROTOCOL]]
       weave policies [--explain X Y[:PORT][/PROTOCOL] | --remove N ... | --remove all]

X and Y: NAME (of a container: the engine's name, or its DNS name), KEY=VALUE (its label), an address or a subnet,
peer:NAME (all containers of a host), all (also what leaving it out means). PORTS: 80, 80,443, 8000-8100, of TCP and UDP
where no PROTOCOL (tcp, udp, icmp) is named.

  weave deny to db                       nobody may open anything to db ...
  weave allow from web to db:5432        ... but web may open its port 5432
  weave policies --explain web db:5432   which policy decides

The most specific policy decides: by destination first, then source, then port. A name (or one address) is more
specific than a label, a label than a subnet, a subnet than a host, a host than all. Of two equally specific ones deny
decides. Who opens a connection counts: its answers pass. Policies are the same on all hosts.
--force sets a policy that names nobody yet, contradicts another, or has no effect; --remove takes one back."""


async def allow(here: CommandEnvironment, words: list[str]) -> int:
    """Say which container may talk to which."""
    return await _change(here, "allow", words)


async def deny(here: CommandEnvironment, words: list[str]) -> int:
    """Say who may not."""
    return await _change(here, "deny", words)


async def _change(here: CommandEnvironment, verb: str, words: list[str]) -> int:
    """Set a policy, or remove it."""
    flags = ("--force", "--remove")
    given = [word for word in words if word in flags]
    rest = _plain([word for word in words if word not in flags], verb, flags)
    if len(given) > 1:
        raise Usage(f"{verb} takes --force or --remove, not both")
    pairs: dict[str, str] = {}
    if len(rest) % 2 or not rest:
        raise Usage(f"expected `weave {verb} from X to Y[:PORT]`, found `{' '.join(rest)}`")
    for key, value in zip(rest[::2], rest[1::2], strict=True):
        if key not in ("from", "to"):
            raise Usage(f"expected `weave {verb} from X to Y`, found `{key}`{nearest(key, ('from', 'to'))}")
        if key in pairs:
            raise Usage(f"{verb} takes one `{key}`: set a policy for each")
        pairs[key] = value
    if "--remove" in given:
        here.say(await here.client.delete(f"/policy/{verb}", list(pairs.items())))
    else:
        force = [("force", "true")] if given else []
        here.say(await here.client.post(f"/policy/{verb}", [*pairs.items(), *force]))
    return 0


async def policies(here: CommandEnvironment, words: list[str]) -> int:
    """Print the table, say which policy decides, or take policies back by number."""
    client = here.client
    if not words:
        here.say((await client.get("/status/policies")).rstrip("\n"))
        return 0
    flag, rest = words[0], list(words[1:])
    if flag == "--explain":
        if len(rest) != 2:
            raise Usage(f"expected `weave policies --explain X Y[:PORT]`, found {len(rest)} words behind --explain")
        here.say(await client.get("/policy/explain", [("from", rest[0]), ("to", rest[1])]))
        return 0
    if flag == "--remove":
        if rest == ["all"]:
            removed = await client.delete("/policy", [("all", "true")])
        else:
            wrong = next((word for word in rest if not (word.isascii() and word.isdigit())), None)
            if wrong is not None or not rest:
                raise Usage(f"expected `weave policies --remove N ...` or `all`, found `{wrong or ''}`")
            removed = await client.delete("/policy", [("number", word) for word in rest])
        if removed:
            here.say(removed)
        return 0
    known = ("--explain", "--remove")
    raise Usage(f"policies takes no `{flag}`{nearest(flag, known) or ', only ' + ' and '.join(known)}")


def _plain(words: Sequence[str], verb: str, flags: Sequence[str]) -> list[str]:
    for word in words:
        if word.startswith("-"):
            raise Usage(f"{verb} has no flag `{word}`{nearest(word, flags) or ', only ' + ' '.join(flags)}")
    return list(words)

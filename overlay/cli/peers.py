"""Commands about other peers: dial them, forget them, take over from those that are gone."""

from overlay.cli.environment import CommandEnvironment
from overlay.cli.words import Usage, plain, quoted

__all__ = ["connect", "forget", "prime", "rmpeer"]


async def connect(here: CommandEnvironment, words: list[str]) -> int:
    """Dial peers."""
    replace = [word for word in words if word in ("--replace", "-replace")]
    peers = plain([word for word in words if word not in replace], "connect", ("--replace",))
    if not peers and not replace:
        raise Usage("connect which peer? `weave connect [--replace] PEER ...`")
    form = [("peer", peer) for peer in peers]
    await here.client.post("/connect", [*form, *([("replace", "true")] if replace else [])])
    return 0


async def forget(here: CommandEnvironment, words: list[str]) -> int:
    """Stop dialling peers."""
    peers = plain(words, "forget")
    if not peers:
        raise Usage("forget which peer? `weave forget PEER ...`")
    await here.client.post("/forget", [("peer", peer) for peer in peers])
    return 0


async def prime(here: CommandEnvironment, words: list[str]) -> int:
    """Wait until addresses can be given out."""
    if plain(words, "prime"):
        raise Usage("prime takes no arguments")
    await here.client.get("/ring")
    return 0


async def rmpeer(here: CommandEnvironment, words: list[str]) -> int:
    """Take over the addresses of peers."""
    peers = plain(words, "rmpeer")
    if not peers:
        raise Usage("remove which peer? `weave rmpeer PEER ...` (by name or nickname)")
    for peer in peers:
        here.say(await here.client.delete("/peer/" + quoted(peer)) or f"the addresses of {peer} are ours now")
    return 0

"""`weave ip-claim` and `ip-release`: addresses of owners that the router does not attach, one or a file of them.

A line of such a file has the same words as the command, and what `ip-claim` prints is a file for `ip-release`. The
daemon reads the lines, does all or none of them, and names bad ones by their numbers.
"""

import json

from overlay.cli.environment import CommandEnvironment
from overlay.cli.line_files import lines_of
from overlay.cli.words import Usage, plain

__all__ = ["ip_claim", "ip_release"]

_SHOWN = 20
"""Lines without effect that are named; the others are counted."""


async def ip_claim(here: CommandEnvironment, words: list[str]) -> int:
    """Claim addresses; prints owner and address of each."""
    lines = _lines(here, "ip-claim", words, "[ADDRESS]")
    for entry in json.loads(await here.client.ask("POST", "/ips", lines=lines))["entries"]:
        here.say(" ".join([entry["container"], *entry["addresses"]]))
    return 0


async def ip_release(here: CommandEnvironment, words: list[str]) -> int:
    """Release addresses; says how many, and which lines had no effect."""
    lines = _lines(here, "ip-release", words, "[IP]")
    entries = json.loads(await here.client.ask("DELETE", "/ips", lines=lines))["entries"]
    idle = [entry["container"] for entry in entries if not entry["addresses"]]
    for container in idle[:_SHOWN]:
        here.note(f"{container} has no such address")
    if len(idle) > _SHOWN:
        here.note(f"nor have {len(idle) - _SHOWN} more")
    here.say(f"{sum(len(entry['addresses']) for entry in entries)} released, {len(idle)} unknown")
    return 0


def _lines(here: CommandEnvironment, command: str, words: list[str], address: str) -> str:
    if words[:1] == ["--from"]:
        if len(words) != 2:
            raise Usage(f"expected `weave {command} --from FILE` and nothing else (FILE `-`: standard input)")
        here.refuse_simulated("files of addresses; there, `weave attach CONTAINER` gives a container its address")
        return lines_of(words[1], "web 10.2.1.3/24" if command == "ip-claim" else "web 10.2.1.3")
    found = plain(words, command, ("--from",))
    if not 1 <= len(found) <= 2 or any(not word or word.split() != [word] for word in found):
        raise Usage(f"expected `weave {command} CONTAINER {address}` or `weave {command} --from FILE`")
    here.refuse_simulated("owners other than containers; there, `weave attach CONTAINER` gives an address")
    return " ".join(found)

"""Commands that show what the router knows: status, check, graph, report."""

from overlay.clean import clean_json
from overlay.cli.environment import CommandEnvironment
from overlay.cli.words import Usage, nearest, plain

__all__ = ["PARTS", "check", "graph", "report", "status"]

PARTS = ("targets", "connections", "peers", "dns", "ipam", "policies")


async def status(here: CommandEnvironment, words: list[str]) -> int:
    """Print the status, or a part of it."""
    parts = plain(words, "status")
    if len(parts) > 1:
        raise Usage(f"status takes one part, not {len(parts)}")
    if parts and parts[0] not in PARTS:
        raise Usage(f"there is no status `{parts[0]}`{nearest(parts[0], PARTS)}; there are {', '.join(PARTS)}")
    here.write(await here.client.get("/status" + "".join(f"/{part}" for part in parts)))
    return 0


async def check(here: CommandEnvironment, words: list[str]) -> int:
    """Print what is wrong here."""
    from overlay.cli.check import check as checked

    told, code = await checked(words, here)
    here.say(told)
    return code


async def graph(here: CommandEnvironment, words: list[str]) -> int:
    """Print the peers as a graph."""
    from overlay.daemon.graph import FORMATS
    from overlay.daemon.graph import graph as drawn

    rest = [word for word in words if word != "--containers"]
    language = "dot"
    if rest and rest[0].partition("=")[0] in ("-f", "--format"):
        flag, equals, language = rest[0].partition("=")
        if not equals and len(rest) == 1:
            raise Usage(f"{flag} lacks its value: dot or mermaid")
        language, rest = (language, rest[1:]) if equals else (rest[1], rest[2:])
    if language not in FORMATS:
        raise Usage(f"--format {language}: expected dot or mermaid{nearest(language, FORMATS)}")
    if plain(rest, "graph", ("--format", "--containers")):
        raise Usage(f"graph takes no `{rest[0]}`, only --format and --containers")
    report = await here.client.get_json("/report")
    here.write(FORMATS[language](drawn(report, containers="--containers" in words)) + "\n")
    return 0


async def report(here: CommandEnvironment, words: list[str]) -> int:
    """Print the report, or what a template takes out of it."""
    template = ""
    if words and words[0].partition("=")[0] in ("-f", "--format"):
        _, equals, template = words[0].partition("=")
        if not equals and len(words) == 1:
            raise Usage(f"{words[0]} lacks its TEMPLATE")
        template, words = (template, words[1:]) if equals else (words[1], words[2:])
    if plain(words, "report", ("-f",)):
        raise Usage("report takes no arguments but -f TEMPLATE")
    if template:
        # The template is our own text, not foreign.
        here.write(await here.client.get("/report", [("format", template)]) + "\n")
        return 0
    import json

    from overlay.daemon.original_report import views

    found = await here.client.get_json("/report")
    here.say(clean_json(json.dumps({**found, **views(found)}, indent=2)))
    return 0

"""`weave completion`: the scripts with which a shell completes the words of `weave`, and the offered words.

Owns both sides: the scripts pass the words typed so far to `weave completion offer WORD ...`, which prints every word
that can replace the last one. Asks a running router for peers and policies. Never fails and never starts anything,
because the user is in the middle of a line.
"""

from collections.abc import Collection, Iterable

from overlay.cli.environment import CommandEnvironment
from overlay.cli.words import Usage
from overlay.errors import OverlayError

__all__ = ["SCRIPTS", "complete"]

_BASH = """\
_weave_completion() {
    local IFS=$'\\n'
    COMPREPLY=($(weave completion offer "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _weave_completion weave"""
_ZSH = """\
#compdef weave
_weave_completion() {
    local -a found
    found=("${(@f)$(weave completion offer "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -a found
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _weave_completion "$@"
else
    compdef _weave_completion weave
fi"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH}
_PEERS = ("connect", "forget", "rmpeer")


async def complete(here: CommandEnvironment, words: list[str], known: Collection[str]) -> int:
    """Print a script, or the offered words. `known`: all commands."""
    if words[:1] == ["offer"]:
        typed = words[-1] if len(words) > 1 else ""
        for word in await _offered(here, words[1:-1], known):
            if word.startswith(typed):
                here.say(word)
        return 0
    if len(words) != 1 or words[0] not in SCRIPTS:
        raise Usage("completion for which shell? Type `weave completion bash` or `weave completion zsh`")
    here.write(SCRIPTS[words[0]] + "\n")
    return 0


async def _offered(here: CommandEnvironment, before: list[str], known: Collection[str]) -> Iterable[str]:
    """All words that can follow these."""
    if not before:
        return sorted(known)
    if before[0] == "status":
        from overlay.cli.show import PARTS

        return PARTS if len(before) == 1 else ()
    if before[0] == "help":
        return sorted(known) if len(before) == 1 else ()
    if before[0] == "completion":
        return SCRIPTS if len(before) == 1 else ()
    if before[0] in _PEERS:
        return await _peers(here)
    if before[0] == "launch":
        from overlay.cli.launch_flags import known_flags

        return sorted(f"--{flag}" for flag in known_flags())
    return ()


async def _peers(here: CommandEnvironment) -> list[str]:
    try:
        report = await here.client.get_json("/report")
    except (OverlayError, OSError):
        return []  # no router is running
    return sorted({str(peer["nickname"]) for peer in report["mesh"]["peers"]})

"""Manual pages in roff, generated from the definitions of the commands: `python -m lab.cli.man FOLDER`, or `make man`.

Owns the form of the pages. The content of `lab.1` comes from click's definitions in `lab.cli`, that of `weave.1` from
the help texts of the `weave` command, so that nothing is written twice. They contain no date and no version: the same
definitions give the same bytes.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from lab.cli import lab as lab_group
from lab.records.store import replace_file
from overlay.cli.examples import EXAMPLES
from overlay.cli.help import HELP, TOPICS, own_help

__all__ = ["lab_page", "pages", "weave_page"]

_LEADING = re.compile(r"^(?=[.'])", re.MULTILINE)
_LAB_EXIT = (
    ("0", "valid, or done"),
    ("1", "invalid: the answer is no"),
    ("2", "wrong usage, a scenario with errors, or something that the lab refuses"),
    ("3", "unknown: interrupted, cut short, or not to be told"),
)
_WEAVE_EXIT = (("0", "done"), ("1", "failed; the reason is on standard error"), ("2", "wrong usage"))


def pages() -> dict[str, str]:
    """File name -> page, for all pages."""
    return {"lab.1": lab_page(), "weave.1": weave_page()}


def lab_page() -> str:
    """The page of `lab`."""
    lines = [*_head("lab", "test lab and simulator for container overlay networks")]
    lines += [".SH SYNOPSIS", ".B lab", "\\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]"]
    lines += [".SH DESCRIPTION", *_prose(lab_group.help or ""), ".SH COMMANDS"]
    for words, command in commands(lab_group):
        lines += _command(["lab", *words], command)
    lines += [*_exit(_LAB_EXIT), ".SH ENVIRONMENT"]
    for variable, option in sorted(_variables(lab_group).items()):
        lines += [".TP", f".B {_text(variable)}", f"the default of {_text(option)}"]
    lines += [".SH FILES", ".TP", ".I reports/SCENARIO/TIME/"]
    lines += ["what a run leaves: history, summary, report", ".TP", ".I reports/index.html", "the page of all runs"]
    return _whole([*lines, ".SH SEE ALSO", ".BR weave (1)"])


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every executable command with the words that lead to it, sorted by name."""
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


def _command(words: Sequence[str], command: click.Command) -> list[str]:
    context = click.Context(command, info_name=words[-1])
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f".SS {_text(' '.join(words))}", f"\\fB{_text(' '.join(words))}\\fR {_text(usage)}", ".PP"]
    lines += _prose(command.help or "")
    for param in command.get_params(context):
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None and "--help" not in param.opts:
            flag, does = record
            lines += [".TP", f".B {_text(flag)}", _text(does)]
    if command.epilog:
        lines += [".PP", *_examples(command.epilog)]
    return lines


def _variables(group: click.Group) -> dict[str, str]:
    """Environment variables and their options."""
    return {
        param.envvar: param.opts[0]
        for _, command in commands(group)
        for param in command.params
        if isinstance(param.envvar, str)
    }


def weave_page() -> str:
    """The page of `weave`."""
    lines = [*_head("weave", "container overlay network in the style of Weave Net")]
    lines += [
        ".SH SYNOPSIS",
        ".B weave",
        "\\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *_verbatim(HELP),
    ]
    for module, name in {module: name for name, module in reversed(TOPICS.items())}.items():
        lines += [f".SH {_text(name.upper())}", *_verbatim(own_help(module))]
    lines += [".SH EXAMPLES", *_verbatim("\n".join(line for each in EXAMPLES.values() for line in each))]
    return _whole([*lines, *_exit(_WEAVE_EXIT), ".SH SEE ALSO", ".BR lab (1)"])


def _head(name: str, what: str) -> list[str]:
    return [f'.TH {name.upper()} 1 "" "overlay-lab" "overlay-lab"', ".SH NAME", f"{name} \\- {what}"]


def _exit(codes: Sequence[tuple[str, str]]) -> list[str]:
    lines = [".SH EXIT STATUS"]
    for code, means in codes:
        lines += [".TP", f".B {code}", _text(means)]
    return lines


def _prose(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        lines += [".PP"] if lines else []
        lines.append(_text(" ".join(paragraph.split())))
    return lines


def _examples(epilog: str) -> list[str]:
    first, *rest = [line for line in epilog.splitlines() if line.strip() not in ("", "\b")]
    return [_text(first.strip()), *_verbatim("\n".join(line.strip() for line in rest))]


def _verbatim(text: str) -> list[str]:
    return [".PP", ".nf", ".RS 4", *map(_text, text.strip("\n").splitlines()), ".RE", ".fi"]


def _text(text: str) -> str:
    """Text escaped for roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("→", "\\(->")
    return _LEADING.sub("\\\\&", escaped)


def _whole(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Write every page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        replace_file(folder / name, text.encode())


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "man"))

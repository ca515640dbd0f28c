"""What a line for `sh -c` means on a simulated host: lists of pipelines of commands with redirections, and no more.

Owns the syntax, and which of it is not simulated; pure. It must not know what a command does. The grammar is that of
the POSIX shell (IEEE 1003.1, 2.10) without expansions, compound commands, background jobs and here-documents.
"""

from msgspec import Struct

__all__ = ["Item", "NotSimulated", "Redirect", "ShellCommand", "commands", "parse"]

_COMPOUND = {"if", "for", "while", "until", "case", "function", "{", "}", "!", "then", "do", "done", "fi", "esac"}
_BLANK = " \t"


class NotSimulated(Exception):
    """The line needs more of a shell than there is; the text says what."""


class Redirect(Struct, frozen=True):
    """`2>>file`: descriptor, operator (`<`, `>`, `>>`, `>&`), file or descriptor."""

    fd: int
    how: str
    target: str


class ShellCommand(Struct, frozen=True):
    """One command: its words, and where its input and output go."""

    argv: tuple[str, ...]
    redirects: tuple[Redirect, ...] = ()


class Item(Struct, frozen=True):
    """One pipeline, and when it is run: always (empty), if the one before succeeded (`&&`) or failed (`||`)."""

    when: str
    pipeline: tuple[ShellCommand, ...]


class _Word(Struct, frozen=True):
    text: str
    quoted: bool


class _Operator(Struct, frozen=True):
    text: str


_Token = _Word | _Operator


def parse(line: str) -> tuple[Item, ...]:
    """The meaning of a line; raises `NotSimulated`."""
    items: list[Item] = []
    when = ""
    pipeline: list[ShellCommand] = []
    words: list[str] = []
    redirects: list[Redirect] = []
    tokens = _tokens(line)
    position = 0

    def command(end: str) -> None:
        if not words:
            raise NotSimulated(f"a redirection or `{end or 'the end'}` without a command before it")
        pipeline.append(ShellCommand(tuple(words), tuple(redirects)))
        words.clear()
        redirects.clear()

    while position < len(tokens):
        token = tokens[position]
        position += 1
        if isinstance(token, _Word):
            if not words and not token.quoted:
                if token.text in _COMPOUND:
                    raise NotSimulated(f"`{token.text}`: simulated hosts know single commands only, no compound ones")
                if "=" in token.text and token.text.partition("=")[0].isidentifier():
                    raise NotSimulated(f"`{token.text}`: simulated hosts have no shell variables")
            words.append(token.text)
        elif token.text[-1] in "<>&" and token.text not in ("&&", "&"):
            target = tokens[position] if position < len(tokens) else None
            if not isinstance(target, _Word):
                raise NotSimulated(f"`{token.text}` without a file")
            position += 1
            digits = token.text.rstrip("<>&")
            how = token.text[len(digits) :]
            redirects.append(Redirect(int(digits) if digits else int(how != "<"), how, target.text))
        elif token.text == "|":
            command("|")
        elif token.text in ("&&", "||", ";", "\n"):
            if not words and not pipeline and token.text == "\n":
                continue
            command(token.text)
            items.append(Item(when, tuple(pipeline)))
            pipeline.clear()
            when = token.text if token.text in ("&&", "||") else ""
        else:
            raise NotSimulated(f"`{token.text}`: simulated hosts have no background jobs and no subshells")
    if words or pipeline or redirects or when:
        command("")
        items.append(Item(when, tuple(pipeline)))
    return tuple(items)


def commands(items: tuple[Item, ...]) -> list[ShellCommand]:
    """All commands of a line, in their order."""
    return [command for item in items for command in item.pipeline]


def _tokens(line: str) -> list[_Token]:
    tokens: list[_Token] = []
    word: list[str] = []
    begun = quoted = False
    position = 0

    def end() -> None:
        nonlocal begun, quoted
        if begun:
            tokens.append(_Word("".join(word), quoted))
        word.clear()
        begun = quoted = False

    while position < len(line):
        char = line[position]
        if char == "'":
            close = line.find("'", position + 1)
            if close < 0:
                raise NotSimulated("a quote that is not closed")
            word.append(line[position + 1 : close])
            begun = quoted = True
            position = close + 1
        elif char == '"':
            text, position = _double(line, position + 1)
            word.append(text)
            begun = quoted = True
        elif char == "\\":
            if position + 1 < len(line) and line[position + 1] != "\n":
                word.append(line[position + 1])
                begun = quoted = True
            position += 2
        elif char in _BLANK:
            end()
            position += 1
        elif char == "#" and not begun:
            newline = line.find("\n", position)
            position = newline if newline >= 0 else len(line)
        elif char in "|&;<>()\n":
            # A digit directly before a redirection is its descriptor.
            digits = "".join(word) if char in "<>" and begun and not quoted and "".join(word).isdigit() else ""
            if digits:
                word.clear()
                begun = False
            end()
            operator = _operator(line, position)
            tokens.append(_Operator(digits + operator))
            position += len(operator)
        elif char == "`" or (char == "$" and _expands(line, position)):
            raise NotSimulated(f"`{line[position : position + 12]}`: simulated hosts expand nothing")
        elif char == "[" and not begun and line[position + 1 : position + 2] in (*_BLANK, ""):
            word.append(char)  # the command of that name
            begun = True
            position += 1
        elif char in "*?[" or (char == "~" and not begun):
            raise NotSimulated(f"an unquoted `{char}`: simulated hosts expand nothing; quote it to mean the character")
        else:
            word.append(char)
            begun = True
            position += 1
    end()
    return tokens


def _double(line: str, position: int) -> tuple[str, int]:
    """The text of a word in double quotes from `position` on, and the position behind it."""
    text: list[str] = []
    while position < len(line):
        char = line[position]
        if char == '"':
            return "".join(text), position + 1
        if char == "\\" and line[position + 1 : position + 2] in ('"', "\\", "$", "`"):
            position += 1
            char = line[position]
        elif char == "`" or (char == "$" and _expands(line, position)):
            raise NotSimulated(f"`{line[position : position + 12]}`: simulated hosts expand nothing")
        text.append(char)
        position += 1
    raise NotSimulated("a quote that is not closed")


def _expands(line: str, position: int) -> bool:
    following = line[position + 1 : position + 2]
    return following != "" and (following.isalnum() or following in "_({?!@*#$-")


def _operator(line: str, position: int) -> str:
    for operator in ("<<", "&&", "||", ">>", ">&", "<&", "|", "&", ";", "<", ">", "(", ")", "\n"):
        if line.startswith(operator, position):
            if operator in ("<<", "<&"):
                raise NotSimulated(f"`{operator}`: simulated hosts have no here-documents")
            return operator
    raise AssertionError(line[position:])

"""Wraps the lines of README.md and docs/*.md at 100 columns: `python tests/docs_lines.py` (`make docs-lines`).

Only blocks with a longer line change. Tables, code, headings and words that are longer by themselves stay as they
are, and what stands in backticks is not broken.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
WIDTH = 100
_ITEM = re.compile(r"( *)([-*+]|\d+\.) +")
_OTHER = ("|", "#", "<", "    ", "[", ">", "---")
"""How lines begin that are no prose."""
_TOKENS = re.compile(r"(?:`+[^`]+`+|[^\s`]|`)+")
_OPENS = re.compile(r"([-*+#>|]|\d+[.)]|<.*|`{3,}.*|~{3,}.*|=+)$")
"""A word that must not begin a line, because the line would then be something else."""


def pages() -> list[Path]:
    """All pages whose lines count."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def too_long(text: str) -> list[str]:
    """The lines that are too long, and could be shorter.

    >>> too_long(f"| {'x ' * 60} |"), too_long("https://example.org/" + "x" * 100), len(too_long("many words " * 12))
    ([], [], 1)
    >>> too_long("```\\n" + "code " * 30 + "\\n```")
    []
    """
    return [line for block, prose in _blocks(text) if prose for line in block if _is_long(line)]


def wrapped(text: str) -> str:
    """The text with no line too long.

    >>> print(wrapped("- " + "word " * 24 + "`do not break`"))
    - word word word word word word word word word word word word word word word word word word word
      word word word word word `do not break`
    """
    return "\n".join(
        line
        for block, prose in _blocks(text)
        for line in (_wrap(block) if prose and any(map(_is_long, block)) else block)
    )


def _blocks(text: str) -> list[tuple[list[str], bool]]:
    """Lines that belong together, and whether they are prose: a paragraph, an item of a list, or any other line."""
    blocks: list[tuple[list[str], bool]] = []
    fenced = grows = False
    for line in text.split("\n"):
        fence = line.lstrip().startswith(("```", "~~~"))
        item = _ITEM.match(line)
        inner = grows and line.startswith("    ") and not fence and _ITEM.match(blocks[-1][0][0]) is not None
        if fenced or fence or not line.strip() or (line.startswith(_OTHER) and not inner):
            fenced ^= fence
            blocks.append(([line], False))
            grows = False
        elif grows and not item:
            blocks[-1][0].append(line)
        else:
            blocks.append(([line], True))
            grows = True
    return blocks


def _is_long(line: str) -> bool:
    return len(line) > WIDTH and len(_TOKENS.findall(line)) > 1


def _wrap(block: list[str]) -> list[str]:
    item = _ITEM.match(block[0])
    first = item[0] if item else ""
    indent = " " * len(first)
    words: list[str] = []
    for word in _TOKENS.findall(" ".join([block[0][len(first) :], *block[1:]])):
        if words and _OPENS.match(word):
            words[-1] += f" {word}"
        else:
            words.append(word)
    lines, line = [], first
    for word in words:
        begun = line.strip() and line != first
        if begun and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = indent + word
        else:
            line = f"{line} {word}" if begun else line + word
    return [*lines, line]


def main() -> None:
    """Wrap all pages in place."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (fresh := wrapped(text)) != text:
            page.write_text(fresh, encoding="utf-8")
            print(f"wrapped {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

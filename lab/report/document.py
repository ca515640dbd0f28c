"""The frame of a page without scripts: its head with the reports' style, and its body.

Owns what such pages have in common. Must not know what they show.
"""

from html import escape
from pathlib import Path

from overlay.clean import clean

__all__ = ["document", "foreign"]

_STYLE = Path(__file__).parent / "page.css"
_MOST = 600


def document(title: str, body: str, *, style: str = "", head: str = "") -> str:
    """The whole page. `title` is plain text, `body` HTML, `style` CSS after that of all reports, `head` lines of HTML
    below the charset."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{head}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{foreign(title)}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


def foreign(text: str) -> str:
    """Text from an overlay or a run, as HTML."""
    return escape(clean(text, most=_MOST))

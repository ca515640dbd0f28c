"""Puts the bundle and the data of a page into one HTML file that may not load or run anything else.

Owns the encoding of data in a page, and its Content-Security-Policy. Reads the files of `lab/report/bundle`, which
`make page` builds from `lab/report/web`.
"""

import hashlib
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup

__all__ = ["Bundle", "bundle", "in_script"]

_FOLDER = Path(__file__).parent / "bundle"


class Bundle(msgspec.Struct, frozen=True):
    """The page's program and style, built from this repository: trusted text."""

    script: Markup
    style: Markup
    policy: str
    """The Content-Security-Policy of a page that runs this script and makes no request."""


@cache
def bundle() -> Bundle:
    """Read the output of `make page`."""
    script = Markup((_FOLDER / "page.js").read_text(encoding="utf-8").strip())
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Bundle(
        script=script,
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8").strip()),
        policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
    )


def in_script(data: Any) -> Markup:
    """JSON that is safe inside `<script type="application/json">`: nothing in it can end the element."""
    text = msgspec.json.encode(data).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)

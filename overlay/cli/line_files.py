"""Files of lines, of which the daemon makes one batch: read here, bounded, and understood there."""

import sys

from overlay.cli.client import RequestRefused

__all__ = ["lines_of"]


def lines_of(path: str, example: str) -> str:
    """The text of a file (`-`: of standard input), which is not empty. Raises `RequestRefused`."""
    from overlay.daemon.control.lines import MAX_BODY

    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BODY + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BODY + 1)
        if len(data) > MAX_BODY:
            raise RequestRefused(f"{path} is too large: expected at most {MAX_BODY >> 20} MiB; send several files")
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RequestRefused(f"{path} cannot be read: {reason}") from None
    if not text.strip():
        raise RequestRefused(f"{path} is empty: expected lines as `{example}`")
    return text

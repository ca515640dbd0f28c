"""A container's `/etc/hosts`: maps its own name to its overlay address instead of the engine's.

Owns the text of that file, from the host's side. The file is rewritten in place, because the container has it
bind-mounted.
"""

import logging
import os
from collections.abc import Sequence

from overlay.kernel.host_files import host_file

__all__ = ["rewrite", "rewritten"]

log = logging.getLogger(__name__)


def rewrite(path: str, hostname: str, domainname: str, addresses: Sequence[str]) -> None:
    """Change the file at `path`; if that fails the file stays as it is, and the error is logged."""
    try:
        descriptor = os.open(host_file(path, follow=False), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "r+", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
            changed = rewritten(text, hostname, domainname, addresses)
            if changed != text:
                file.seek(0)
                file.truncate()
                file.write(changed)
    except OSError as error:
        log.warning("%s: %s", path, error.strerror)


def rewritten(text: str, hostname: str, domainname: str, addresses: Sequence[str]) -> str:
    """The text with the container's own lines replaced; all others (`--add-host`, links) stay in their order."""
    if not hostname or not addresses:
        return text
    own = hostname.lower()
    kept = [line for line in text.splitlines() if not _names(line, own)]
    full = f"{hostname}.{domainname.rstrip('.')} {hostname}" if domainname else hostname
    ours = [f"{cidr.partition('/')[0]}\t{full}" for cidr in addresses]
    return "\n".join((*kept, *ours, ""))


def _names(line: str, hostname: str) -> bool:
    """Whether a line maps this name to a non-loopback address."""
    words = line.partition("#")[0].lower().split()
    if not words or words[0].startswith("127.") or words[0] == "::1":
        return False
    return any(word == hostname or word.startswith(hostname + ".") for word in words[1:])

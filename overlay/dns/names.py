"""DNS names and addresses in their canonical forms: folded names, reverse names. Knows no registry.

Names are text with a final dot. Names with bytes beyond ASCII or with dots inside a label are not ours and give None.
"""

from contextlib import suppress
from ipaddress import ip_address

from overlay.errors import UsageError

MAX_NAME = 253
MAX_LABEL = 63


def fold(name: str) -> str:
    """Lower case with a final dot, the form in which DNS names are compared (RFC 4343)."""
    folded = name.lower()
    return folded if folded.endswith(".") else folded + "."


def check_name(name: str) -> None:
    """Raise `UsageError` unless `name` can be registered: fully qualified, labels of letters, digits, `-` and `_`."""
    labels = name.split(".")
    sound = len(name) <= MAX_NAME + 1 and len(labels) > 1 and labels.pop() == ""
    for label in labels:
        plain = label.replace("-", "a").replace("_", "a")
        sound = sound and label.isascii() and plain.isalnum() and len(label) <= MAX_LABEL
    if not sound:
        raise UsageError(
            f"found the name {name!r}, expected one as svc1.weave.local. with a final dot: labels of up to {MAX_LABEL} "
            f"letters, digits, hyphens or underscores, {MAX_NAME} in all"
        )


def name_of_labels(labels: tuple[bytes, ...]) -> str | None:
    """The folded text of a question's labels; None if no registered name can equal it."""
    if any(b"." in label for label in labels):
        return None
    try:
        return b".".join(labels).decode("ascii").lower() + "."
    except UnicodeDecodeError:
        return None


def within(labels: tuple[bytes, ...], domain: str) -> bool:
    """Whether a question's labels (any bytes) equal or end with those of a folded domain."""
    ends = tuple(label.encode() for label in domain.split(".")[:-1])
    return tuple(label.lower() for label in labels[-len(ends) :]) == ends


def packed(address: str) -> bytes | None:
    """An IP literal as 4 or 16 bytes; None if it is not a valid literal."""
    parts = address.split(".")
    if len(parts) == 4:  # nearly always, and several times faster than `ip_address`
        with suppress(ValueError):
            plain = bytes([int(part) for part in parts])
            a, b, c, d = plain
            if f"{a}.{b}.{c}.{d}" == address:
                return plain
    try:
        return ip_address(address).packed if "%" not in address else None
    except ValueError:
        return None


def address_of_reverse(name: str) -> str | None:
    """The IP literal of a folded name under in-addr.arpa. or ip6.arpa. (RFC 1035 3.5, RFC 3596 2.5)."""
    if name.endswith(".in-addr.arpa."):
        octets = name.removesuffix(".in-addr.arpa.").split(".")
        text = ".".join(reversed(octets))
        return text if len(octets) == 4 and packed(text) is not None else None
    if name.endswith(".ip6.arpa."):
        digits = name.removesuffix(".ip6.arpa.").split(".")
        if len(digits) != 32 or any(len(digit) != 1 for digit in digits):
            return None
        text = "".join(reversed(digits))
        colons = ":".join(text[n : n + 4] for n in range(0, 32, 4))
        return str(ip_address(colons)) if packed(colons) is not None else None
    return None

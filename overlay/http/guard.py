"""Access control for local HTTP listeners on TCP: no requests from web pages, and changes only with a token. Pure.

A page in a browser on this host can send requests to 127.0.0.1, and with a DNS name of its own that leads there (DNS
rebinding) it can read the answers. Three headers distinguish such requests from those of programs, because a page
cannot set or omit them: `Host`, `Origin` and `Sec-Fetch-Site`. `Content-Type` does not, because Docker's own client
sends `text/plain`. Every TCP listener uses this module; unix sockets do not, because no page can reach them.
"""

import hmac
import ipaddress
from collections.abc import Iterable, Sequence

from overlay.clean import clean

__all__ = ["has_token", "host_name", "refusal", "token_header"]

Headers = Iterable[tuple[str, str]]

_SAME = ("same-origin", "none")
"""Accepted values of `Sec-Fetch-Site`: a page of this listener, and an address that the user typed."""
_SHOWN = 80


def refusal(headers: Headers, names: Sequence[str] = ()) -> str | None:
    """The reason to refuse a request with these headers, as a sentence; None: accept it.

    `names`: host names of this listener (`--allow-host`), in addition to `localhost` and every IP address.
    """
    found: dict[str, list[str]] = {"host": [], "origin": [], "sec-fetch-site": []}
    for key, value in headers:
        found.get(key.lower(), []).append(value.strip())
    hosts = [host for host in found["host"] if host]
    for host in hosts:
        name = host_name(host)
        if not _is_own(name, names):
            return (
                f"refused: the request is for the host `{clean(name or host, most=_SHOWN)}`, and this listener answers"
                " for localhost, IP addresses and the names given with --allow-host"
            )
    for origin in found["origin"]:
        if len(hosts) != 1 or origin.partition("://")[2].lower() != hosts[0].lower():
            return (
                f"refused: a web page made this request (Origin: {clean(origin, most=_SHOWN)});"
                " only programs and pages of this very address are answered"
            )
    for site in found["sec-fetch-site"]:
        if site.lower() not in _SAME:
            return (
                f"refused: a web page of another site made this request (Sec-Fetch-Site: {clean(site, most=_SHOWN)});"
                " only programs and pages of this very address are answered"
            )
    return None


def host_name(authority: str) -> str:
    """The host of `host`, `host:port` or `[address]:port`, in lower case; "" if it has another format."""
    if authority.startswith("["):
        name, bracket, port = authority[1:].partition("]")
        if not bracket or (port and port[0] != ":"):
            return ""
        port = port[1:]
    else:
        name, _, port = authority.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return ""
    return name.lower().removesuffix(".")


def token_header(token: str) -> str:
    """The header line with a token, as `curl -H @FILE` reads it from a file."""
    return f"Authorization: Bearer {token}"


def has_token(headers: Headers, token: str) -> bool:
    """Whether the request carries `token` (which is not empty)."""
    wanted = token_header(token).partition(": ")[2].encode()
    given = [value.strip().encode(errors="replace") for key, value in headers if key.lower() == "authorization"]
    return bool(token) and len(given) == 1 and hmac.compare_digest(given[0], wanted)


def _is_own(name: str, names: Sequence[str]) -> bool:
    if name == "localhost" or name in [each.lower().removesuffix(".") for each in names]:
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True

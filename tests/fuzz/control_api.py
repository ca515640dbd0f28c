"""Fuzzing of the control API: raw bytes at its listeners, mutated requests, odd values in every path and body.

    python tests/fuzz/control_api.py [SECONDS] [SEED]       (a daemon of its own, in namespaces; `make fuzz`)

`attack` sends to any listener and returns what must not be: an answer 500, no answer to a whole request. What the
daemon logs meanwhile is for the caller to judge. `tests/system/test_control_errors.py` runs it for a few seconds.
"""

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote, urlencode

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

ENDLESS = ("/watch",)
FORBIDDEN = ("/leave", "/peer")
"""They would end the daemon."""
WORDS = (
    *(
        "",
        "a",
        "x",
        "10.32.0.9",
        "10.0.1.7/24",
        "net:default",
        "net:10.9.0.0/16",
        "::1",
        "0",
        "-1",
        "24",
        "33",
        "99999",
    ),
    *(
        "1e9",
        "nan",
        "..",
        "../..",
        "*",
        "weave:expose",
        "weave:extern",
        "\x00",
        "\x1b[31m",
        "\ufeff",
        "\u202e",
        "ü" * 9,
    ),
    *("x" * 300, "a.b.c", ".", "reserve", "renew", "ensure", "ipam", "dns", "{{", "{{json .}}", "true", "\udc80"),
)
KEYS = (
    *("name", "addresses", "address", "create", "dns", "peer", "replace", "fqdn", "hosts", "multicast", "masquerade"),
    *("Image", "HostConfig", "Entrypoint", "Env", "Hostname", "Labels", "NetworkMode", "password", "peers", "port"),
)
TYPES = (
    *("application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=b", ""),
    *(
        "application/x-www-form-urlencoded; charset=utf-16",
        "text/plain; charset=nonsense",
        "multipart/form-data",
        "\xff",
    ),
)
HEADERS = (
    *("Expect: 100-continue", "Expect: x", "Transfer-Encoding: chunked", "Transfer-Encoding: x", "Content-Length: -1"),
    *("Content-Length: 99999999", "Content-Encoding: gzip", "Content-Encoding: br", "Upgrade: h2c", "Host: \x00"),
    *(
        "Authorization: Bearer \xff",
        "Range: bytes=0-",
        "Accept: text/html",
        "Cookie: a=b; \xff=\x01",
        "X: " + "y" * 9000,
    ),
    *("Connection: keep-alive, upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "If-Match: *", "no colon"),
)


def routes() -> list[tuple[str, str]]:
    """(method, path with its {parts}) of the whole control API."""
    from overlay.daemon.control.table import ROUTES

    return [(route.method, route.path) for route in ROUTES if route.path not in (*ENDLESS, *FORBIDDEN)]


def value(rng: Random, depth: int = 3) -> object:
    """Something that JSON can say."""
    kind = rng.randrange(8 if depth else 6)
    if kind == 6:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {rng.choice(KEYS): value(rng, depth - 1) for _ in range(rng.randrange(5))}
    return rng.choice((None, True, rng.randrange(-9, 1 << 40), 1.5, rng.choice(WORDS), rng.choice(WORDS)))


def body(rng: Random) -> bytes:
    """A form, a document, or anything."""
    kind = rng.randrange(5)
    if kind == 0:
        return json.dumps({rng.choice(KEYS): value(rng) for _ in range(rng.randrange(6))}).encode()
    if kind == 1:
        pairs = [(rng.choice(KEYS), rng.choice(WORDS)) for _ in range(rng.randrange(5))]
        return urlencode(pairs, errors="surrogateescape").encode()
    if kind == 2:
        return json.dumps(value(rng)).encode()
    if kind == 3:
        return (
            b'--b\r\nContent-Disposition: form-data; name="peer"; filename="f"\r\n\r\n'
            + rng.randbytes(9)
            + b"\r\n--b--"
        )
    return rng.randbytes(rng.randrange(60)) * rng.choice((0, 1, 1, 99))


def request(rng: Random, every: list[tuple[str, str]], first: list[str]) -> tuple[bytes, bool]:
    """One request, and whether it is a whole one, to which there must be an answer."""
    method, path = rng.choice(every)
    while "{" in path:
        head, _, rest = path.partition("{")
        word = quote(rng.choice(WORDS), safe="", errors="surrogateescape")
        path = head + (word or "%20") + rest.partition("}")[2]
    if rng.random() < 0.3:
        path += "?" + urlencode([(rng.choice((*KEYS, "format")), rng.choice(WORDS))], errors="surrogateescape")
    content = body(rng) if method != "GET" or rng.random() < 0.1 else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *first, f"Content-Type: {rng.choice(TYPES)}"]
    lines += [f"Content-Length: {len(content)}", "Connection: close"]
    odd = rng.random()
    if odd < 0.2:
        lines.insert(rng.randrange(1, len(lines)), rng.choice(HEADERS))
    data = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content
    if odd < 0.5:
        return data, odd >= 0.2
    if odd < 0.75:
        return data, True
    return mutated(rng, data), False


def mutated(rng: Random, data: bytes) -> bytes:
    """Bytes of a request changed, dropped, repeated or cut off; or none of it left."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(1, 400))
    found = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(found) or 1)
        match rng.randrange(5):
            case 0 if found:
                found[at] = rng.randrange(256)
            case 1:
                del found[at : at + rng.randrange(1, 9)]
            case 2:
                found[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 3:
                found[at:at] = found[at : at + rng.randrange(1, 40)]
            case _:
                found[at:at] = rng.choice((b"\r\n", b"\n", b"\x00", b": ", b" ", b"\x1b"))
    return bytes(found[: rng.randrange(len(found) + 1)] if rng.random() < 0.2 else found)


def connect(where: str) -> socket.socket:
    """To `tcp:PORT` of loopback or `unix:PATH`."""
    kind, _, rest = where.partition(":")
    if kind == "tcp":
        return socket.create_connection(("127.0.0.1", int(rest)))
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect(rest)
    return made


def answer(where: str, data: bytes, patience: float) -> bytes | None:
    """What comes back; None: nothing within the time."""
    with connect(where) as sock:
        sock.settimeout(patience)
        found = b""
        try:
            sock.sendall(data)
            while len(found) < 4096 and (more := sock.recv(4096)):
                found += more
        except TimeoutError:
            return found or None
        except OSError:
            pass
        return found


def attack(where: str, seed: int, *, first: list[str], until: float = 0.0, count: int = 0) -> Iterator[str]:
    """Send requests; yields each finding. `first`: headers of every request; ends at a time, or after a number."""
    rng = Random(seed)
    every = routes()
    done = 0
    while done < count or time.monotonic() < until:
        data, whole = request(rng, every, first)
        done += 1
        try:
            found = answer(where, data, 1.0)
        except OSError as error:
            yield f"no connection after {data!r}: {error}"
            return
        if found is not None and found[:12] in (b"HTTP/1.1 500", b"HTTP/1.0 500"):
            yield f"{data!r}\n -> {found!r}"
        elif found == b"" and whole:
            yield f"{data!r}\n -> no answer"


def main() -> int:
    """A daemon of its own, attacked on its unix socket."""
    from overlay_hosts import underlay

    seconds, seed = (float(word) for word in [*sys.argv[1:], "60", "1"][:2])
    with underlay() as made:
        host = made.host("target", 2)
        host.weave("launch")
        bad = list(attack(f"unix:{host.disk}/w", int(seed), first=[], until=time.monotonic() + seconds))
        for finding in bad:
            print(finding[:2000])
        if "Traceback" in host.log or "Service: router" not in host.weave("status", check=False).stdout:
            bad.append(host.log)
            print(host.log[-20000:])
        print(f"control API: {len(bad)} findings")
        return bool(bad)


def attack_here() -> int:
    """`--at WHERE SEED COUNT [HEADER ...]`: a listener of this host."""
    where, seed, count, *first = sys.argv[2:]
    bad = list(attack(where, int(seed), first=first, count=int(count)))
    print("\n".join(bad))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(attack_here() if sys.argv[1:2] == ["--at"] else main())

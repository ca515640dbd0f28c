"""Commands of a simulated host that read or use its network: curl, ping, ifconfig, ip, bridge, hostname.

Owns their output, modelled on the real programs. `NetworkPlace` knows the host's state, and `reach` which hosts reach
each other. `ip` and `bridge` create the devices of the lab's static VXLAN and show addresses; no more.
"""

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from msgspec import Struct

from lab.backends.simulated.commands import CommandPlace, Program, run_argv
from lab.contracts.lab import CommandResult
from lab.images.dummy_http import greeting
from lab.sim.filters import NULL, BadUse, options_of
from overlay.errors import EnvironmentProblem

__all__ = ["NETWORK", "HttpFetch", "NetworkPlace", "ShownInterface"]

_DEFAULT_PATIENCE = 130.0
"""Linux's timeout for opening a connection, in seconds."""


class ShownInterface(Struct, frozen=True):
    """One interface: its addresses with prefix lengths, and its MAC."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]


class HttpFetch(Struct, frozen=True):
    """The result of a GET: curl's exit code and message, or status and body."""

    code: int
    error: str = ""
    status: int = 0
    body: str = ""


class NetworkPlace(CommandPlace, Protocol):
    """A host or a container with a network."""

    @property
    def name(self) -> str:
        """Its host name."""
        ...

    def interfaces(self) -> list[ShownInterface]: ...

    def resolve(self, name: str) -> list[str]:
        """The addresses of a name, in the order of the answer; a literal resolves to itself."""
        ...

    async def fetch(self, address: str, port: int, path: str, timeout: float) -> HttpFetch: ...

    async def echo(self, address: str, timeout: float, size: int) -> int | None:
        """Nanoseconds until the reply to one echo request with `size` bytes of data; None: no reply."""
        ...

    def configure(self, argv: Sequence[str]) -> CommandResult:
        """`ip` or `bridge` with arguments that change something."""
        ...

    def inside(self, pid: int) -> "NetworkPlace | None":
        """The container whose first process has this pid."""
        ...

    async def engine(self, method: str, path: str, body: str) -> tuple[int, str]:
        """One request to the container engine."""
        ...


async def _curl(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    options, urls = options_of(argv, "sSfm:o:w:", ("max-time=",))
    if not urls:
        raise BadUse(2, "no URL specified")
    patience = _number(options, "-m", _number(options, "--max-time", _DEFAULT_PATIENCE))
    target = options.get("-o", [""])[-1]
    code, out, err = 0, "", ""
    for url in urls:
        fetched = await _get(cast(NetworkPlace, place), url, patience)
        if not fetched.code and "-f" in options and fetched.status >= 400:
            fetched = HttpFetch(22, f"The requested URL returned error: {fetched.status}", fetched.status)
        code, text = fetched.code, fetched.body
        if code and ("-s" not in options or "-S" in options):
            err += f"curl: ({code}) {fetched.error}\n"
        if target and not code:
            if target != NULL:
                place.files[target] = text
            text = ""
        out += text
        form = options.get("-w", [""])[-1]
        form = form.replace("%{http_code}", f"{fetched.status:03}")
        form = form.replace("%{size_download}", str(len(fetched.body.encode())))
        out += form.replace("\\n", "\n")
    return CommandResult(code, out, err)


def _number(options: Mapping[str, Sequence[str]], name: str, default: float) -> float:
    """The value of a numeric option. Raises `BadUse`."""
    text = options.get(name, [str(default)])[-1]
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise BadUse(2, f"{name} {text}: expected a number")
    return float(text)


async def _get(here: NetworkPlace, url: str, timeout: float) -> HttpFetch:
    match = re.fullmatch(r"(?:http://)?(\[[0-9A-Fa-f:]+\]|[^/:?#]+)(?::(\d+))?(/\S*)?", url)
    if match is None:
        return HttpFetch(3, "URL rejected: the simulated curl fetches http://HOST[:PORT][/PATH]")
    host, port, path = match[1].strip("[]"), int(match[2] or 80), match[3] or "/"
    addresses = here.resolve(host)
    if not addresses:
        return HttpFetch(6, f"Could not resolve host: {host}")
    fetched = HttpFetch(7, f"Failed to connect to {host}")
    share = timeout / len(addresses)
    for address in addresses:
        fetched = await here.fetch(address, port, path, share)
        if fetched.code != 7 and not (fetched.code == 28 and address != addresses[-1]):
            break
    return fetched


async def _ping(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    here = cast(NetworkPlace, place)
    options, names = options_of(argv, "nc:i:W:s:")
    if len(names) != 1 or "-c" not in options:
        raise BadUse(2, "usage: ping -c COUNT [-i SECONDS] [-W SECONDS] [-s BYTES] HOST")
    count, size = int(_number(options, "-c", 1)), int(_number(options, "-s", 56))
    interval, patience = _number(options, "-i", 1.0), _number(options, "-W", 10.0)
    addresses = here.resolve(names[0])
    if not addresses:
        return CommandResult(2, "", f"ping: {names[0]}: Name or service not known\n")
    address = addresses[0]
    lines = [f"PING {names[0]} ({address}) {size}({size + 28}) bytes of data."]
    times: list[int] = []
    loop = asyncio.get_running_loop()
    for number in range(1, count + 1):
        sent = loop.time()
        took = await here.echo(address, patience if number == count else max(interval, 0.0) or patience, size)
        if took is not None:
            times.append(took)
            lines.append(f"{size + 8} bytes from {address}: icmp_seq={number} ttl=64 time={took / 1e6:.3f} ms")
        if number < count:
            await asyncio.sleep(max(0.0, sent + interval - loop.time()))
    lost = 100 * (count - len(times)) // count if count else 0
    lines += ["", f"--- {names[0]} ping statistics ---"]
    lines.append(f"{count} packets transmitted, {len(times)} received, {lost}% packet loss")
    if times:
        low, mean, high = min(times) / 1e6, sum(times) / len(times) / 1e6, max(times) / 1e6
        lines.append(f"rtt min/avg/max = {low:.3f}/{mean:.3f}/{high:.3f} ms")
    return CommandResult(int(not times), "\n".join(lines) + "\n", "")


async def _ifconfig(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    wanted = [word for word in argv[1:] if word != "-a"]
    if len(wanted) > 1:
        return CommandResult(2, "", "ifconfig: this one only shows interfaces; use `ip` to change them\n")
    found = [link for link in cast(NetworkPlace, place).interfaces() if not wanted or link.name == wanted[0]]
    if wanted and not found:
        return CommandResult(1, "", f"ifconfig: {wanted[0]}: error fetching interface information: Device not found\n")
    return CommandResult(0, "\n".join(_block(link) for link in found), "")


def _block(link: ShownInterface) -> str:
    loopback = link.name == "lo"
    flags = "73<UP,LOOPBACK,RUNNING>" if loopback else "4163<UP,BROADCAST,RUNNING,MULTICAST>"
    lines = [f"{link.name}: flags={flags}  mtu {link.mtu}"]
    for text in link.addresses:
        address = ipaddress.ip_interface(text)
        if address.version == 4:
            broadcast = "" if loopback else f"  broadcast {address.network.broadcast_address}"
            lines.append(f"inet {address.ip}  netmask {address.netmask}{broadcast}")
        else:
            lines.append(f"inet6 {address.ip}  prefixlen {address.network.prefixlen}  scopeid 0x0<global>")
    lines.append(
        "loop  txqueuelen 1000  (Local Loopback)" if loopback else f"ether {link.mac}  txqueuelen 1000  (Ethernet)"
    )
    return "\n        ".join(lines) + "\n"


async def _ip(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    here = cast(NetworkPlace, place)
    words = [word for word in argv[1:] if not word.startswith("-")]
    flags = {word for word in argv[1:] if word.startswith("-")}
    if words[:1] in (["a"], ["addr"], ["address"]) and (len(words) == 1 or words[1] in ("show", "dev", "list")):
        device = words[-1] if len(words) > 2 or (len(words) == 2 and words[1] not in ("show", "list")) else ""
        found = [(n, link) for n, link in enumerate(here.interfaces(), 1) if device in ("", link.name)]
        if device and not found:
            return CommandResult(1, "", f'Device "{device}" does not exist.\n')
        return CommandResult(0, "".join(_addresses(number, link, flags) for number, link in found), "")
    return here.configure([argv[0], *words])


def _addresses(number: int, link: ShownInterface, flags: set[str]) -> str:
    lines = []
    if "-o" not in flags:
        state = "LOOPBACK,UP,LOWER_UP" if link.name == "lo" else "BROADCAST,MULTICAST,UP,LOWER_UP"
        lines += [f"{number}: {link.name}: <{state}> mtu {link.mtu} state UP"]
        lines += [f"    link/{'loopback' if link.name == 'lo' else 'ether'} {link.mac or '00:00:00:00:00:00'}"]
    for text in link.addresses:
        family = "inet6" if ":" in text else "inet"
        if (family == "inet" and "-6" in flags) or (family == "inet6" and "-4" in flags):
            continue
        scope = "host" if link.name == "lo" else "global"
        if "-o" in flags:
            lines.append(f"{number}: {link.name}    {family} {text} scope {scope} {link.name}")
        else:
            lines.append(f"    {family} {text} scope {scope} {link.name}")
    return "".join(f"{line}\n" for line in lines)


async def _bridge(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    return cast(NetworkPlace, place).configure(argv)


async def _nsenter(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    match list(argv[1:]):
        case ["-t", pid, "-n", *words] if pid.isdigit() and words:
            inside = cast(NetworkPlace, place).inside(int(pid))
            if inside is None:
                return CommandResult(1, "", f"nsenter: cannot open /proc/{pid}/ns/net: No such file or directory\n")
            return await run_argv(inside, words)
    return CommandResult(2, "", "usage: nsenter -t PID -n COMMAND ...\n")


async def _hostname(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    return CommandResult(0, f"{cast(NetworkPlace, place).name}\n", "")


async def _engine(place: CommandPlace, argv: Sequence[str], stdin: str) -> CommandResult:
    """The lab's own client of the container engine (`lab.host_engine.CLIENT`)."""
    try:
        status, text = await cast(NetworkPlace, place).engine(argv[3], argv[4], argv[5] if len(argv) > 5 else "")
    except EnvironmentProblem as error:
        return CommandResult(1, "", f"{error}\n")
    return CommandResult(0, f"{status}\n{text}", "")


NETWORK: dict[str, Program] = {
    "bridge": _bridge,
    "curl": _curl,
    "hostname": _hostname,
    "ifconfig": _ifconfig,
    "ip": _ip,
    "nsenter": _nsenter,
    "ping": _ping,
    "python3": _engine,
}


def page(name: str, eth0: str) -> str:
    """The response of the walk-through's service."""
    return greeting(name, eth0).decode()

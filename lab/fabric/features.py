"""Features of this kernel and machine that a lab may use: each one is tested in a temporary namespace.

Owns the list of features, what each is needed for, and its remedy; `lab doctor` prints it, and the backend checks it
before it accepts a scenario. Leaves nothing behind: the namespace ends with the testing process.
"""

import contextlib
import functools
import json
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable

from msgspec import Struct

from lab.errors import LabError
from lab.fabric import namespaces
from lab.fabric.steering import SINK, mark_ports, steer_commands
from lab.fabric.syscalls import Mount, mount

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where system tools live; an ordinary user's PATH often lacks them."""


PROC_REMEDY = (
    "a part of the machine's /proc is hidden (something is mounted below it), as in containers: start this one with "
    "--security-opt systempaths=unconfined, or run the same command with sudo"
)


class Feature(Struct, frozen=True, kw_only=True):
    """One thing that a lab may need."""

    name: str
    serves: str
    required: bool
    """Without it no lab starts; without other features only the scenario features that need them are refused."""
    found: bool
    detail: str = ""
    """The machine's error message."""
    remedy: str = ""


class _Trial(Struct, frozen=True):
    name: str
    serves: str
    required: bool
    remedy: str
    steps: tuple[str, ...]
    """Commands that must all succeed; `nft` reads the text after it on standard input."""
    first: Callable[[], None] | None = None
    """A call that must succeed before the commands, or raise `OSError`."""


def _module(name: str) -> str:
    return f"needs the kernel module {name}: `sudo modprobe {name}`, or a kernel that has it"


def _marks_received() -> None:
    """Whether a packet socket reports the marks of received packets (SO_RCVMARK, Linux 6.0)."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as one:
        one.setsockopt(socket.SOL_SOCKET, 75, 1)


_TRIALS = (
    _Trial(
        "bridges",
        "the networks between hosts, the overlay's own switch",
        True,
        _module("bridge"),
        ("ip link add b0 type bridge",),
    ),
    _Trial("veth", "every cable", True, _module("veth"), ("ip link add v0 type veth peer name v1",)),
    _Trial(
        "nft-bridge",
        "partitions and loss",
        True,
        _module("nf_tables"),
        (
            "nft table bridge t { set s { type ifname . ifname; elements = { v0 . v1 } }\n"
            "chain c { type filter hook forward priority 0\n iifname . oifname @s drop\n }\n }",
        ),
    ),
    _Trial(
        "nft-loss",
        "packet loss on links",
        False,
        _module("nft_numgen"),
        ("nft table bridge n { chain c { type filter hook forward priority 0\nnumgen random mod 100 < 1 drop\n }\n }",),
    ),
    _Trial(
        "masquerade",
        "containers reaching other hosts by the engine's own network, published ports",
        False,
        _module("nft_masq"),
        ("nft table ip m { chain c { type nat hook postrouting priority 100\n masquerade\n }\n }",),
    ),
    _Trial(
        "nft-nat-maps",
        "kinds of address translation at routers (`nat: {kind: full-cone}` and the like)",
        False,
        f"needs Linux 5.6 or later and nft 0.9.4 or later; {_module('nft_nat')}",
        (
            "nft table inet q { map o { type ipv4_addr . inet_service : inet_service; flags dynamic,timeout; "
            "timeout 9s; size 9; }\n chain f { type filter hook forward priority 0\n"
            "meta l4proto udp update @o { ip saddr . udp sport : numgen inc mod 9 offset 4000 }\n }\n"
            "chain s { type nat hook postrouting priority 100\n"
            "meta l4proto udp snat ip to 192.0.2.1 : ip saddr . udp sport map @o\n }\n }",
        ),
    ),
    _Trial(
        "vxlan",
        "the overlay's fast data path; without it traffic takes the userspace tunnel",
        False,
        _module("vxlan"),
        ("ip link add x0 type vxlan id 7 dstport 6784 nolearning", "ip link set x0 master b0"),
    ),
    _Trial(
        "wireguard",
        "the overlay's encrypted fast path; without it encrypted traffic takes the userspace tunnel",
        False,
        f"{_module('wireguard')}, or `weave launch --wireguard wireguard-go` with that program",
        ("ip link add w0 type wireguard",),
    ),
    _Trial(
        "neigh-suppress",
        "proxy ARP in the overlay, so that no broadcast is needed to find a container",
        False,
        "needs Linux 4.15 or later",
        ("bridge link set dev x0 neigh_suppress on",),
    ),
    _Trial(
        "htb", "rate limits per link", False, _module("sch_htb"), ("tc qdisc add dev v0 root handle 1: htb default 1",)
    ),
    _Trial(
        "tbf",
        "limiting a host's interface by hand",
        False,
        _module("sch_tbf"),
        ("tc qdisc add dev v1 root tbf rate 1mbit burst 4kb limit 9kb",),
    ),
    _Trial(
        "netem",
        "delay, jitter and bursty loss of links in the kernel; without it the lab's relay makes them",
        False,
        "the kernel module sch_netem holds packets back at less cost: `sudo modprobe sch_netem` (Debian: package "
        "linux-image-amd64; Ubuntu: linux-modules-extra-$(uname -r))",
        ("tc qdisc replace dev v1 root netem delay 1ms",),
    ),
    _Trial(
        "relay",
        "links that the kernel's own queues cannot make: the lab's relay (cls_bpf, mirred, packet sockets)",
        False,
        "needs Linux 6.0 or later with the modules cls_bpf and act_mirred: `sudo modprobe -a cls_bpf act_mirred`",
        (
            "ip link add r0 type bridge",
            *(f"tc {line}" for line in steer_commands("b0").replace(SINK, "r0").splitlines()),
            "nft table bridge r { chain c { type filter hook forward priority 0\n"
            f"{mark_ports({('v0', 'v1'): 1})[0]}\n }}\n }}",
        ),
        _marks_received,
    ),
)

_TOOLS = (
    ("ip", "iproute2", True, "cables, addresses"),
    ("bridge", "iproute2", True, "forwarding entries"),
    ("tc", "iproute2", False, "rates and delays of links"),
    ("nft", "nftables", True, "partitions, loss, published ports"),
    ("ping", "iputils-ping", False, "looking around by hand (probes do not need it)"),
)


def tool_path() -> str:
    """PATH with the directories of system tools at its end."""
    return ":".join(dict.fromkeys([*os.environ.get("PATH", "/usr/bin:/bin").split(":"), *SBIN]))


def detect() -> list[Feature]:
    """Test all features, tools first. Forks; takes some tens of milliseconds."""
    return [*_tools(), *_kernel()]


def check(name: str) -> Feature:
    """Test one feature by name."""
    for feature in detect_once():
        if feature.name == name:
            return feature
    raise KeyError(name)


@functools.cache
def detect_once() -> tuple[Feature, ...]:
    """`detect`, once per process."""
    return tuple(detect())


def _tools() -> list[Feature]:
    return [
        Feature(
            name=tool,
            serves=serves,
            required=required,
            found=(place := shutil.which(tool, path=tool_path())) is not None,
            detail=place or "not found",
            remedy="" if place else f"`sudo apt-get install {package}`",
        )
        for tool, package, required, serves in _TOOLS
    ]


def _kernel() -> list[Feature]:
    ordinary = not namespaces.privileged()
    serves = "a lab without root" if ordinary else "labs (as root no user namespace is needed)"
    try:
        answers = json.loads(_in_throwaway(_try_all))
    except LabError as refusal:
        missing = "namespaces could not be made, so nothing else could be tried"
        return [
            Feature(
                name="namespaces",
                serves=serves,
                required=True,
                found=False,
                detail=str(refusal),
                remedy=namespaces.remedy(),
            ),
            *(
                Feature(name=trial.name, serves=trial.serves, required=trial.required, found=False, detail=missing)
                for trial in _TRIALS
            ),
        ]
    features = [
        Feature(name="namespaces", serves=serves, required=True, found=True, detail="user" if ordinary else "root")
    ]
    for name, purpose, remedy in (
        (
            "proc",
            "a /proc of its own for the lab and every host",
            PROC_REMEDY,
        ),
        ("packet", "the overlay's userspace tunnel and ping probes", "needs CONFIG_PACKET in the kernel"),
    ):
        detail = answers[name]
        features.append(
            Feature(
                name=name,
                serves=purpose,
                required=name == "proc",
                found=not detail,
                detail=detail,
                remedy=remedy if detail else "",
            )
        )
    for trial in _TRIALS:
        detail = answers[trial.name]
        features.append(
            Feature(
                name=trial.name,
                serves=trial.serves,
                required=trial.required,
                found=not detail,
                detail=detail,
                remedy=trial.remedy if detail else "",
            )
        )
    return features


def _try_all() -> str:
    """In the temporary namespaces: name of each trial -> error message, empty on success."""
    answers = {"proc": _complaint(_mount_proc), "packet": _complaint(_packet_socket)}
    environment = {**os.environ, "PATH": tool_path()}
    for trial in _TRIALS:
        answers[trial.name] = _complaint(trial.first) if trial.first is not None else ""
        for step in trial.steps if not answers[trial.name] else ():
            tool, _, rest = step.partition(" ")
            argv, text = (["nft", "-f", "-"], rest) if tool == "nft" else (shlex.split(step), "")
            try:
                done = subprocess.run(argv, input=text, capture_output=True, text=True, env=environment, check=False)
                complaint = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
            except OSError as error:
                complaint = f"{argv[0]}: {error.strerror}"
            if complaint:
                answers[trial.name] = " ".join(complaint.split())[:200]
                break
    return json.dumps(answers)


def _complaint(trial: Callable[[], None]) -> str:
    try:
        trial()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _mount_proc() -> None:
    mount("", "/", flags=Mount.REC | Mount.PRIVATE)
    mount("proc", "/proc", "proc", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)


def _packet_socket() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


def _in_throwaway(work: Callable[[], str]) -> str:
    """The result of `work` in a process that is PID 1 of fresh namespaces; raises `LabError` when they are refused."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "fthe trial ended early"
        try:
            namespaces.enter_fresh()
            inner = os.fork()
            if inner:
                os.waitpid(inner, 0)
                os._exit(0)
            text = "r" + work()
        except BaseException as error:
            text = f"f{error.step if isinstance(error, namespaces.NamespacesRefused) else error}"
        finally:
            with contextlib.suppress(OSError):
                os.write(writer, text.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    if text[:1] != "r":
        raise LabError(text[1:] or "the trial was killed")
    return text[1:]


__all__ = ["Feature", "check", "detect", "detect_once", "tool_path"]

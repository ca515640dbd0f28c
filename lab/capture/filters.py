"""Packet filters: the words of tcpdump, and the BPF program that tcpdump compiles from them.

Owns which words are allowed. tcpdump would look any other word up in DNS, and would take a word that begins with `-` as
an option. A lab sends nothing outside, so a word must be a keyword, a number, an address, or a host of the lab (which
is replaced by its address).
"""

import functools
import re
import shutil
import subprocess
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from lab.errors import LabError

__all__ = ["NO_TCPDUMP", "Instruction", "compiled", "find_tcpdump", "instructions", "misread"]

NO_TCPDUMP: Final = (
    "filters are compiled by tcpdump, which is not here (Debian: package tcpdump); without a filter all is captured, "
    "and Wireshark filters what it shows"
)
_MOST: Final = 1000
"""Maximum characters of a filter."""
_PATIENCE: Final = 20.0
"""Timeout for tcpdump, in seconds."""
_LANGUAGE: Final = (
    "and or not host net mask port portrange src dst proto protochain ether wlan less greater len broadcast "
    "multicast inbound outbound ifindex vlan mpls pppoed pppoes geneve vxlan ip ip6 arp rarp tcp udp icmp icmp6 "
    "sctp igmp igrp pim vrrp carp ah esp llc decnet aarp atalk lat moprc mopdl iso isis stp ipx netbeui loopback "
    "ra ta addr1 addr2 icmptype icmpcode icmp-echoreply icmp-unreach icmp-sourcequench icmp-redirect icmp-echo "
    "icmp-routeradvert icmp-routersolicit icmp-timxceed icmp-paramprob icmp-tstamp icmp-tstampreply icmp-ireq "
    "icmp-ireqreply icmp-maskreq icmp-maskreply icmp6type icmp6code icmp6-destinationrunreach icmp6-packettoobig "
    "icmp6-timeexceeded icmp6-parameterproblem icmp6-echo icmp6-echoreply icmp6-neighborsolicit "
    "icmp6-neighboradvert icmp6-routersolicit icmp6-routeradvert icmp6-redirect tcpflags tcp-fin tcp-syn tcp-rst "
    "tcp-push tcp-ack tcp-urg tcp-ece tcp-cwr"
)
_WORDS: Final = frozenset(_LANGUAGE.split())
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)(-\d+)?")
_MAC = re.compile(r"[0-9a-fA-F]{1,2}([:.-][0-9a-fA-F]{1,2}){5}")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/\- \t()\[\]!=<>&|+*%^~,\\]*")

Instruction = tuple[int, int, int, int]
"""A classic BPF instruction: code, jt, jf, k."""


def misread(text: str, hosts: Mapping[str, str] = {}) -> str:
    """The error in a filter before tcpdump runs: expected and found, in a sentence; empty: no error."""
    if len(text) > _MOST:
        return f"a filter of {len(text)} characters, at most {_MOST} are taken"
    if not _PLAIN.fullmatch(text):
        odd = next(char for char in text if not _PLAIN.fullmatch(char))
        return f"{odd!a} in a filter, which tcpdump's language does not have"
    if text.lstrip().startswith("-"):
        return "a filter that begins with -, like an option of tcpdump"
    for word in _NAME.findall(_without_brackets(text)):
        if not _known(word, hosts):
            return f"{word!r} in a filter: names are not looked up, write a number, an address or a host of the lab"
    return ""


def compiled(text: str, hosts: Mapping[str, str] = {}) -> str:
    """A filter as a program, its lines joined with commas; empty without a filter. Raises `LabError`."""
    if not text.strip():
        return ""
    if why := misread(text, hosts):
        raise LabError(f"found {why}")
    return _by_tcpdump(_NAME.sub(lambda found: _said(found[0], hosts), text))


def find_tcpdump() -> str | None:
    """The path of tcpdump; None if it is not installed."""
    return shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/sbin:/usr/local/sbin")


def instructions(program: str) -> tuple[Instruction, ...]:
    """The instructions of a program from `compiled`."""
    lines = [tuple(map(int, line.split())) for line in program.split(",")[1:] if line.strip()]
    return tuple((line[0], line[1], line[2], line[3]) for line in lines)


@functools.lru_cache(maxsize=64)
def _by_tcpdump(text: str) -> str:
    tcpdump = find_tcpdump()
    if tcpdump is None:
        raise LabError(NO_TCPDUMP)
    command = [tcpdump, "-n", "-y", "EN10MB", "-ddd", "--", text]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"tcpdump did not compile the filter `{text}` within {_PATIENCE:g} s") from None
    except OSError as error:
        raise LabError(f"tcpdump cannot be started: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise LabError(f"tcpdump does not understand the filter `{text}`: {lines[-1]}")
    return ",".join(done.stdout.split("\n")).strip(",")


def _said(word: str, hosts: Mapping[str, str]) -> str:
    return word if word.lower() in _WORDS else hosts.get(word, word)


def _without_brackets(text: str) -> str:
    """Replace brackets that contain only operators by blanks: `tcp[13]&tcp-syn!=0`."""
    return re.sub(r"[()\[\]!=<>&|+*%^~,\\/]|(?<![A-Za-z0-9])-|-(?![A-Za-z0-9])", " ", text)


def _known(word: str, hosts: Mapping[str, str]) -> bool:
    if word.lower() in _WORDS or word in hosts or _NUMBER.fullmatch(word) or _MAC.fullmatch(word):
        return True
    parts = word.split(":")
    if len(parts) == 2 and all(_NUMBER.fullmatch(part) or part.lower() in _WORDS for part in parts):
        return True  # `tcp[0:2]`
    for read in (ip_address, ip_network):
        try:
            read(word)
        except ValueError:
            continue
        return True
    return bool(re.fullmatch(r"\d{1,3}(\.\d{1,3}){1,2}", word))

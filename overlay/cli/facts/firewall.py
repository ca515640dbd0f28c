"""Reads the host's packet filter: the chain FORWARD, and rules that drop packets to the router's ports.

Programs are run only for existing tables, because some of them create the table that they read.
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from overlay.check.facts import BlockingRule, Forward
from overlay.kernel.packet_tables import Tables

__all__ = ["blocks", "forwards"]

_FAMILIES = (("iptables", "bridge-nf-call-iptables", 4), ("ip6tables", "bridge-nf-call-ip6tables", 6))
_TIMEOUT = 10.0
_ENDS = ("DROP", "REJECT")
_INPUT = ("prerouting", "input", "ingress")
_OURS = "weave-"
_MANAGED = re.compile("[A-Z]")
"""Chains of iptables-nft have upper-case names."""


def forwards() -> tuple[tuple[Forward, ...], str]:
    """FORWARD of both families, and why it cannot be read."""
    tables = Tables("WEAVE")
    try:
        return tuple(_forward(tables, *family) for family in _FAMILIES), ""
    except (OSError, InterruptedError) as error:
        return (), f"the packet filter cannot be read: {error.strerror or error}"
    finally:
        tables.close()


def _forward(tables: Tables, command: str, setting: str, version: int) -> Forward:
    seen = tables.see(version, "filter", "FORWARD")
    saved = _saved(command) if seen.filters or seen.jumps else []
    policy = next((line.split()[1] for line in saved if line.startswith(":FORWARD ")), "")
    return Forward(
        command=command,
        called=_calls(setting),
        filters=seen.filters,
        jumps=seen.jumps,
        rules=tuple(line for line in saved if line.startswith("-A FORWARD ")),
        policy=policy,
    )


def _calls(setting: str) -> bool:
    try:
        return Path("/proc/sys/net/bridge", setting).read_text(encoding="utf-8").strip() == "1"
    except OSError:
        return False


def blocks(ports: Sequence[tuple[str, int]]) -> tuple[BlockingRule, ...]:
    """Everything that drops incoming packets to these ports ("udp", 6784): named rules first, then policies."""
    found: list[BlockingRule] = []
    tables = Tables("WEAVE")
    try:
        for command, _, version in _FAMILIES:
            try:
                seen = tables.see(version, "filter", "INPUT")
            except (OSError, KeyError):
                continue
            if seen.filters:
                found += _of_iptables(command, ports)
    finally:
        tables.close()
    return (*_of_nft(ports), *found)


def _of_iptables(command: str, ports: Sequence[tuple[str, int]]) -> list[BlockingRule]:
    saved = _saved(command)
    found = []
    for line in saved:
        words = shlex.split(line)
        if line.startswith("-A INPUT ") and any(word in _ENDS for word in words):
            for protocol, port in ports:
                if _value(words, "-p") == protocol and _within(_value(words, "--dport"), port):
                    undo = f"{command} -D{line[2:]}"
                    found.append(BlockingRule(protocol=protocol, port=port, rule=f"{command} {line}", undo=undo))
    if any("ufw-user-input" in line for line in saved):
        for protocol, port in ports:
            found.append(BlockingRule(protocol=protocol, port=port, rule="ufw", undo=f"ufw allow {port}/{protocol}"))
    elif any(line.startswith(":INPUT DROP") for line in saved):
        for protocol, port in ports:
            undo = f"{command} -I INPUT -p {protocol} --dport {port} -j ACCEPT"
            found.append(
                BlockingRule(protocol=protocol, port=port, rule=f"{command}'s policy of INPUT is DROP", undo=undo)
            )
    return found


def _value(words: Sequence[str], flag: str) -> str:
    return words[words.index(flag) + 1] if flag in words[:-1] else ""


def _within(text: str, port: int) -> bool:
    low, _, high = text.partition(":")
    return low.isdigit() and int(low) <= port <= int(high if high.isdigit() else low)


def _of_nft(ports: Sequence[tuple[str, int]]) -> Iterator[BlockingRule]:
    if shutil.which("nft") is None:
        return
    try:
        told = json.loads(_run("nft", "-j", "list", "ruleset")).get("nftables", [])
    except (ValueError, AttributeError):
        return
    if any(entry.get("table", {}).get("name") == "firewalld" for entry in told):
        for protocol, port in ports:
            yield BlockingRule(
                protocol=protocol, port=port, rule="firewalld", undo=f"firewall-cmd --add-port={port}/{protocol}"
            )
    chains = {
        (each["family"], each["table"], each["name"]): each
        for each in (entry["chain"] for entry in told if "chain" in entry)
        if each.get("hook") in _INPUT and not each["table"].startswith(_OURS) and not _MANAGED.match(each["name"])
    }
    for rule in (entry["rule"] for entry in told if "rule" in entry):
        place = (rule["family"], rule["table"], rule["chain"])
        expressions = rule.get("expr", [])
        if place not in chains or not any(word in each for each in expressions for word in ("drop", "reject")):
            continue
        for protocol, port in ports:
            if any(_matches(each.get("match"), protocol, port) for each in expressions):
                named = " ".join(place)
                yield BlockingRule(
                    protocol=protocol,
                    port=port,
                    rule=f"a rule of nftables drops it (table {place[0]} {place[1]}, chain {place[2]})",
                    undo=f"nft delete rule {named} handle {rule['handle']}",
                )
    for place, chain in chains.items():
        if chain.get("policy") == "drop" and chain["hook"] == "input":
            for protocol, port in ports:
                yield BlockingRule(
                    protocol=protocol,
                    port=port,
                    rule=f"the policy of nftables' chain {' '.join(place)} is drop",
                    undo=f"nft insert rule {' '.join(place)} {protocol} dport {port} accept",
                )


def _matches(match: Any, protocol: str, port: int) -> bool:
    if not isinstance(match, dict) or match.get("op") != "==":
        return False
    payload = (match.get("left") or {}).get("payload") if isinstance(match.get("left"), dict) else None
    if (
        not isinstance(payload, dict)
        or payload.get("field") != "dport"
        or payload.get("protocol") not in (protocol, "th")
    ):
        return False
    return _holds(match.get("right"), port)


def _holds(right: Any, port: int) -> bool:
    if isinstance(right, int):
        return right == port
    if isinstance(right, dict) and "set" in right:
        return any(_holds(each, port) for each in right["set"])
    if isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        return isinstance(low, int) and isinstance(high, int) and low <= port <= high
    return False


def _saved(command: str) -> list[str]:
    if shutil.which(f"{command}-save") is None:
        return []
    return _run(f"{command}-save", "-t", "filter").splitlines()


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT, check=False, close_fds=True)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""

"""The part of the host's packet filter that the overlay needs: let bridged frames pass, and `weave expose`.

Owns the iptables chains named `WEAVE` and the jumps to them. Docker sets the policy of FORWARD to DROP and passes
bridged frames through it (br_netfilter), which would block traffic between containers of one bridge. Changes nothing on
hosts where frames pass anyway. Blocking: callers on an event loop use a thread.
"""

import logging
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from overlay.datapath.vxlan import BRIDGE
from overlay.errors import EnvironmentProblem
from overlay.kernel.packet_tables import HookState, Tables

__all__ = ["Made", "Watch", "ensure", "filter_rules", "nat_rules", "remove"]

log = logging.getLogger(__name__)

CHAIN = "WEAVE"
_TIMEOUT = 20.0
_FAMILIES = (("iptables", "bridge-nf-call-iptables", 4), ("ip6tables", "bridge-nf-call-ip6tables", 6))
_HOOKS = {"filter": "FORWARD", "nat": "POSTROUTING"}

Made = tuple[int, str]
"""IP version and table; our chain is in that table, and the hook's chain jumps to it."""


def ensure(
    exposed: Sequence[str] = (), *, before: Sequence[str] = (), masquerade: bool = True, isolate: str = "docker0"
) -> tuple[Made, ...]:
    """Let frames between ports of the bridge pass and, for `exposed` subnets ("a.b.c.0/n"), packets in and out.

    `before`: subnets that were exposed, whose rules are removed. Containers behind the bridge `isolate` that are not on
    the overlay cannot enter it through this host. Idempotent; returns the tables that contain our rules now. Raises
    `EnvironmentProblem`.
    """
    made: list[Made] = []
    for command, setting, version in _FAMILIES:
        subnets = [subnet for subnet in exposed if (":" in subnet) == (version == 6)]
        stale = any((":" in subnet) == (version == 6) for subnet in before)
        if not subnets and not stale and not _needed(command, setting):
            continue
        if shutil.which(command) is None:
            raise EnvironmentProblem(f"no {command} on this host: install it (Debian: apt-get install iptables)")
        tables = [("filter", list(filter_rules(subnets, isolate)))]
        if subnets or f":{CHAIN}" in _run(f"{command}-save", "-t", "nat"):
            tables.append(("nat", list(nat_rules(subnets)) if masquerade else []))
        for table, rules in tables:
            hook = _HOOKS[table]
            text = "\n".join((f"*{table}", f":{CHAIN} - [0:0]", *rules, "COMMIT", ""))
            _run(f"{command}-restore", "-w", "--noflush", stdin=text)
            if f"-A {hook} -j {CHAIN}" not in _run(command, "-w", "-t", table, "-S", hook).splitlines():
                _run(command, "-w", "-t", table, "-I", hook, "-j", CHAIN)
            made.append((version, table))
    return tuple(made)


def remove() -> None:
    """Remove all our chains and jumps, in both variants of iptables, even if jumps are missing."""
    for plain, _, version in _FAMILIES:
        for command in (plain, f"{plain}-nft", f"{plain}-legacy"):
            if shutil.which(command) is None:
                continue
            for table in _HOOKS:
                if command.endswith("-legacy") and not Tables.has_legacy(version, table):
                    continue  # reading this table would create it
                try:
                    _remove(command, table)
                except EnvironmentProblem as error:
                    log.warning("packet filter: %s", error)


def _remove(command: str, table: str) -> None:
    saved = _run(f"{command}-save", "-t", table).splitlines()
    if not any(line.startswith(f":{CHAIN} ") for line in saved):
        return
    leading = [line for line in saved if line.startswith("-A ") and line.split()[-2:] in (["-j", CHAIN], ["-g", CHAIN])]
    lines = (f"*{table}", *(f"-D{line[2:]}" for line in leading), f"-F {CHAIN}", f"-X {CHAIN}", "COMMIT", "")
    _run(f"{command}-restore", "-w", "--noflush", stdin="\n".join(lines))


class Watch:
    """Detects when others change what `ensure` made, or make it necessary. `close` closes its socket."""

    def __init__(self) -> None:
        self._tables = Tables(CHAIN)
        self._made: Collection[Made] | None = None
        self._settled: dict[Made, HookState] = {}
        self._stopped: dict[int, bool] = {}

    def settled(self, made: Collection[Made]) -> None:
        """Remember the state that `ensure` has just made; later differences are changes by others."""
        self._made = made
        seen = {(version, table): self._see(version, table) for version, table in made}
        self._settled = {key: each for key, each in seen.items() if each is not None}
        self._stopped = {version: self._stops(version, setting) for _, setting, version in _FAMILIES}

    def changes(self) -> tuple[str, ...]:
        """Changes by others, as phrases. A table that cannot be read now is skipped until the next call."""
        if self._made is None:
            return ()
        found = []
        for command, setting, version in _FAMILIES:
            for table, hook in _HOOKS.items():
                if (version, table) in self._made:
                    seen = self._see(version, table)
                    if seen is None:
                        continue
                    settled = self._settled.get((version, table))
                    if not seen.jumps:
                        found.append(f"{command} jump from {hook} to chain {CHAIN} was missing")
                    if settled is None or seen.rules != settled.rules:
                        found.append(f"{command} chain {CHAIN} of table {table} was changed")
            if (version, "filter") not in self._made and not self._stopped[version] and self._stops(version, setting):
                found.append(f"{command} FORWARD was made to drop frames between containers")
        return tuple(found)

    def close(self) -> None:
        """Close the socket."""
        self._tables.close()

    def _see(self, version: int, table: str) -> HookState | None:
        """The state of the table's hook; None: it cannot be read now."""
        try:
            return self._tables.see(version, table, _HOOKS[table])
        except InterruptedError:
            return None

    def _stops(self, version: int, setting: str) -> bool:
        seen = self._see(version, "filter") if _calls(setting) else None
        return seen is not None and seen.filters


def filter_rules(exposed: Sequence[str], isolate: str) -> Iterator[str]:
    """The rules of the filter table's chain."""
    yield f"-A {CHAIN} -i {isolate} -o {BRIDGE} -j DROP"
    yield f"-A {CHAIN} -i {BRIDGE} -o {BRIDGE} -j ACCEPT"
    if exposed:
        yield f"-A {CHAIN} -o {BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    for subnet in exposed:
        yield f"-A {CHAIN} -i {BRIDGE} -s {subnet} -j ACCEPT"
        yield f"-A {CHAIN} -o {BRIDGE} -d {subnet} -j ACCEPT"


def nat_rules(exposed: Sequence[str]) -> Iterator[str]:
    """The rules of the NAT table's chain: packets that cross the overlay's border get this host's address."""
    for subnet in exposed:
        if ":" not in subnet:
            yield f"-A {CHAIN} -s {subnet} -d 224.0.0.0/4 -j RETURN"
        yield f"-A {CHAIN} -s {subnet} ! -d {subnet} ! -o {BRIDGE} -j MASQUERADE"
        yield f"-A {CHAIN} ! -s {subnet} -d {subnet} -o {BRIDGE} -j MASQUERADE"


def _calls(setting: str) -> bool:
    """Whether bridged frames go through the packet filter."""
    try:
        return Path("/proc/sys/net/bridge", setting).read_text(encoding="utf-8").strip() == "1"
    except OSError:
        return False


def _needed(command: str, setting: str) -> bool:
    if not _calls(setting) or shutil.which(command) is None:
        return False
    try:
        rules = _run(command, "-w", "-S", "FORWARD").splitlines()
    except EnvironmentProblem as error:
        log.debug("packet filter: %s", error)
        return False
    return any(rule not in ("-P FORWARD ACCEPT", f"-A FORWARD -j {CHAIN}") for rule in rules)


def _run(*words: str, stdin: str = "") -> str:
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT, check=False, close_fds=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblem(f"{words[0]}: {error}") from None
    if done.returncode:
        raise EnvironmentProblem(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout

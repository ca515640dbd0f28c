"""The host's packet filter, as far as the overlay depends on it: bridged frames that must pass, and `weave expose`.

Owns the iptables chains named `WEAVE` and the jumps to them. Docker sets the policy of FORWARD to DROP and has bridged
frames go through it (br_netfilter), which would cut containers of one bridge off from each other; where neither is so,
nothing is changed. Blocking: callers on an event loop use a thread.
"""

import logging
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from overlay.datapath.vxlan import BRIDGE
from overlay.errors import EnvironmentProblem

__all__ = ["ensure", "filter_rules", "nat_rules", "remove"]

log = logging.getLogger(__name__)

CHAIN = "WEAVE"
_TIMEOUT = 20.0
_FAMILIES = (("iptables", "bridge-nf-call-iptables", 4), ("ip6tables", "bridge-nf-call-ip6tables", 6))


def ensure(
    exposed: Sequence[str] = (), *, before: Sequence[str] = (), masquerade: bool = True, isolate: str = "docker0"
) -> None:
    """Let frames between ports of the bridge pass and, for `exposed` subnets ("a.b.c.0/n"), packets in and out.

    `before`: subnets that were exposed, whose rules go. Containers behind the bridge `isolate` that are not on the
    overlay cannot enter it through this host. Idempotent. Raises `EnvironmentProblem`.
    """
    for command, setting, version in _FAMILIES:
        subnets = [subnet for subnet in exposed if (":" in subnet) == (version == 6)]
        stale = any((":" in subnet) == (version == 6) for subnet in before)
        if not subnets and not stale and not _needed(command, setting):
            continue
        if shutil.which(command) is None:
            raise EnvironmentProblem(f"no {command} on this host: install it (Debian: apt-get install iptables)")
        tables = [("filter", list(filter_rules(subnets, isolate)), "FORWARD")]
        if subnets or f":{CHAIN}" in _run(f"{command}-save", "-t", "nat"):
            tables.append(("nat", list(nat_rules(subnets)) if masquerade else [], "POSTROUTING"))
        for table, rules, hook in tables:
            text = "\n".join((f"*{table}", f":{CHAIN} - [0:0]", *rules, "COMMIT", ""))
            _run(f"{command}-restore", "-w", "--noflush", stdin=text)
            if not _jumps(command, table, hook):
                _run(command, "-w", "-t", table, "-I", hook, "-j", CHAIN)


def remove() -> None:
    """Take everything away again."""
    for command, _, _ in _FAMILIES:
        if shutil.which(command) is None:
            continue
        for table, hook in (("filter", "FORWARD"), ("nat", "POSTROUTING")):
            try:
                if not _jumps(command, table, hook):
                    continue
                _run(command, "-w", "-t", table, "-D", hook, "-j", CHAIN)
                _run(command, "-w", "-t", table, "-F", CHAIN)
                _run(command, "-w", "-t", table, "-X", CHAIN)
            except EnvironmentProblem as error:
                log.warning("packet filter: %s", error)


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
    """The rules of the NAT table's chain: who crosses the border of the overlay goes by this host's address there."""
    for subnet in exposed:
        if ":" not in subnet:
            yield f"-A {CHAIN} -s {subnet} -d 224.0.0.0/4 -j RETURN"
        yield f"-A {CHAIN} -s {subnet} ! -d {subnet} ! -o {BRIDGE} -j MASQUERADE"
        yield f"-A {CHAIN} ! -s {subnet} -d {subnet} -o {BRIDGE} -j MASQUERADE"


def _needed(command: str, setting: str) -> bool:
    try:
        called = Path("/proc/sys/net/bridge", setting).read_text(encoding="utf-8").strip() == "1"
    except OSError:
        return False
    if not called or shutil.which(command) is None:
        return False
    try:
        return "-P FORWARD DROP" in _run(command, "-w", "-S", "FORWARD")
    except EnvironmentProblem as error:
        log.debug("packet filter: %s", error)
        return False


def _jumps(command: str, table: str, hook: str) -> bool:
    return f"-A {hook} -j {CHAIN}" in _run(command, "-w", "-t", table, "-S", hook).splitlines()


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

"""A firewall that flushes or closes FORWARD under a running daemon cuts nobody off for long; `reset` leaves nothing.

For both kinds of iptables and both kinds of addresses, on real frames that go through the kernel's packet filter.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import IMAGE, Host, eventually, underlay
from tiers import cannot_run

FAMILIES = {"iptables": "10.0.1.2", "ip6tables": "fd00:2::2"}


class NftHost(Host):
    """A host whose `iptables` is iptables-nft."""

    kind = "nft"

    @property
    def env(self) -> dict[str, str]:
        tools = self.disk / "tools"
        if not tools.exists():
            tools.mkdir()
            for family in FAMILIES:
                for suffix in ("", "-save", "-restore"):
                    (tools / f"{family}{suffix}").symlink_to(shutil.which(f"{family}-{self.kind}{suffix}") or "")
        return {**super().env, "PATH": f"{tools}:{os.environ['PATH']}"}

    def close_forward(self) -> None:
        """As Docker does at its start."""
        for family in FAMILIES:
            self.sh(f"sysctl -qw net.bridge.bridge-nf-call-{family}=1; {family} -P FORWARD DROP")

    def cut_off(self, script: str) -> None:
        """A change while the daemon stands still, so that its effect can be seen before it is mended."""
        daemon = self.daemon()
        self.sh(f"kill -STOP {daemon}; {script}")
        try:
            assert not any(self.pings("one", address) for address in FAMILIES.values())
        finally:
            self.sh(f"kill -CONT {daemon}")

    def connected(self) -> bool:
        return all(self.pings("one", address) for address in FAMILIES.values())


class LegacyHost(NftHost):
    """A host whose `iptables` is iptables-legacy."""

    kind = "legacy"


@pytest.fixture(scope="module", params=[NftHost, LegacyHost], ids=lambda kind: str(kind.kind))
def host(request: pytest.FixtureRequest) -> Iterator[NftHost]:
    """A host with two containers, and Docker's policy."""
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        pytest.skip("bridged frames pass no packet filter here: `modprobe br_netfilter`")
    if shutil.which(f"iptables-{request.param.kind}") is None:
        cannot_run(f"no iptables-{request.param.kind}: apt-get install iptables")
    with underlay(request.param) as made:
        orion = made.host("orion", 2)
        assert isinstance(orion, NftHost)
        orion.close_forward()
        if "-P FORWARD DROP" not in orion.run("iptables", "-S", check=False).stdout:
            pytest.skip(f"this kernel has no iptables-{request.param.kind}")
        orion.weave("launch")
        for number, name in ((1, "one"), (2, "two")):
            orion.weave("run", f"10.0.1.{number}/24", f"fd00:2::{number}/64", "--name", name, IMAGE, name)
        eventually(orion.connected, 30, "the containers of the host reach each other")
        yield orion


def told(host: Host, *words: str) -> None:
    """`status` says that this was mended, and that nothing is wrong."""
    eventually(
        lambda: all(word in host.weave("status").stdout for word in ("of others mended, last ", *words)), 30, str(words)
    )
    assert "Trouble" not in host.weave("status").stdout


def test_a_flushed_forward_chain_is_mended_and_said(host: NftHost) -> None:
    host.cut_off("iptables -F FORWARD; ip6tables -F FORWARD")
    eventually(host.connected, 30, "mended")
    told(host, "iptables jump from FORWARD to chain WEAVE was missing", "ip6tables jump")


def test_rules_that_are_taken_from_the_chain_come_back(host: NftHost) -> None:
    host.weave("expose", "10.0.1.100/24")
    before = host.sh("iptables-save -t nat | grep -e '-A WEAVE'; iptables -S WEAVE")
    assert "MASQUERADE" in before
    host.sh("iptables -t nat -F POSTROUTING; iptables -t nat -F WEAVE; iptables -D WEAVE 1")
    told(host, "iptables chain WEAVE of table filter was changed", "iptables chain WEAVE of table nat was changed")
    assert host.sh("iptables-save -t nat | grep -e '-A WEAVE'; iptables -S WEAVE") == before
    assert "-A POSTROUTING -j WEAVE" in host.sh("iptables-save -t nat")


def test_after_a_reset_nothing_is_left_whatever_was_flushed(host: NftHost) -> None:
    host.sh("iptables -N MINE; iptables -A MINE -s 10.0.9.0/24 -j WEAVE")
    host.kill_daemon()
    host.sh("iptables -F FORWARD; iptables -t nat -F POSTROUTING; ip6tables -F FORWARD")
    assert "WEAVE" in host.sh("iptables-save; ip6tables-save")
    host.weave("reset")
    assert "WEAVE" not in host.sh("iptables-save; ip6tables-save")
    assert "-N MINE" in host.sh("iptables -S")


def test_a_firewall_that_comes_later_cuts_off_nobody(host: NftHost) -> None:
    """Docker's policy, or a rule at the end as of firewalld's and RHEL's."""
    for family in FAMILIES:
        host.sh(f"{family} -P FORWARD ACCEPT; {family} -F FORWARD")
    host.weave("launch")
    for number, name in ((1, "one"), (2, "two")):
        host.weave("attach", f"10.0.1.{number}/24", f"fd00:2::{number}/64", name)
    eventually(host.connected, 30, "all is open")
    assert "WEAVE" not in host.sh("iptables-save -t filter; ip6tables-save -t filter")
    host.cut_off("iptables -P FORWARD DROP; ip6tables -A FORWARD -j REJECT")
    eventually(host.connected, 30, "mended")
    told(host, "iptables FORWARD was made to drop", "ip6tables FORWARD was made to drop")
    host.weave("reset")


def test_what_the_other_kind_of_iptables_made_goes_too(host: NftHost) -> None:
    other = "legacy" if host.kind == "nft" else "nft"
    if shutil.which(f"iptables-{other}") is None:
        cannot_run(f"no iptables-{other}: apt-get install iptables")
    host.sh(f"iptables-{other} -N WEAVE; iptables-{other} -I FORWARD -j WEAVE")
    host.weave("reset")
    assert "WEAVE" not in host.sh(f"iptables-{other}-save 2>/dev/null")

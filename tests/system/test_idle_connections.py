"""What ends a control connection on which nobody says anything: not a lost packet or two."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from overlay_hosts import Host, eventually, underlay

EMPTY = "tcp sport 6783 meta length 52"
"""What the listening side says to a keepalive, and its own."""


def _probes(host: Host) -> int:
    """Keepalives that `host` has sent."""
    names, values = (line.split() for line in host.sh("grep ^TcpExt /proc/net/netstat").splitlines())
    return int(values[names.index("TCPKeepAlive")])


def test_lost_keepalives_do_not_end_an_idle_connection() -> None:
    with underlay() as made:
        for number, name in ((2, "orion"), (3, "macbook")):  # rounds of gossip would keep it busy
            made.host(name, number).weave("launch", "--gossip-interval", "10m")
        orion = made.hosts["orion"]
        orion.weave("connect", "192.168.0.3")
        eventually(lambda: "established" in orion.log)
        eventually(lambda: _probes(orion) >= 1, what="idle")
        drop = f"{EMPTY} limit rate 1/day burst 2 packets counter drop"
        orion.sh(f"nft 'table inet lost {{ chain in {{ type filter hook input priority 0; {drop}; }}; }}'")
        before = _probes(orion)
        # One that is lost, and at the latest the second one after it has found the connection alive.
        eventually(lambda: _probes(orion) >= before + 4, what="probed again after the loss")
        assert "counter packets 2 " in orion.sh("nft list table inet lost")
        assert "ended" not in orion.log

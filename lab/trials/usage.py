"""What an overlay uses and leaves on a host: commands for `exec` steps that count, and the reading of what they print.

Owns both ends of each line. Counted are the processes of the host's own network namespace that were not there before
the overlay was launched (containers have namespaces of their own), without the lab's probes and what an engine starts
for each container; and all packets on the host's cables. What the kernel does for an overlay is in no process, so it is
not counted.
"""

import re

from msgspec import Struct

__all__ = ["LEFT", "REMEMBER", "USAGE", "HostUsage", "left_in", "usage_in"]

_LIST = "/root/.league-before"
REMEMBER = f"cd /proc && ls -d [0-9]* > {_LIST}"
"""To be run before the overlay is launched."""
_EACH = rf"""
net=$(readlink /proc/self/ns/net) cpu=0 pages=0 count=0 bytes=0 packets=0
for p in /proc/[0-9]*; do
    pid=${{p#/proc/}}
    [ "$pid" = $$ ] && continue
    grep -qx "$pid" {_LIST} 2>/dev/null && continue
    [ "$(readlink $p/ns/net 2>/dev/null)" = "$net" ] || continue
    name=$(cat $p/comm 2>/dev/null) || continue
    case $name in agent | lab-* | container-init | containerd-shim) continue ;; esac
    set -- $(sed 's/.*) //' $p/stat 2>/dev/null)
    [ $# -gt 22 ] || continue
"""
USAGE = rf"""{_EACH}
    cpu=$((cpu + ${{12}} + ${{13}})) pages=$((pages + ${{22}})) count=$((count + 1))
done
for d in /sys/class/net/eth*/statistics; do
    bytes=$((bytes + $(cat $d/rx_bytes) + $(cat $d/tx_bytes)))
    packets=$((packets + $(cat $d/rx_packets) + $(cat $d/tx_packets)))
done
read -r up rest < /proc/uptime
host=$(cat /proc/sys/kernel/hostname)
echo "usage $host up=$up hz=$(getconf CLK_TCK) page=$(getconf PAGESIZE) cpu=$cpu pages=$pages count=$count \
bytes=$bytes packets=$packets"
"""
_DYING = 2
"""Seconds that a killed process may take to end."""
LEFT = rf"""until=$(($(date +%s) + {_DYING})) last=no
while :; do
    [ "$(date +%s)" -gt $until ] && last=yes
    found=
    {_EACH}
        # A zombie runs no more. The driver itself, like this shell, has its parent outside of the host.
        [ "$1" != Z ] && [ "$2" != 0 ] && [ "$2" != $$ ] && found="$found
left $name"
    done
    [ -z "$found" ] || [ $last = yes ] && break
    sleep 0.1
done
echo "$found"
"""
"""Names the processes of an overlay that run on a host, and still do when killed ones have had time to end."""
_LEFT_LINE = re.compile(r"^left (.+)$", re.MULTILINE)
_LINE = re.compile(
    r"usage (\S+) up=(\d+\.\d+) hz=(\d+) page=(\d+) cpu=(\d+) pages=(\d+) count=(\d+) bytes=(\d+) packets=(\d+)"
)


class HostUsage(Struct, frozen=True, kw_only=True):
    """One host at one moment."""

    host: str
    at: float
    """Seconds of the machine's own clock."""
    cpu: float
    """Seconds that its processes have used."""
    memory: int
    """Bytes that they hold."""
    processes: int
    bytes: int
    """In and out, on its cables."""
    packets: int


def left_in(text: str) -> list[str]:
    """The names of processes that `LEFT` printed."""
    return _LEFT_LINE.findall(text)


def usage_in(text: str) -> HostUsage | None:
    """What one `USAGE` printed; None where the text is no such line."""
    found = _LINE.search(text)
    if found is None:
        return None
    hz, page, ticks, pages, number, size, packets = (int(found[group]) for group in range(3, 10))
    return HostUsage(
        host=found[1],
        at=float(found[2]),
        cpu=ticks / hz if hz else 0.0,
        memory=pages * page,
        processes=number,
        bytes=size,
        packets=packets,
    )

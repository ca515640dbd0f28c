"""Scripts for a machine's own underlay network, as text: names and addresses, cuts, links.

Pure; `guests.py` runs them inside the machines. The lab cannot access cables between machines (the bridge belongs to a
hypervisor), so all rules are in the machines: a receiver drops by its sender's MAC address, at the ingress hook, where
ARP and broadcast pass too; a sender delays by its receiver's MAC address. A machine identifies its network cards by
their MAC addresses, so neither their order nor the kernel's names for them matter.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lab.fabric import plan, queues, rules
from lab.fabric.plan import MTU, Interface, Underlay
from lab.links import Link, Links

_SEGMENT = MTU + 100
"""Bytes of a bucket that passes one wire packet at a time, and so makes tbf split super-packets."""
_UNLIMITED = 10_000_000_000
"""Bits per second of an unlimited bucket: more than an emulated card reaches, and tc still resolves a packet."""
_NAME = "lab"
_JOIN = """\
import array, fcntl, socket, struct, sys
value = array.array("I", [0x2C, int(sys.argv[2])])
request = struct.pack("16sP", sys.argv[1].encode(), value.buffer_info()[0])
fcntl.ioctl(socket.socket(), 0x8946, request)
"""
"""ETHTOOL_SGRO: whether received packets are merged. Not every machine has the `ethtool` command."""
_HOME = """\
is() {{ [ "$(cat "/sys/class/net/$1/address" 2>/dev/null)" = {mac} ]; }}
if ! is {name}; then
  for card in $(ls /sys/class/net); do
    if is "$card"; then
      ip link set "$card" down
      ip link set "$card" name {name}
      break
    fi
  done
fi
if ! is {name}; then
  echo "no network card has the address {mac}, there are: $(cat /sys/class/net/*/address | tr '\\n' ' ')" >&2
  exit 1
fi
ip address flush dev {name}
ip link set {name} mtu {mtu}
"""


def interfaces_of(underlay: Underlay) -> dict[str, list[Interface]]:
    """Host -> its interfaces, with the names that they get in the machine: lab0, lab1 …"""
    return {
        host: [replace(one, name=f"{_NAME}{index}") for index, one in enumerate(interfaces)]
        for host, interfaces in underlay.all_interfaces().items()
    }


def place_of(interfaces: Sequence[Interface]) -> rules.HookPoint:
    """Where a receiver drops: at the first hook for packets of its underlay."""
    devices = ", ".join(one.name for one in interfaces)
    hook = f"ingress devices = {{ {devices} }} priority -200"
    return rules.HookPoint("netdev lab", "ingress", hook, "ether_addr", "ether saddr")


def boot_script(host: str, everyone: Mapping[str, Sequence[Interface]], links: Links) -> str:
    """For `sh -e` in a machine that has just booted: addresses, neighbours, rules and queues, without cuts."""
    own = everyone[host]
    parts = [_HOME.format(name=one.name, mac=one.mac, mtu=MTU) for one in own]
    if any(host in (sender, receiver) for sender, receiver, _ in links.impaired(list(everyone))):
        parts += [line + "\n" for one in own for line in map(shlex.join, wire_commands(one, True))]
    parts.append(_fed("ip -batch -", plan.host_commands(host, everyone)))
    parts.append(_fed("nft -f -", drop_rules(host, everyone, links)))
    parts += [f"tc qdisc del dev {one.name} root 2>/dev/null || true\n" for one in own]
    if held := hold_commands(host, everyone, links):
        parts.append(_fed("tc -batch -", held))
    return "".join(parts)


def drop_rules(host: str, everyone: Mapping[str, Sequence[Interface]], links: Links) -> str:
    """The table of one receiver without cuts, as one `nft -f` transaction."""
    place = place_of(everyone[host])
    drops = [
        (link, senders(everyone, sender, host))
        for sender in everyone
        if not (link := links.between(sender, host)).perfect
    ]
    return rules.table(place, rules.link_drops(place.match, drops))


def cut_rules(host: str, everyone: Mapping[str, Sequence[Interface]], pairs: Iterable[tuple[str, str]]) -> str:
    """This receiver's part of these cut directions (sender, receiver), as one `nft -f` transaction."""
    elements = [
        mac for sender, receiver in sorted(pairs) if receiver == host for mac in senders(everyone, sender, host)
    ]
    return rules.replace_cut(place_of(everyone[host]), elements)


def obstacle_rules(
    host: str,
    everyone: Mapping[str, Sequence[Interface]],
    obstacles: Iterable[tuple[Sequence[str], str, int, int]],
) -> str:
    """This receiver's part of these obstacles (hosts, protocol or "", its port or 0, MTU or 0)."""
    found = []
    for hosts, protocol, port, mtu in obstacles:
        macs = [mac for one in hosts if one != host and host in hosts for mac in senders(everyone, one, host)]
        if macs:
            found.append((f"ether saddr {{ {', '.join(macs)} }}", protocol, port, mtu))
    return rules.replace_obstacles(place_of(everyone[host]).table, found)


def hold_commands(host: str, everyone: Mapping[str, Sequence[Interface]], links: Links) -> str:
    """For `tc -batch` in a sender: a class for each receiver with a queued link, selected by the receiver's MAC
    address.

    In a class, tbf comes first: it limits the rate, and splits super-packets of containers or tunnels into wire packets
    for netem, which would otherwise lose or reorder a super-packet as a whole.
    """
    lines: list[str] = []
    rooted: set[str] = set()
    for number, receiver in enumerate(everyone):
        link = links.between(host, receiver)
        if not (link.rate or link.timed):
            continue
        for source in everyone[host]:
            for target in everyone[receiver]:
                if source.network != target.network:
                    continue
                device, minor = source.name, 2 + number
                if device not in rooted:
                    rooted.add(device)
                    lines.append(f"qdisc add dev {device} root handle 1: htb default 1")
                    lines.append(queues.htb_class(device, 1, queues.UNLIMITED))
                lines.append(queues.htb_class(device, minor, queues.UNLIMITED))
                lines.append(f"qdisc add dev {device} parent 1:{minor:x} handle {minor + 0x100:x}: {_bucket(link)}")
                if link.timed:
                    lines.append(f"qdisc add dev {device} parent {minor + 0x100:x}:1 {queues.netem(link)}")
                lines.append(f"filter add dev {device} parent 1: protocol all {_to(target.mac)} classid 1:{minor:x}")
    return "".join(line + "\n" for line in lines)


def wire_commands(interface: Interface, single: bool) -> list[list[str]]:
    """Commands in a machine: `single` switches offloads off both ways, so that each packet crosses individually."""
    return [
        ["ip", "link", "set", interface.name, "gso_max_segs", "1" if single else "65535"],
        ["python3", "-ISc", _JOIN, interface.name, "0" if single else "1"],
    ]


def senders(everyone: Mapping[str, Sequence[Interface]], sender: str, receiver: str) -> list[str]:
    """MAC addresses by which a receiver knows a sender: those in networks that they share."""
    shared = {one.network for one in everyone[receiver]}
    return [one.mac for one in everyone[sender] if one.network in shared]


def _to(mac: str) -> str:
    """Match of frames for this address, which is 14 bytes before the offset from which u32 counts."""
    digits = mac.replace(":", "")
    return f"u32 match u16 0x{digits[:4]} 0xffff at -14 match u32 0x{digits[4:]} 0xffffffff at -12"


def _bucket(link: Link) -> str:
    rate = link.rate or _UNLIMITED
    return f"tbf rate {rate}bit burst {_SEGMENT} limit {queues.backlog(rate)}"


def _fed(command: str, text: str) -> str:
    return f"{command} <<'END'\n{text.rstrip()}\nEND\n"

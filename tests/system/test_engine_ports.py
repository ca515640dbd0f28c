"""Which port an engine made for a container (`--bridge=weave`): no container can point at the port of another."""

import json
import textwrap

from overlay_hosts import PYTHON, Host, underlay

MACS = {"victim": "02:00:00:00:00:01", "evil": "02:00:00:00:00:02"}
GUARD = textwrap.dedent("""
    import json, subprocess, sys
    from overlay.kernel.attach import Ports
    from overlay.kernel.bridge import BridgeDevices
    from overlay.kernel.netlink import Netlink
    from overlay.kernel.port_filter import PortFilter
    netlink, guard = Netlink(), PortFilter()
    devices = BridgeDevices(bridge=netlink.index("weave"), vxlan=0, tunnel=0, mtu=1400, adopted=False)
    guard.install({})
    ports = Ports(netlink, lambda: devices, guard)
    for name, (pid, mac) in json.loads(sys.argv[1]).items():
        ports.guard(name, pid, mac, ("10.0.1.1/24",))
    print(json.dumps({port: rule.mac for port, rule in guard.rules.items()}))
""")


def guarded(host: Host, *order: str) -> dict[str, str]:
    """The MAC by port that the filter has after these containers, as the engine would name them to the router."""
    pids = {name: int((host.disk / name).read_text()) for name in order}
    asked = json.dumps({name: (pids[name], MACS[name]) for name in order})
    found: dict[str, str] = json.loads(host.run(PYTHON, "-c", GUARD, asked).stdout)
    return found


def test_a_container_with_the_numbers_of_another_gets_its_own_port_guarded() -> None:
    with underlay() as made:
        host = made.host("orion", 2)
        host.sh("ip link add weave type bridge; ip link set weave up")
        for index, (name, mac) in enumerate(MACS.items(), 70):
            host.sh(
                f"unshare --net sleep 1000 >/dev/null 2>&1 & pid=$!; echo $pid >'{host.disk}/{name}'; "
                "while [ $(readlink /proc/$pid/ns/net) = $(readlink /proc/self/ns/net) ]; do :; done; "
                f"nsenter -t $pid -n ip link add eth0 index {index} address {mac} "
                f"type veth peer name port-{name} netns 1; "
                f"ip link set port-{name} master weave up"
            )
        told = host.sh("ip -o link show port-victim")
        outer, inner = told.split(":")[0], told.split("@if")[1].split(":")[0]
        # A pair of its own: one end has the index of the victim's and the MAC of `evil`, the other that of the port.
        pair = f"name x index {inner} address {MACS['evil']} type veth peer name y index {outer}"
        host.sh(f"nsenter -t $(cat '{host.disk}/evil') -n ip link add {pair}")
        expected = {f"port-{name}": mac for name, mac in MACS.items()}
        assert guarded(host, "evil", "victim") == expected
        assert guarded(host, "victim", "evil") == expected

"""What the fabric tells ip, bridge, nft and tc: names, cuts, classes."""

from dataclasses import replace

from lab.fabric import plan, queues, rules
from lab.fabric.impairments import Impairments
from lab.fabric.mechanisms import LinkKernel
from lab.links import Burst, Distribution, Link, Links
from lab.links.changes import LinkChange


def underlay(links: Links | None = None, hosts: int = 3) -> plan.Underlay:
    return plan.Underlay(
        networks={"lan": "192.168.0.0/24", "six": "fd00::/64"},
        hosts={
            chr(97 + number): [("lan", f"192.168.0.{number + 2}"), ("six", f"fd00::{number + 2:x}")][: 2 - number % 2]
            for number in range(hosts)
        },
        links=links or Links(),
    )


def test_macs_are_unique_unicast_and_depend_on_the_address_alone() -> None:
    assert plan.mac_of("192.168.0.2") == "02:4c:c0:a8:00:02"
    six = plan.mac_of("fd00::1")
    assert six == plan.mac_of("fd00:0::1")
    assert six != plan.mac_of("fd00::2")
    assert int(six[:2], 16) & 3 == 2  # locally administered, not a group


def test_names_fit_the_kernels_limit_and_are_unique() -> None:
    wide = plan.Underlay(
        networks={"lan": "10.0.0.0/8"}, hosts={f"h{n}": [("lan", f"10.0.{n >> 8}.{n & 255}")] for n in range(1, 2000)}
    )
    ports = [one.port for interfaces in wide.all_interfaces().values() for one in interfaces]
    assert len(set(ports)) == 1999
    assert max(map(len, ports)) <= 15


def test_a_host_gets_permanent_neighbours_of_its_own_networks_only() -> None:
    everyone = underlay().all_interfaces()
    lines = plan.host_commands("b", everyone).splitlines()
    assert lines == [
        "link set lo up",
        "link set eth0 up",
        "address add 192.168.0.3/24 dev eth0",
        "neighbour replace 192.168.0.2 lladdr 02:4c:c0:a8:00:02 dev eth0 nud permanent",
        "neighbour replace 192.168.0.4 lladdr 02:4c:c0:a8:00:04 dev eth0 nud permanent",
    ]
    lines = plan.host_commands("a", everyone, impaired=["eth1"]).splitlines()
    assert "address add fd00::2/64 dev eth1 nodad" in lines
    assert lines.index("link set eth1 gso_max_segs 1") < lines.index("link set eth1 up")
    assert [line.split()[2] for line in lines if "dev eth1 nud" in line] == ["fd00::4"]


def test_a_cut_names_every_pair_of_ports_in_one_transaction() -> None:
    everyone = underlay().all_interfaces()
    assert list(plan.ports_between(everyone, "a", "c")) == [("p0.0", "p2.0"), ("p0.1", "p2.1")]
    assert rules.cut_rules([]) == "flush set bridge lab cut\n"
    assert rules.cut_rules(plan.ports_between(everyone, "a", "b")) == (
        'flush set bridge lab cut\nadd element bridge lab cut { "p0.0" . "p1.0" }\n'
    )


EVERYTHING = LinkKernel(htb=True, netem=True, relay=True)


NOTHING_BUT_HTB = LinkKernel(htb=True, netem=False, relay=True)


def impairments(of: plan.Underlay, kernel: LinkKernel = EVERYTHING) -> Impairments:
    return Impairments(of, of.all_interfaces(), lambda: kernel)


def test_equal_links_share_a_rule_and_perfect_ones_have_none() -> None:
    assert impairments(underlay()).bridge_rules() == []
    links = Links(Link(loss=0.01), {("a", "b"): Link(loss=0.5, mtu=1200), ("b", "a"): Link(loss=1.0)})
    lines = impairments(underlay(links)).bridge_rules()
    assert lines[0] == 'meta length > 1200 iifname . oifname { "p0.0" . "p1.0" } counter drop'
    assert sum("numgen random mod 1000000000 < 10000000 " in line for line in lines) == 1
    assert sum("numgen random mod 1000000000 < 500000000 " in line for line in lines) == 1
    assert sum("numgen" in line for line in lines) == 2  # certain loss draws nothing
    assert not any("priority" in line or "mark" in line for line in lines)


def test_each_sender_has_a_class_of_its_own_at_the_port_of_exit() -> None:
    links = Links(pairs={("a", "b"): Link(rate=8_000_000), ("c", "b"): Link(delay=1_500_000)})
    found = impairments(underlay(links))
    assert found.bridge_rules() == [
        'meta priority set iifname . oifname map { "p0.0" . "p1.0" : 1:2, "p2.0" . "p1.0" : 1:4 }'
    ]
    assert found.port_commands(["p0.0", "p0.1"]) == ""
    first = [
        "qdisc add dev p1.0 root handle 1: htb default 1",
        "class replace dev p1.0 parent 1: classid 1:1 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "class replace dev p1.0 parent 1: classid 1:2 htb rate 8000000bit burst 3000 cburst 3000",
        "qdisc replace dev p1.0 parent 1:2 bfifo limit 100000",
        "class replace dev p1.0 parent 1: classid 1:4 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "qdisc replace dev p1.0 parent 1:4 netem limit 100000 delay 1500us",
    ]
    assert found.port_commands(["p1.0"]).splitlines() == first
    assert found.wire_ports() == {"p0.0", "p1.0", "p2.0"}


def test_a_queue_changes_in_place_and_lets_go_what_waits_when_its_link_is_perfect_again() -> None:
    found = impairments(underlay(Links(pairs={("c", "b"): Link(delay=1_500_000)})))
    assert "netem" in found.port_commands(["p1.0"])
    before = found.rooted()
    changed = found.change(1, LinkChange((("c", "b"), ("a", "b")), {"delay": 0}))
    assert changed == {("c", "b"): Link()}
    assert found.change_commands(changed, before).splitlines() == [
        "class replace dev p1.0 parent 1: classid 1:4 htb rate 100000000000bit burst 12500000 cburst 12500000",
        "qdisc replace dev p1.0 parent 1:4 netem limit 100000",
    ]
    assert found.bridge_rules() == [] and found.wire_ports() == set()
    paced = impairments(underlay(Links(pairs={("c", "b"): Link(rate=8_000_000)})), NOTHING_BUT_HTB)
    paced.port_commands(["p1.0"])
    changed = paced.change(1, LinkChange((("c", "b"),), {"rate": 0}))
    assert "netem" not in paced.change_commands(changed, paced.rooted()), "this kernel has none"
    changed = found.change(2, LinkChange((("a", "c"),), {"delay": 2_000_000}))
    assert "qdisc add dev p2.0 root handle 1: htb default 1" in found.change_commands(changed, before)


def test_a_port_that_is_made_again_has_only_the_queues_that_are_in_use() -> None:
    found = impairments(underlay(Links()))
    (slow,) = found.change(1, LinkChange((("c", "b"),), {"delay": 1_500_000}))
    first = found.change_commands([slow], ())
    assert first.startswith("qdisc add dev p1.0 root handle 1: htb default 1\n") and "netem" in first
    found.change(1, None)
    assert found.port_commands(["p0.0"]) == "" and found.rooted() == {"p1.0"}, "another host's port"
    assert found.port_commands(["p1.0"]) == ""
    before = found.rooted()
    found.change(2, LinkChange((slow,), {"delay": 1_500_000}))
    assert found.change_commands([slow], before) == first


NOTHING = LinkKernel(htb=False, netem=False, relay=True)


def test_what_the_kernel_cannot_make_is_marked_for_the_relay() -> None:
    slow = Link(delay=1_500_000, loss=0.1, mtu=1200)
    found = impairments(underlay(Links(pairs={("a", "c"): slow, ("b", "a"): Link(loss=0.5)})), NOTHING)
    assert found.relayed() == {("a", "c"): slow}
    assert [(way.mark, way.port) for way in found.ways([("a", "c")])] == [(1, "p2.0"), (2, "p2.1")]
    loss, marks = found.bridge_rules()  # of the relayed link's loss and MTU the rules know nothing
    assert '{ "p1.0" . "p0.0" } numgen' in loss
    assert marks == 'meta mark set iifname . oifname map { "p0.0" . "p2.0" : 1, "p0.1" . "p2.1" : 2 }'
    lines = found.port_commands(["p2.0", "p0.0"]).splitlines()
    assert lines[0] == "qdisc replace dev p2.0 clsact" and lines[1].endswith("redirect dev relay0") and len(lines) == 2
    changed = found.change(7, LinkChange((("b", "c"),), {"rate": 1_000_000}))
    assert found.change_commands(changed, ()) == "", "the port is steered already"
    assert [way.mark for way in found.ways(changed)] == [3]
    found.change(7, None)
    found.change(8, LinkChange((("b", "c"),), {"delay": 1}))
    assert [way.mark for way in found.ways(changed)] == [3], "a direction keeps its mark"
    changed = found.change(9, LinkChange((("a", "b"),), {"delay": 1}))
    assert found.change_commands(changed, ()).splitlines()[0] == "qdisc replace dev p1.0 clsact"


def test_over_a_router_the_relay_goes_by_addresses() -> None:
    links = Links(pairs={("in", "out"): Link(delay=2_000_000), ("out", "in"): Link(loss=0.25, mtu=1300)})
    found = impairments(replace(routed(), links=links))
    assert found.bridge_rules() == []
    assert found.router_rules() == [
        "meta length > 1300 ip saddr . ip daddr { 192.168.0.2 . 10.1.0.2 } counter drop",
        "ip saddr . ip daddr { 192.168.0.2 . 10.1.0.2 } numgen random mod 1000000000 < 250000000 counter drop",
        "meta mark set ip saddr . ip daddr map { 10.1.0.2 . 192.168.0.2 : 1 }",
    ]
    assert [way.port for way in found.ways(found.relayed())] == ["p1.0"]


def test_marks_over_a_router_follow_a_host_to_another_address() -> None:
    of = replace(routed(), links=Links(pairs={("in", "out"): Link(delay=2_000_000)}))
    interfaces = of.all_interfaces()
    found = Impairments(of, interfaces, lambda: EVERYTHING)
    interfaces["in"][0] = replace(interfaces["in"][0], address="10.1.0.9")
    assert found.router_rules() == ["meta mark set ip saddr . ip daddr map { 10.1.0.9 . 192.168.0.2 : 1 }"]


def test_netem_in_its_own_words() -> None:
    link = Link(
        delay=10_000_000,
        jitter=2_000_000,
        distribution=Distribution.PARETO,
        burst=Burst(enter=0.01, leave=0.25),
        duplicate=0.001,
        corrupt=0.0005,
        reorder=0.02,
        loss=0.5,
        rate=1,
    )
    assert queues.netem(link) == (
        "netem limit 100000 delay 10000us 2000us distribution pareto "
        "loss gemodel 1.000000% 25.000000% 100.000000% 0.000000% "
        "duplicate 0.100000% corrupt 0.050000% reorder 2.000000%"
    )


def routed(nat: str = "") -> plan.Underlay:
    return plan.Underlay(
        networks={"home": "10.1.0.0/24", "wan": "192.168.0.0/24"},
        hosts={"in": [("home", "10.1.0.2")], "out": [("wan", "192.168.0.2")]},
        routers=[plan.FabricRouter("gw", (("home", "10.1.0.1"), ("wan", "192.168.0.1")), nat, ("icmp",))],
    )


def test_a_router_joins_its_networks_and_hides_one() -> None:
    assert plan.router_commands(routed()).splitlines() == [
        "address add 10.1.0.1/24 dev br0",
        "address add 192.168.0.1/24 dev br1",
    ]
    assert plan.route_commands(routed(), "out") == "route replace 10.1.0.0/24 via 192.168.0.1\n"
    hidden = routed("home")
    assert plan.route_commands(hidden, "out") == ""
    assert plan.route_commands(hidden, "in") == "route replace 192.168.0.0/24 via 10.1.0.1\n"
    text = rules.router_rules(hidden)
    assert 'iifname "br1" oifname "br0" ct state established,related accept' in text
    assert text.count("snat") == 1 and 'iifname "br0" oifname "br1" snat ip to 192.168.0.1' in text
    assert 'iifname "br0" oifname "br1" meta l4proto { icmp, icmpv6 } drop' in text
    assert "snat" not in rules.router_rules(routed())


def test_obstacles_are_replaced_whole() -> None:
    text = rules.obstacle_rules([(["p0.0", "p1.0"], "udp", 6784, 0), (["p0.0"], "", 0, 1200), (["p0.0"], "tcp", 0, 0)])
    assert text.splitlines() == [
        "flush chain bridge lab obstacles",
        'add rule bridge lab obstacles iifname { "p0.0", "p1.0" } oifname { "p0.0", "p1.0" } '
        "udp dport 6784 counter drop",
        'add rule bridge lab obstacles iifname { "p0.0" } oifname { "p0.0" } meta length > 1200 counter drop',
        'add rule bridge lab obstacles iifname { "p0.0" } oifname { "p0.0" } meta l4proto tcp counter drop',
    ]


def test_at_routers_cuts_and_obstacles_go_by_the_hosts_addresses() -> None:
    pairs = [("10.1.0.2", "192.168.0.2"), ("fd00::2", "fd01::2"), ("10.1.0.2", "fd01::2")]
    assert rules.cut_rules([("p0.0", "p1.0")], pairs).splitlines() == [
        "flush set bridge lab cut",
        'add element bridge lab cut { "p0.0" . "p1.0" }',
        "flush set inet routers cutip",
        "add element inet routers cutip { 10.1.0.2 . 192.168.0.2 }",
        "flush set inet routers cutip6",
        "add element inet routers cutip6 { fd00::2 . fd01::2 }",
    ]
    found = rules.obstacle_rules([], [(["10.1.0.2", "192.168.0.2", "fd00::2"], "", 0, 1200)])
    assert found.splitlines()[1:] == [
        "flush chain inet routers obstacles",
        "add rule inet routers obstacles ip saddr { 10.1.0.2, 192.168.0.2 } ip daddr { 10.1.0.2, 192.168.0.2 } "
        "meta length > 1200 counter drop",
        "add rule inet routers obstacles ip6 saddr { fd00::2 } ip6 daddr { fd00::2 } meta length > 1200 counter drop",
    ]
    text = rules.router_rules(routed(), ["of links"])
    assert (
        text.index("@cutip counter drop")
        < text.index("jump obstacles")
        < text.index("jump links")
        < text.index("accept")
    )

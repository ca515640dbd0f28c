"""Policies among nodes: what counts as a container's name, when the packet filter is told, and who agrees with whom."""

from ipaddress import ip_address
from typing import Any

from virtual_nodes import VirtualNodes

from overlay.compiled_policy import CompiledPolicy
from overlay.effects import Reply, SetForwarding, SetPolicy
from overlay.env import SECOND
from overlay.inputs import Attached, ChangePolicy, PolicyEnforced, RegisterName, RemovePolicies

DB, WEB = ip_address("10.32.0.5"), ip_address("10.32.0.9")
MAC = "02:00:00:00:00:{:02x}"


def attach(net: VirtualNodes, at: int, name: str, address: str, number: int, **labels: str) -> None:
    words = tuple(sorted(labels.items()))
    net.handle(at, Attached(f"id-{name}-{at}", MAC.format(number), (f"{address}/12",), (name,), words))


def change(net: VirtualNodes, at: int, words: str, **flags: Any) -> Reply:
    verb, _, rule = words.partition(" ")
    before = len(net.hosts[at].effects)
    net.handle(at, ChangePolicy(1, rule, verb == "allow", **flags))
    (reply,) = [effect for effect in net.drain_from(at, before) if isinstance(effect, Reply)]
    return reply


def told(net: VirtualNodes, at: int) -> CompiledPolicy:
    """What the packet filter of a host goes by."""
    return next((e.policy for e in reversed(net.hosts[at].effects) if isinstance(e, SetPolicy)), CompiledPolicy())


def may(net: VirtualNodes, at: int, source: Any = WEB, target: Any = DB, port: int = 80) -> bool:
    return told(net, at).decide(source, target, "tcp", port)[0]


def settled(net: VirtualNodes) -> bool:
    digests = {node.policies.digest for node in net.nodes.values()}
    return net.agree() and len(digests) == 1


def meshed(count: int, **options: Any) -> VirtualNodes:
    net = VirtualNodes(count, **options)
    net.mesh()
    attach(net, 0, "db", str(DB), 1, role="db")
    attach(net, 1, "web", str(WEB), 2)
    net.run_until(net.agree, 10 * SECOND)
    return net


def test_only_a_container_s_own_peer_says_what_it_is_called() -> None:
    net = meshed(3)
    assert not change(net, 2, "deny from all to db").error
    assert not change(net, 2, "deny from all to role=db").error
    net.run_until(lambda: settled(net) and not may(net, 1), 10 * SECOND)
    before = told(net, 1)
    # Another peer gives its own container's address in DNS to the name, and says that it has the database's address.
    net.handle(2, RegisterName("weave:extern", "db.weave.local.", str(WEB)))
    attach(net, 2, "web", str(DB), 9, role="front")
    net.run_until(net.agree, 10 * SECOND)
    assert not change(net, 2, "allow from all to role=front", force=True).error
    assert not change(net, 2, "allow from all to web").error
    net.run_until(lambda: settled(net) and told(net, 1) != before, 10 * SECOND)
    for at in range(3):
        assert not may(net, at), "the database is still nothing but the database"
        assert may(net, at, target=WEB, source=DB), "and the name in DNS changes nothing"
        net.nodes[at].check_invariants()


def test_the_packet_filter_knows_a_container_before_anything_is_forwarded_to_it() -> None:
    net = meshed(3)
    change(net, 2, "deny from all to role=late", force=True)
    net.run_until(lambda: settled(net), 10 * SECOND)
    before = len(net.hosts[1].effects)
    attach(net, 0, "late", "10.32.0.77", 7, role="late")
    net.run_until(net.agree, 10 * SECOND)
    kinds = [type(effect) for effect in net.drain_from(1, before)]
    assert kinds.index(SetPolicy) < kinds.index(SetForwarding)
    assert not may(net, 1, target=ip_address("10.32.0.77"))


def test_halves_of_a_network_merge_what_both_have_changed() -> None:
    net = meshed(4)
    change(net, 0, "deny from all to db")
    change(net, 0, "allow from web to db:80")
    net.run_until(lambda: settled(net), 10 * SECOND)
    net.partition([0, 1], [2, 3])
    net.run(10 * SECOND)
    change(net, 0, "deny from all to db", remove=True)
    change(net, 3, "deny from web to db:80", force=True)
    change(net, 3, "deny from db to web")
    net.run(2 * SECOND)
    report = net.nodes[0].report(net.now)["policy"]
    assert [peer["differs"] for peer in report["peers"]] == [""], "of those that are out of reach nothing is said"
    net.heal()
    net.run_until(lambda: settled(net) and len(net.nodes[0].mesh.reachable) == 4, 60 * SECOND)
    texts = [each["policy"] for each in net.nodes[1].report(net.now)["policy"]["policies"]]
    assert texts == ["deny from web to db:80", "deny from db to web"]
    assert not may(net, 2) and may(net, 2, port=81) and not may(net, 0, DB, WEB)


def test_policies_outlive_the_end_of_all_peers_at_once() -> None:
    net = meshed(3)
    change(net, 0, "deny from all to db")
    net.run_until(lambda: settled(net), 10 * SECOND)
    for at in range(3):
        net.kill(at)
    net.run(SECOND)
    node = net.launch(2)
    assert [entry.rule for entry in node.policies.channel.entries()] == ["from all to db"]
    net.launch(1, [2])
    net.launch(0, [2])
    attach(net, 0, "db", str(DB), 1, role="db")
    net.run_until(lambda: settled(net) and len(net.nodes[1].mesh.reachable) == 3, 60 * SECOND)
    net.run_until(lambda: all(node.policies.compiled.rules for node in net.nodes.values()), 10 * SECOND)
    assert not may(net, 1) and not may(net, 2)


def test_every_peer_says_who_does_not_enforce_what_the_others_do() -> None:
    net = meshed(3)
    change(net, 0, "deny from all to db")
    for at in range(3):
        net.handle(at, PolicyEnforced("conntrack"))
    net.run_until(lambda: settled(net), 10 * SECOND)
    report = net.nodes[0].report(net.now)["policy"]
    assert (report["state"], {peer["differs"] for peer in report["peers"]}) == ("conntrack", {""})
    net.handle(2, PolicyEnforced("off", "no nftables"))
    net.run_until(lambda: net.agree(), 10 * SECOND)
    report = net.nodes[0].report(net.now)["policy"]
    assert [(peer["nickname"], peer["differs"]) for peer in report["peers"]] == [
        ("host1", ""),
        ("host2", "has no packet filter"),
    ]
    assert net.nodes[2].report(net.now)["policy"]["problem"] == "no nftables"
    before = len(net.hosts[1].effects)
    net.handle(1, RemovePolicies(7, (1,)))
    assert [e.value for e in net.drain_from(1, before) if isinstance(e, Reply)] == ["deny from all to db"]
    net.run_until(lambda: settled(net) and may(net, 0), 10 * SECOND)
    assert all(told(net, at).empty for at in range(3))


def test_all_agree_again_when_a_policy_goes_that_was_about_nobody() -> None:
    net = meshed(3)
    change(net, 0, "deny from later to db", force=True)
    net.run_until(lambda: settled(net), 10 * SECOND)
    assert told(net, 0).empty, "there is nobody of that name"
    change(net, 1, "deny from later to db", remove=True)

    def agreed(at: int) -> bool:
        report = net.nodes[at].report(net.now)["policy"]
        return not report["policies"] and not any(peer["differs"] for peer in report["peers"])

    net.run_until(lambda: settled(net) and all(map(agreed, range(3))), 10 * SECOND)

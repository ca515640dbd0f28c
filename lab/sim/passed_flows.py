"""Judges a packet that has arrived by the policies that all peers concerned agree on. Pure.

Owns who has to agree before a policy counts. Shares no code with what fills packet filters.
"""

from lab.scenario.policies import judged
from lab.sim.flows import Flow
from lab.sim.world import World
from overlay.node import Node
from overlay.policy.directory import Member
from overlay.policy.words import Policy, parse

__all__ = ["judged_flow"]


def judged_flow(world: World, flow: Flow) -> str | None:
    """Why the first packet of this flow should not have arrived; empty: it may; None: there is nothing to judge by."""
    sender, receiver = world.peers[flow.sender].node, world.peers[flow.receiver].node
    if sender is None or receiver is None or not (sender.policies.active or receiver.policies.active):
        return None
    policies = _agreed(world, sender, receiver)
    source, target = _announced(sender, flow.container), _announced(receiver, flow.target)
    if policies is None or source is None or target is None:
        return None
    closed = sender.config.default_deny or receiver.config.default_deny
    verdict = judged(flow.protocol, flow.port, source, target, policies)
    if verdict is False or (verdict is None and closed):
        return (
            f"{flow.protocol} from {flow.source} on {flow.sender} to {flow.destination}:{flow.port} on "
            f"{flow.receiver} passed against the policies that all peers there have agreed on"
        )
    return ""


def _agreed(world: World, sender: Node, receiver: Node) -> list[Policy] | None:
    """The policies held by every peer that sender and receiver reach; None: the peers do not agree yet."""
    running = {peer.node.config.name: peer.node for peer in world.running() if peer.node is not None}
    group = dict.fromkeys((*sender.mesh.reachable, *receiver.mesh.reachable))
    for name in group:
        node = running.get(name)
        if node is None or node.policies.digest != sender.policies.digest:
            return None
        if node.endpoints.digest != sender.endpoints.digest:
            return None
    return [parse(entry.accept, entry.rule) for entry in sender.policies.channel.entries()]


def _announced(node: Node, container: str) -> Member | None:
    """A container as its own peer announces it."""
    own = node.config.name
    for (origin, found), value, literals in node.endpoints.members():
        if origin == own and found == container:
            return Member(own, node.config.nickname, container, value.names, value.labels, literals)
    return None

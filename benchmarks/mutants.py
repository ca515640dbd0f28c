"""Twenty small bugs of the kind that people write, to be planted in a core while it runs: what `lab explore` must find.

A mutant is a change of the text of one function or two. The function is compiled again with the change, in the module
that it is from; a text that is not there any more, or stands there twice, is an error and no mutant. They were chosen
before it was known which would be found, among them those that an earlier search had missed.
"""

import inspect
import textwrap
from importlib import import_module
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["MUTANTS", "Mutant", "check", "plant"]


class Patch(Struct, frozen=True):
    """One change: in the function `where` (as `Class.method`) of a module `old` becomes `new`."""

    module: str
    where: str
    old: str
    new: str


class Mutant(Struct, frozen=True):
    """One bug."""

    name: str
    what: str
    """It in a sentence."""
    patches: tuple[Patch, ...]

    @property
    def area(self) -> str:
        """Which part of the overlay it is in."""
        return self.name.partition(".")[0]


# fmt: off
_TABLE = (
    ("routing.one-sided", "a link counts as soon as one of its ends declares it",
     "mesh.routes:Routes._grow",
     "(entry := entries.get(other)) is not None and peer in entry.linked", "other in entries"),
    ("routing.old-incarnation", "of two records of a peer the higher version stands, whatever the incarnation",
     "mesh.topology_entry:TopologyEntry.stands_against", "if self.uid != old.uid:", "if False:"),
    ("routing.hold-goes-on", "a peer that is back in time is forgotten when its hold would have ended",
     "mesh.topology:Topology.note_reachable", "if name in reachable]:", "if False]:"),
    ("gossip.no-graft", "a branch of the broadcast tree that has failed is not mended",
     "replicated.gossip:Gossip._graft", "neighbour.eager = True", "return []"),
    ("gossip.no-reissue", "a peer that lost its disk does not outbid what others hold of its earlier life",
     "replicated.origin_map:OriginMap._contradicted_by", "own = self._own\n", "own = self._own\n    return False\n"),
    ("ipam.grant-version", "the owner that splits a range does not raise its version",
     "ipam.ring:Ring.grant", "version = token.version + 1", "version = token.version"),
    ("ipam.takeover-version", "who takes over the range of a dead peer does not raise its version",
     "ipam.ring:Ring.take_over", "(self.slots[low].version // TAKEOVER + 1) * TAKEOVER", "self.slots[low].version"),
    ("ipam.tie", "of two equal versions each peer keeps its own",
     "ipam.ring:better", "return first if first.owner < second.owner else second", "return first"),
    ("ipam.ring-not-written", "what was given away is not on the disk before it is said",
     "ipam.space:Space._wrote", "self._urgent = True", "pass"),
    ("ipam.lineage", "the ring of a lesser network is taken over too",
     "ipam.ring:Ring.merge", "if lineage_rank(lineage) < lineage_rank(self.lineage):", "if False:"),
    ("ipam.gives-what-is-used", "who is asked for space does not look what its containers hold",
     "ipam.holdings:Holdings.gaps",
     "if start < offset:\n            yield start, offset\n        start = offset + 1", "pass"),
    ("bootstrap.majority-of-reachable", "the first agreement asks for a majority of those in reach only",
     "ipam.paxos:Agreement.quorum",
     "max(seen, self._config.initial_peer_count or len(self._targets) + 1)", "len(self._electors())"),
    ("bootstrap.promise", "a promise does not tell what was accepted before",
     "ipam.paxos:Agreement._promise", "Promise(ballot, kept.accepted, kept.value)", "Promise(ballot, None, None)"),
    ("bootstrap.no-discovery", "peers that others tell of are not dialled",
     "mesh.discovery:Discovery.seek", "if addresses:", "if False:"),
    ("bootstrap.dialled-once", "an address at which nobody has ever answered is not tried again",
     "mesh.dialler:Dialler.failed", "if target.explicit or target.peer:", "if target.peer:"),
    ("dns.lost-peer", "names of a peer that is gone are still answered",
     "dns.registry:NameRegistry._peers_changed",
     "self.channel.retire(peer)\n", "self.channel.retire(peer)\n        break\n"),
    ("dns.removed-container", "the names of a container that is removed stay",
     "dns.registry:NameRegistry._detached", "return self._unregister", "return [] and self._unregister"),
    ("connection.slow-to-notice", "a connection is given up after three times the silence",
     "mesh.liveness:Liveness.wake", "self._losses * connection.interval", "3 * self._losses * connection.interval"),
    ("", "",
     "mesh.liveness:Liveness._silent_at", "self._losses *", "3 * self._losses *"),
    ("connection.old-one-stays", "of two connections with a peer the old one always stays",
     "mesh.connections:Connections._outranks",
     "return self.silent(rival, now) or hello.uid > rival.uid", "return False"),
    ("path.never-fails", "probes that get no answer never count against the kernel's path",
     "datapath.paths:Paths._work", "over = paths.fast in IN_USE and self._is_too_many(paths)", "over = False"),
)
# fmt: on
"""(name, what it is in a sentence, module of `overlay` and function in it, text, what becomes of it); a row without a
name is one more change of the mutant above it."""


def _read() -> tuple[Mutant, ...]:
    found: list[Mutant] = []
    for name, what, where, old, new in _TABLE:
        module, _, function = where.partition(":")
        patch = Patch(f"overlay.{module}", function, old, new)
        if name:
            found.append(Mutant(name, what, (patch,)))
        else:
            found[-1] = replace(found[-1], patches=(*found[-1].patches, patch))
    return tuple(found)


MUTANTS = _read()


def plant(mutant: Mutant) -> None:
    """Put it into this process, for good. `ValueError` when it does not fit the code."""
    for patch in mutant.patches:
        owner, name, made = _made(mutant, patch)
        setattr(owner, name, made)


def check(mutant: Mutant) -> None:
    """`ValueError` when it does not fit the code any more; nothing is changed."""
    for patch in mutant.patches:
        _made(mutant, patch)


def _made(mutant: Mutant, patch: Patch) -> tuple[Any, str, Any]:
    """The module or class, the name in it, and the function that it shall have there."""
    owner: Any = import_module(patch.module)
    space = owner.__dict__
    *owners, name = patch.where.split(".")
    for part in owners:
        owner = getattr(owner, part)
    function = owner.__dict__[name]
    source = getattr(function, "mutated", None) or textwrap.dedent(inspect.getsource(function))
    if source.count(patch.old) != 1:
        found = f"{patch.old!r} stands {source.count(patch.old)} times in {patch.where}"
        raise ValueError(f"the mutant {mutant.name} does not fit: {found}")
    changed = source.replace(patch.old, patch.new)
    made: dict[str, Any] = {}
    exec(compile(changed, f"<{mutant.name}>", "exec"), space, made)
    made[name].mutated = changed
    return owner, name, made[name]

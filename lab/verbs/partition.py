"""`partition`: cut the underlay between hosts."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from lab.contracts.fault import Bench, Fault, Mark
from lab.cuts import Pairs, bridge, complete, isolated, majorities_ring, one_way, union, with_rest
from lab.kinds.verbs import Body, Chance, Drawn, Planning, Verb, Where, fewer
from lab.scenario.base import ALL, Model, Name, Names, Problem, chosen, fault, listed
from lab.scenario.check import Known, each
from lab.scenario.values import Duration
from lab.scenario.without_effect import ScenarioReach
from lab.words import count

SHAPES = ("groups", "one_way", "isolate", "bridge", "ring")
"""How a partition may be said."""


class OneWay(Model):
    """Cut one direction only: nothing goes from these hosts to those."""

    source: Names = Field(alias="from")
    """Hosts that cannot send."""
    target: Names = Field(alias="to")
    """Hosts that get nothing from them."""


class Partition(Model):
    """Cut the underlay between hosts. Hosts that no group names form one more group together."""

    groups: tuple[Names, ...] | None = None
    """Groups of hosts; none reaches another group."""
    one_way: OneWay | None = None
    """Cut one direction only."""
    isolate: Names | None = None
    """Each of these hosts is alone."""
    bridge: Name | None = None
    """Two halves, and this host reaches both."""
    ring: Literal["majorities"] | None = None
    """Each host reaches a majority, no two the same one."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @model_validator(mode="after")
    def _one_shape(self) -> "Partition":
        shapes = [shape for shape in SHAPES if getattr(self, shape) is not None]
        if len(shapes) != 1:
            raise fault("exactly one of groups, one_way, isolate, bridge, ring", ", ".join(shapes) or "none of them")
        return self

    def cut(self, hosts: Sequence[str]) -> Pairs:
        """The directions that it cuts."""
        if self.groups is not None:
            return complete(with_rest(hosts, [chosen(group, hosts) for group in self.groups]))
        if self.isolate is not None:
            return complete(isolated(hosts, chosen(self.isolate, hosts)))
        if self.one_way is not None:
            return one_way(chosen(self.one_way.source, hosts), chosen(self.one_way.target, hosts))
        if self.bridge is not None:
            return bridge(hosts, self.bridge)
        return majorities_ring(hosts)

    def with_host(self, pairs: Pairs, hosts: Sequence[str], host: str) -> Pairs:
        """The same while it is in force and a host joins, the last one: as if nobody had named it.

        A bridge and a ring divide the hosts by their order; there it is cut as the host before it is, and nobody else
        changes sides."""
        if self.bridge is None and self.ring is None:
            return self.cut(hosts)
        like = [name for name in hosts if name not in (host, self.bridge)][-1]
        out = {(host, other) for one, other in pairs if one == like}
        return pairs | out | {(other, host) for other, one in pairs if one == like}

    def words(self, hosts: Sequence[str]) -> str:
        """Which hosts are cut off from which, in a few words."""
        if self.one_way is not None:
            return f"{_few(self.one_way.source)} -> {_few(self.one_way.target)}"
        if self.isolate is not None:
            return f"isolate {_few(self.isolate)}"
        if self.bridge is not None:
            return f"bridge {self.bridge}"
        if self.ring is not None:
            return "ring of majorities"
        groups = with_rest(hosts, [chosen(group, hosts) for group in self.groups or ()])
        return " | ".join(_few(group) for group in groups)

    def named(self) -> list[str]:
        """All hosts that it names."""
        ways = (self.one_way.source, self.one_way.target) if self.one_way is not None else ()
        named = [*(self.groups or ()), *ways, self.isolate or (), (self.bridge,) if self.bridge else ()]
        return [name for names in named for name in names if name != ALL]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]} ({len(names)})"


class PartitionFault(Fault):
    """One partition. Several may be in force; each heals on its own time."""

    what = "partition"
    mark = Mark("partition", "#d1495b")
    victim = ("partition", "")
    switch = True

    def __init__(self, body: Partition, hosts: Sequence[str]) -> None:
        self._body = body
        self.pairs = body.cut(hosts)
        self.label = f"partition {body.words(hosts)}"

    async def inject(self, bench: Bench, step: int) -> None:
        """Add this cut to those in force."""
        bench.live.cuts[step] = self.pairs
        await bench.lab.set_cut(union(bench.live.cuts))

    async def heal(self, bench: Bench, step: int) -> None:
        """Take this cut away; what others cut stays cut."""
        bench.live.cuts.pop(step, None)
        await bench.lab.set_cut(union(bench.live.cuts))

    async def host_joins(self, bench: Bench, step: int, host: str) -> None:
        """Cut the new host off too, unless this has been healed meanwhile."""
        if step not in bench.live.cuts:
            return
        self.pairs = bench.live.cuts[step] = self._body.with_host(self.pairs, tuple(bench.scenario.hosts), host)
        await bench.lab.set_cut(union(bench.live.cuts))


class _Partition(Verb[Partition]):
    name = "partition"
    model = Partition
    form = "`partition: {…, for: 10s}`"
    about = "cut the underlay, see below"
    examples = ("partition a,b c --for 10s", "partition --isolate a", "partition --one-way-from a --one-way-to b,c")
    takes_for = "lasts"
    healed = True
    changes = "both"
    heals = True
    odds = 8

    def check(self, where: Where, body: Partition, known: Known) -> Iterator[Problem]:
        if body.groups is not None:
            seen: set[str] = set()
            for number, group in enumerate(body.groups):
                place = (*where, "groups", number)
                yield from known.hosts_of(place, group)
                for inner, name in each(place, group):
                    if name in seen:
                        yield Problem(inner, f"{name!r} twice", "each host in one group")
                    seen.add(name)
        if body.one_way is not None:
            yield from known.hosts_of((*where, "one_way", "from"), body.one_way.source)
            yield from known.hosts_of((*where, "one_way", "to"), body.one_way.target)
        if body.isolate is not None:
            yield from known.hosts_of((*where, "isolate"), body.isolate)
        if body.bridge is not None:
            yield from known.host((*where, "bridge"), body.bridge)
        if body.ring is not None and len(known.hosts) < 5:
            yield Problem((*where, "ring"), count(len(known.hosts), "host"), "at least 5 for a ring of majorities")

    def without_effect(self, where: Where, body: Partition, world: ScenarioReach) -> Iterator[Problem]:
        if world.known(body.named()) and not world.linked(cut := body.cut(world.hosts)):
            what = "a partition that cuts nothing"
            if cut:
                what += ": no link joins these hosts"
            yield Problem(where, what, f"hosts on both sides that have a link, of {listed(world.hosts)}")

    def plan(self, body: Partition, planning: Planning) -> Fault:
        return PartitionFault(body, planning.hosts)

    def closing(self) -> Body:
        return {"heal": "all"}

    def draw(self, chance: Chance) -> Drawn | None:
        hosts, rng = chance.hosts, chance.rng
        if len(hosts) < 2:
            return None
        shapes = ["groups", "one_way", "isolate"] + (["bridge"] if len(hosts) > 2 else [])
        shapes += ["ring"] if len(hosts) >= 5 else []
        body: dict[str, Any]
        match rng.choice(shapes):
            case "groups":
                shuffled = rng.sample(list(hosts), len(hosts))
                number = rng.randint(2, min(4, len(hosts)))
                cuts = sorted(rng.sample(range(1, len(hosts)), number - 1))
                bounds = zip([0, *cuts], [*cuts, len(hosts)], strict=True)
                body = {"groups": [sorted(shuffled[low:high], key=hosts.index) for low, high in bounds]}
            case "one_way":
                senders = rng.sample(list(hosts), rng.randint(1, len(hosts) - 1))
                receivers = [name for name in hosts if name not in senders]
                body = {"one_way": {"from": senders, "to": rng.sample(receivers, rng.randint(1, len(receivers)))}}
            case "isolate":
                body = {"isolate": rng.sample(list(hosts), rng.randint(1, max(1, len(hosts) // 2)))}
            case "bridge":
                body = {"bridge": rng.choice(hosts)}
            case _:
                body = {"ring": "majorities"}
        return Drawn(body)

    def without_host(self, body: Body, host: str) -> Body | None:
        if "groups" in body:
            groups = [left for group in body["groups"] if (left := [name for name in group if name != host])]
            return {"groups": groups} if len(groups) > 1 else None
        if "one_way" in body:
            ends = {key: [name for name in names if name != host] for key, names in body["one_way"].items()}
            return {"one_way": ends} if all(ends.values()) else None
        if "isolate" in body:
            alone = [name for name in body["isolate"] if name != host]
            return {"isolate": alone} if alone else None
        return None if body.get("bridge") == host else body

    def simpler(self, body: Body) -> Iterator[Body]:
        groups = body.get("groups") or []
        for index in range(len(groups) - 1 if len(groups) > 2 else 0):
            yield {"groups": [*groups[:index], [*groups[index], *groups[index + 1]], *groups[index + 2 :]]}
        yield from fewer(body, "isolate", 1)
        for key, names in (body.get("one_way") or {}).items():
            if len(names) > 1:
                for name in names:
                    yield {"one_way": {**body["one_way"], key: [other for other in names if other != name]}}

    def bypassed(self, body: Body) -> Literal["never", "together", "always"]:
        return "together" if body.keys() & {"groups", "isolate"} else "always"


KIND = _Partition()

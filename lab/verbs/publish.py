"""`publish`: let a member of a protocol bring messages to all others (`lab.protocols`)."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

from pydantic import Field

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.errors import LabError
from lab.kinds.verbs import Chance, Drawn, Planning, Verb, Where
from lab.overlays._protocol import protocol_of
from lab.scenario.base import Model, Names, Problem, chosen
from lab.scenario.check import Known
from lab.scenario.values import UNITS, Duration, format_duration
from lab.words import count


class Publish(Model):
    """A number of messages, one after the other, from these hosts in turn."""

    source: Names = Field(alias="from")
    """Hosts that bring the messages, in turn."""
    messages: Annotated[int, Field(ge=1, le=100_000)] = 1
    """How many."""
    every: Duration = 100 * UNITS["ms"]
    """Time between two."""
    size: Annotated[int, Field(ge=1, le=1 << 20)] = 100
    """Bytes of each."""


async def _publish(body: Publish, step: int, bench: Bench) -> Detail:
    overlay = protocol_of(bench.overlay)
    begun = bench.lab.now()
    done = 0
    for number in range(body.messages):
        await bench.lab.sleep_until(begun + number * body.every)
        able = [name for name in chosen(body.source, bench.scenario.hosts) if name in bench.live.daemons]
        if not able:
            raise LabError("no member runs on any of these hosts")
        host = able[number % len(able)]
        await overlay.publish(host, f"{step}.{number + 1}", body.size)
        done += 1
    return {"messages": done}


class _Publish(Verb[Publish]):
    name = "publish"
    model = Publish
    form = "`publish: {from: a, messages: 50, every: 100ms, size: 100}`"
    about = (
        "members of a protocol ([docs/protocols.md](protocols.md)) bring this number of messages of `size` bytes to "
        "all, each host of `from` in turn; the step ends with the last one"
    )
    overlay_needs = "verb"
    setup = "more"
    odds = 6

    def check(self, where: Where, body: Publish, known: Known) -> Iterator[Problem]:
        yield from known.hosts_of((*where, "from"), body.source)

    def plan(self, body: Publish, planning: Planning) -> Action:
        what = f"publish {count(body.messages, 'message')} from {', '.join(body.source)}"
        return Action(what, partial(_publish, body, planning.index + 1))

    def draw(self, chance: Chance) -> Drawn:
        """Some messages, also while other things are broken; anybody who runs may bring them."""
        rng = chance.rng
        every = format_duration(rng.choice((10, 100, 400)) * UNITS["ms"])
        size = rng.choice((1, 100, 4000))
        return Drawn({"from": "all", "messages": rng.choice((1, 5, 20)), "every": every, "size": size})


KIND = _Publish()

"""`capture`: the packets of hosts, containers or pairs of hosts, into a pcapng file of the run directory.

Not a fault: it goes on in parallel with the timeline, and ends as faults do. Which filters there are is
`lab.capture.filters`' affair, what is captured `lab.runner.captures`'.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from lab.capture.file import MOST
from lab.capture.filters import compiled, misread
from lab.capture.places import CaptureRequest, file_stem, halves, proper_stem
from lab.contracts.fault import Bench, Fault, Mark
from lab.errors import LabError
from lab.kinds.verbs import Body, Planning, Verb, Where
from lab.records.captures import CAPTURES
from lab.scenario.base import ALL, NAMES_SCHEMA, Model, Names, Problem, fault
from lab.scenario.check import Known, each
from lab.scenario.resolve import Resolved
from lab.scenario.values import Duration, Size

_LEAST = 10_000


class PacketCapture(Model):
    """Packets at these places: hosts, services, containers, pairs of hosts (`a->b`), or `all` hosts."""

    short_schema = NAMES_SCHEMA

    on: Names
    """Hosts, services, replicas or pairs of hosts (`a->b`)."""
    filter: str = ""
    """Only these packets, in the words of tcpdump."""
    interfaces: Annotated[Names, Field()] | None = None
    """Only these interfaces; a host's cables by default."""
    name: str | None = None
    """The file's name, without `.pcapng`."""
    limit: Size = MOST
    """The file's size at most."""
    for_: Duration | None = Field(None, alias="for")
    """It ends by itself after this time."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """`capture: a`, `capture: [a, web]`."""
        return {"on": value} if isinstance(value, str | list | tuple) else value

    @model_validator(mode="after")
    def _bounded(self) -> "PacketCapture":
        if self.limit < _LEAST:
            raise fault(f"a `limit` of at least {_LEAST} bytes", f"{self.limit}")
        if self.name is not None and not proper_stem(self.name):
            raise fault("a `name` of letters, digits, '.', '_' and '-', at most 60 long", repr(self.name))
        return self

    def request(self) -> CaptureRequest:
        """What is asked of the run."""
        return CaptureRequest(
            on=self.on,
            filter=self.filter,
            interfaces=self.interfaces or (),
            name=self.name or file_stem(self.on),
            most=self.limit,
        )


class CaptureFault(Fault):
    """One file of packets, as long as it grows."""

    what = "capture"
    mark = Mark("capture", "#8a9ba8")
    harmless = True
    switch = True

    def __init__(self, body: PacketCapture) -> None:
        self.victim = ("capture", ", ".join(body.on))
        self.label = f"capture {', '.join(body.on)}" + (f" ({body.filter})" if body.filter else "")
        self._request = body.request()

    async def inject(self, bench: Bench, step: int) -> None:
        """Begin; the next step comes when packets are captured."""
        name = await bench.captures.begin(step, self._request)
        self.told = {"file": f"{CAPTURES}/{name}"}

    async def heal(self, bench: Bench, step: int) -> None:
        """The file is whole."""
        self.told = {**self.told, **await bench.captures.end(step)}


class _Capture(Verb[PacketCapture]):
    name = "capture"
    model = PacketCapture
    form = "`capture: a`, `{on: [a, web, a->b], filter: udp port 6783, name: wire, limit: 10MB}` with `for`"
    about = (
        "write the packets of hosts, containers or pairs of hosts into `captures/NAME.pcapng` of the run directory, "
        "with the steps of the timeline as comments; ends with `for`, at `limit` (100 MB) or with the run. `filter` is "
        "a tcpdump expression, `interfaces` are names or `any`. On `sim` the packets are made from what "
        "simulated hosts send. See [capture.md](capture.md)"
    )
    takes_for = "lasts"
    setup = "more"
    needs = ("packets",)

    def check(self, where: Where, body: PacketCapture, known: Known) -> Iterator[Problem]:
        for place, name in each((*where, "on"), body.on):
            pair = halves(name)
            if pair is not None:
                for one in pair:
                    yield from known.host(place, one)
                if pair[0] == pair[1]:
                    yield Problem(place, repr(name), "two hosts")
            elif name not in known.hosts and not known.is_replica(name) and name not in known.services:
                yield from known.host(place, name)
        if why := misread(body.filter, dict.fromkeys(known.hosts, "")):
            yield Problem((*where, "filter"), why, "a tcpdump expression as `udp port 6783`")

    def lacking(self, body: PacketCapture, scenario: Resolved) -> Iterator[str]:
        try:
            compiled(body.filter, {name: spec.address for name, spec in scenario.hosts.items()})
        except LabError as error:
            yield str(error)

    def plan(self, body: PacketCapture, planning: Planning) -> Fault:
        return CaptureFault(body)

    def without_host(self, body: Body, host: str) -> Body | None:
        on = [name for name in body["on"] if host not in (name, *(halves(name) or ()))]
        return {**body, "on": on} if on and body["on"] != [ALL] else None


KIND = _Capture()

"""A protocol of somebody else's: each member sends what is published to the next one of a ring (docs/protocols.md)."""

# mypy: allow-untyped-defs, allow-untyped-calls

from types import MappingProxyType

from msgspec import Struct

from lab.protocols import Believe, Delivered, Joined, Published, Received, Send


class Token(Struct, frozen=True):
    """What goes around."""

    id: str
    size: int


class Hello(Struct, frozen=True):
    """All that a member knows of the others."""

    members: tuple[str, ...]


class Ring:
    """One member."""

    about = "a ring in the order of names"
    defaults = MappingProxyType({"pause": "10ms", "greet": True})
    payloads = (Token,)

    def __init__(self, me, rng, options):
        self.me, self.options = me, options
        self.members = {me}
        self.seen = set()

    def deadline(self):
        return None

    def handle(self, input, now):
        match input:
            case Joined(seeds):
                return self.learn(seeds)
            case Published(id, size):
                return self.pass_on(Token(id, size))
            case Received(_, Hello(members)):
                return self.learn(members)
            case Received(_, Token() as token) if token.id not in self.seen:
                return self.pass_on(token)
        return []

    def learn(self, names):
        if set(names) <= self.members:
            return []
        self.members |= set(names)
        others = sorted(self.members - {self.me})
        hello = Hello(tuple(sorted(self.members)))
        return [Believe(members=tuple(others), neighbours=(self.next(),)), *(Send(name, hello) for name in others)]

    def pass_on(self, token):
        self.seen.add(token.id)
        return [Delivered(token.id), Send(self.next(), token)]

    def next(self):
        ring = sorted(self.members)
        return ring[(ring.index(self.me) + 1) % len(ring)]

"""A batch of address requests is answered as its requests one by one, with one write to disk."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.config import Config
from overlay.effects import Effect, Persist, Reply
from overlay.inputs import AddressBatch, Allocate, Claim, Release
from overlay.ipam.ipam import Ipam

A = "02:00:00:00:00:0a"

Request = Allocate | Claim | Release
containers = st.sampled_from(["c1", "c2", "c3"])
makers = st.one_of(
    st.tuples(st.just(Allocate), containers, st.sampled_from(["", "10.32.1.0/29", "192.168.0.0/24", "x"])),
    st.tuples(st.just(Claim), containers, st.sampled_from(["10.32.1.1/29", "10.32.1.2/29", "10.99.0.1/24", "x"])),
    st.tuples(st.just(Release), containers, st.sampled_from(["", "10.32.1.1"])),
)


def alone() -> Ipam:
    return Ipam(Config(name=A, nickname="a", iprange="10.32.0.0/16", ipam_init="seed", seed=(A,)), Random(1), {})


def replies(effects: list[Effect]) -> dict[int, Reply]:
    return {effect.request: effect for effect in effects if isinstance(effect, Reply)}


@given(st.lists(makers, max_size=12))
@settings(max_examples=150, deadline=None)
def test_a_batch_is_its_requests_one_by_one(asked: list[tuple[type[Request], str, str]]) -> None:
    requests = [make(number, owner, text) for number, (make, owner, text) in enumerate(asked)]
    batch, single = alone(), alone()
    effects = batch.handle(AddressBatch(tuple(requests)), 0)
    # Addresses are given once all requests of a batch are known, so in a mixed batch what is released comes first.
    if all(isinstance(each, Allocate) for each in requests):
        found: dict[int, Reply] = {}
        for each in requests:
            found |= replies(single.handle(each, 0))
        assert replies(effects) == found
        assert batch.by_container() == single.by_container()
    writes = [effect.key for effect in effects if isinstance(effect, Persist)]
    assert len(writes) == len(set(writes)), "each file once"
    held = [text for texts in batch.by_container().values() for text in texts]
    assert len({text.partition("/")[0] for text in held}) == len(held), "no address twice"
    batch.check_invariants()


def test_thousands_at_once() -> None:
    ipam = alone()
    effects = ipam.handle(AddressBatch(tuple(Allocate(n, f"c{n}") for n in range(3000))), 0)
    found = replies(effects)
    assert len({str(each.value) for each in found.values()}) == len(found) == 3000
    assert not any(each.error for each in found.values())
    gone = ipam.handle(AddressBatch(tuple(Release(n, f"c{n}") for n in range(3000))), 0)
    assert len(replies(gone)) == 3000 and ipam.by_container() == {}

"""Labs that a machine has no room for are refused in a sentence, each limit by itself."""

import msgspec
import pytest
from netns_labs import scenario

from lab.backends.netns.room import MachineRoom, capacity, machine_room, shortages
from lab.cuts import classes, complete

PLENTY = MachineRoom(memory=10**12, processes=10**6, descriptors=10**6, namespaces=10**6)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"memory": 200_000_000}, "80 hosts would take about 404 MB of memory, and this machine has 200 MB free"),
        ({"processes": 60}, "80 hosts would take 92 processes, and this user has 60 at most"),
        ({"descriptors": 100}, "80 hosts would take 144 open files, and this user has 100 at most"),
        ({"namespaces": 50}, "80 hosts would take 81 network namespaces, and this user has 50 at most"),
    ],
)
def test_each_limit_is_told(limit: dict[str, int], said: str) -> None:
    room = msgspec.structs.replace(PLENTY, **limit)
    (found,) = shortages(scenario(80), room)
    assert said in found
    assert "use fewer hosts, or sim" in found
    assert not list(shortages(scenario(80), PLENTY))


def test_capacity_is_the_largest_lab_that_is_not_refused() -> None:
    room = msgspec.structs.replace(PLENTY, memory=500_000_000)
    most = capacity(room, daemons=False)
    assert not list(shortages(scenario(most), room))
    assert list(shortages(scenario(most + 1), room))
    assert capacity(room, daemons=True) < most
    assert capacity(PLENTY, daemons=True) == 1023


def test_this_machine_has_room_for_something() -> None:
    assert capacity(machine_room(), daemons=False) > 8


def test_a_large_cut_is_told_by_classes() -> None:
    assert classes(complete([["a", "b"], ["c"]])) == [(("a", "b"), ("c",)), (("c",), ("a", "b"))]

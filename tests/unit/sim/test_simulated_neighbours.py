"""Neighbour caches of simulated interfaces: believed, doubted, asked and forgotten at the times of Linux."""

from lab.calibration import CALIBRATION
from lab.sim.kernel import BridgePort, Kernel
from lab.sim.neighbours import Neighbours
from lab.sim.walk import Walks
from lab.sim.world import World
from overlay.effects import Announce, RemoveForwarding, SetFlood, SetForwarding
from overlay.env import SECOND

DELAY, PROBING = CALIBRATION.neighbour_delay, CALIBRATION.neighbour_probing

OLD, NEW, OWN = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:0a"
ADDRESS = "10.0.1.1"


def test_an_entry_is_believed_then_doubted_then_asked_for():
    cache = Neighbours("c")
    assert 15 * SECOND <= cache.reachable <= 45 * SECOND
    assert cache.used(ADDRESS, 0, "") == ""
    cache.learn(ADDRESS, OLD, 0)
    for t in (
        0,
        cache.reachable,
        cache.reachable + DELAY - 1,
        cache.reachable + DELAY + PROBING - 1,
    ):
        assert cache.used(ADDRESS, t, "") == OLD
    assert cache.used(ADDRESS, cache.reachable + DELAY + PROBING, "") == ""  # nobody answered the probes


def test_a_probe_that_the_bridge_answers_corrects_the_entry():
    cache = Neighbours("c")
    cache.learn(ADDRESS, OLD, 0)
    assert cache.used(ADDRESS, cache.reachable, NEW) == OLD  # what begins the doubt
    assert cache.used(ADDRESS, cache.reachable + DELAY - 1, NEW) == OLD
    assert cache.used(ADDRESS, cache.reachable + DELAY, NEW) == NEW


def test_times_differ_between_containers_and_not_between_runs():
    drawn = [Neighbours(f"c{n}").reachable for n in range(20)]
    assert len(set(drawn)) == 20 and drawn == [Neighbours(f"c{n}").reachable for n in range(20)]


def pair() -> tuple[World, dict[str, Kernel], Walks]:
    """Hosts a and b; the client `c` on a knows the MAC of `svc` on b."""
    world = World(1)
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2")):
        world.add(name, address)
    kernels = {name: Kernel(lambda: made.forget()) for name in ("a", "b")}
    made = Walks(world.network, kernels, lambda host, container: True)
    kernels["a"].plug(BridgePort("c", OWN, ("10.0.1.10",), ("10.0.1.10/24",)))
    kernels["b"].set_forwarding(SetForwarding(OWN, "192.0.2.1", ("10.0.1.10",)))
    kernels["b"].plug(BridgePort("svc", OLD, (ADDRESS,), (f"{ADDRESS}/24",)))
    kernels["a"].set_forwarding(SetForwarding(OLD, "192.0.2.2", (ADDRESS,)))
    kernels["a"].set_flood(SetFlood(("192.0.2.2",)))
    return world, kernels, made


def tried(walks: Walks) -> bool:
    return walks.heard("a", "c", ADDRESS, walks.round_trip("a", "c", ADDRESS)) is not None


def made_anew(kernels: dict[str, Kernel]) -> None:
    kernels["b"].unplug("svc")
    kernels["b"].plug(BridgePort("svc2", NEW, (ADDRESS,), (f"{ADDRESS}/24",)))
    kernels["a"].remove_forwarding(RemoveForwarding(OLD))
    kernels["a"].set_forwarding(SetForwarding(NEW, "192.0.2.2", (ADDRESS,)))


def test_without_an_announcement_a_client_sends_to_the_old_mac_until_it_doubts_it():
    world, kernels, walks = pair()
    assert tried(walks)
    made_anew(kernels)
    assert walks.round_trip("a", "c", ADDRESS) is not None and not tried(walks)
    reachable = kernels["a"].neighbours["c"].reachable
    world.run(reachable)
    assert not tried(walks)
    world.run(DELAY - 1)
    assert not tried(walks)
    world.run(1)
    assert tried(walks)  # the bridge answered the first probe


def test_an_announcement_corrects_it_at_once():
    _, kernels, walks = pair()
    assert tried(walks)
    made_anew(kernels)
    kernels["a"].announce(Announce(((ADDRESS, NEW),)))
    assert tried(walks)


def test_the_answer_goes_by_the_servers_cache():
    """A client that was made again asks at once, but its server remembers the one before."""
    _, kernels, walks = pair()
    assert tried(walks)
    kernels["a"].unplug("c")
    kernels["a"].plug(BridgePort("c", "02:00:00:00:00:0b", ("10.0.1.10",), ("10.0.1.10/24",)))
    kernels["b"].remove_forwarding(RemoveForwarding(OWN))
    kernels["b"].set_forwarding(SetForwarding("02:00:00:00:00:0b", "192.0.2.1", ("10.0.1.10",)))
    assert not tried(walks)
    kernels["b"].announce(Announce((("10.0.1.10", "02:00:00:00:00:0b"),)))
    assert tried(walks)


def test_a_packet_to_a_mac_that_still_has_the_address_arrives():
    """Two containers have one address: whoever was asked first is spoken to until the cache says otherwise."""
    _, kernels, walks = pair()
    assert tried(walks)
    kernels["a"].plug(BridgePort("twin", NEW, (ADDRESS,), (f"{ADDRESS}/24",)))
    kernels["a"].neighbours["c"].entries[ADDRESS].announce(OLD)
    found = walks.heard("a", "c", ADDRESS, walks.round_trip("a", "c", ADDRESS))
    assert found is not None and (found.there.host, found.there.container) == ("b", "svc")

"""A simulated kernel takes VXLAN packets from the hosts that it was told, by whatever address of theirs."""

from lab.sim.kernel import BridgePort, Kernel
from lab.sim.walk import Walks
from lab.sim.world import World
from overlay.effects import SetForwarding, SetSources


def walks():
    world = World(1)
    world.add("a", "192.0.2.1", ["198.51.100.1"])
    world.add("b", "192.0.2.2")
    kernels = {name: Kernel(lambda: made.forget()) for name in ("a", "b")}
    made = Walks(world.network, kernels, lambda host, container: True)
    for name, number in (("a", 2), ("b", 1)):
        own = 3 - number
        kernels[name].plug(BridgePort(f"c{own}", f"02:00:00:00:00:0{own}", (f"10.0.1.{own}",), (f"10.0.1.{own}/24",)))
        kernels[name].set_forwarding(
            SetForwarding(f"02:00:00:00:00:0{number}", f"192.0.2.{number}", (f"10.0.1.{number}",))
        )
    return made, kernels


def test_packets_of_strangers_are_dropped():
    made, kernels = walks()
    assert made.round_trip("a", "c1", "10.0.1.2") is not None  # a static device takes all
    kernels["b"].set_sources(SetSources(()))
    assert made.round_trip("a", "c1", "10.0.1.2") is None
    kernels["b"].set_sources(SetSources(("198.51.100.1",)))
    assert made.round_trip("a", "c1", "10.0.1.2") is not None
    kernels["a"].set_sources(SetSources(("192.0.2.9",)))
    assert made.round_trip("a", "c1", "10.0.1.2") is None


def test_who_was_forwarded_to_before_a_restart_is_taken_after_it():
    made, kernels = walks()
    kernels["b"].adopt("", b"")
    assert kernels["b"].sources == {"192.0.2.1"} and made.round_trip("a", "c1", "10.0.1.2") is not None

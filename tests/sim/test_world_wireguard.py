"""Peers with a password whose kernels have WireGuard tell each other their keys, and nobody else."""

from lab.sim.world import World
from overlay.config import Address, Config
from overlay.crypto.secure_peer import WIREGUARD_PORT, SecurePeer, tunnel_address
from overlay.effects import Effect, SetSecurePeers
from overlay.env import SECOND

NAMES = {"a": "02:00:00:00:00:01", "b": "02:00:00:00:00:02"}


class Hosts:
    """Two hosts, and what the kernel of each was told last."""

    def __init__(self) -> None:
        self.world = World(1)
        self.secure: dict[str, tuple[SecurePeer, ...]] = {"a": (), "b": ()}
        for number, name in enumerate(NAMES, 2):
            self.world.add(name, f"192.168.0.{number}")

    def start(self, name: str, key: bytes, password: str = "word", trusted: tuple[str, ...] = ()) -> None:
        def sink(effect: Effect) -> None:
            if isinstance(effect, SetSecurePeers):
                self.secure[name] = effect.peers

        peers = (Address("192.168.0.2", 6783),) if name == "b" else ()
        self.secure[name] = ()
        self.world.peers[name].sink = sink
        self.world.peers[name].start(
            Config(
                name=NAMES[name], nickname=name, peers=peers, password=password, tunnel_key=key, trusted_subnets=trusted
            )
        )

    def path(self, name: str) -> str:
        node = self.world.peers[name].node
        assert node is not None
        return "".join(entry["path"] for entry in node.report(self.world.now)["paths"].values())


def end(name: str, key: bytes) -> SecurePeer:
    number = 2 + list(NAMES).index(name)
    return SecurePeer(tunnel_address(NAMES[name]), key, Address(f"192.168.0.{number}", WIREGUARD_PORT))


def test_both_have_it_and_new_keys_replace_old_ones() -> None:
    hosts = Hosts()
    for name in NAMES:
        hosts.start(name, name.encode() * 32)
    hosts.world.run(10 * SECOND)
    assert hosts.secure == {"a": (end("b", b"b" * 32),), "b": (end("a", b"a" * 32),)}
    assert hosts.path("a") == hosts.path("b") == "wireguard"
    hosts.world.peers["b"].kill()
    hosts.world.run(SECOND // 10)
    assert hosts.secure["a"], "held"
    hosts.start("b", b"c" * 32)
    hosts.world.run(10 * SECOND)
    assert hosts.secure["a"] == (end("b", b"c" * 32),) and hosts.path("a") == "wireguard"
    hosts.world.peers["b"].leave()
    hosts.world.run(SECOND)
    assert not hosts.secure["a"]


def test_one_without_one_in_clear_and_no_password_tell_nothing() -> None:
    for options in ({"key": b""}, {"trusted": ("192.168.0.0/24",)}, {"password": ""}):
        hosts = Hosts()
        first = {"key": b"a" * 32, **({} if options == {"key": b""} else options)}
        hosts.start("a", **first)  # type: ignore[arg-type]
        hosts.start("b", **{"key": b"b" * 32, **options})  # type: ignore[arg-type]
        hosts.world.run(10 * SECOND)
        assert hosts.secure == {"a": (), "b": ()}, options
        assert hosts.path("a") == ("sleeve" if options == {"key": b""} else "fastdp")

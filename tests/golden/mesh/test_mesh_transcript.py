"""The exact conversation of two peers that meet, are cut apart, find each other again and part, bytes included.

`GOLDEN_REWRITE=1` writes the transcript again; a difference is a change of the wire and belongs into `docs/wire.md`.
"""

import os
from pathlib import Path
from typing import Any

from virtual_mesh import Host, VirtualMesh

from overlay.config import Address
from overlay.effects import CloseTcp, Compute, Dial, Effect, Persist, SendDatagram, SendTcp
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Leave
from overlay.mesh.session import Session
from overlay.wire.codec import encode_datagram, encode_message

GOLDEN = Path(__file__).with_name("two_peers.txt")
WITH_PASSWORD = Path(__file__).with_name("two_peers_password.txt")


class Recorder(VirtualMesh):
    """Writes down what the peers want sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(2, 1, **options)
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines += ["", f"# {text}"]

    def persist(self, host: Host, key: str, data: bytes) -> None:
        self._wants(host, Persist(key, data))
        super().persist(host, key, data)

    def carry_out(self, host: Host, effect: Effect) -> None:
        at = f"{self.now / MILLISECOND:10.3f} ms  host{host.index}"
        match effect:
            case Dial():
                self.lines.append(f"{at} dials {effect.address}")
            case SendTcp():
                self.lines += [f"{at} tcp {effect.message}", f"    {encode_message(effect.message).hex()}"]
            case SendDatagram():
                self.lines += [f"{at} udp {effect.message}", f"    {encode_datagram(effect.message).hex()}"]
            case Compute():
                self.lines.append(f"{at} computes job {effect.job}")
            case CloseTcp():
                self.lines.append(f"{at} closes: {effect.reason}")
            case _:
                self._wants(host, effect)
        super().carry_out(host, effect)

    def _wants(self, host: Host, effect: Effect) -> None:
        self.lines.append(f"{self.now / MILLISECOND:10.3f} ms  host{host.index} wants {effect}")


def transcript() -> str:
    """The script."""
    net = Recorder()
    net.lines += ["# first frame of either side", f"    {Session().outgoing().hex()}"]
    net.note("host1 has the address of host0")
    net.launch(0)
    net.launch(1, [0])
    net.run(1100 * MILLISECOND)
    net.note("nothing passes any more")
    net.partition([0], [1])
    net.run(6 * SECOND)
    net.note("everything passes again")
    net.heal()
    net.run(600 * MILLISECOND)
    net.note("host1 leaves, as asked by request 7")
    net.handle(1, Leave(7))
    net.run(10 * MILLISECOND)
    return "\n".join(net.lines) + "\n"


def transcript_with_password() -> str:
    """Met by PAKE (a stub of it), then, after both were killed, as acquaintances; then one with another password."""
    net = Recorder(password="correct horse")
    net.note("host1 has the address of host0; they have never met")
    net.launch(0)
    net.launch(1, [0])
    net.run(1100 * MILLISECOND)
    net.note("ten seconds later both are killed and started again")
    lines, net.lines = net.lines, []
    net.run(11 * SECOND)
    net.kill(0)
    net.kill(1)
    net.run(SECOND)
    net.lines = lines
    net.launch(0)
    net.launch(1, [0])
    net.run(20 * MILLISECOND)
    net.note("host1 is killed and started again with another password")
    lines, net.lines = net.lines, []
    net.kill(1)
    net.run(SECOND)
    net.lines = lines
    net.launch(1, [0], password="battery staple")
    net.run(100 * MILLISECOND)
    return "\n".join(net.lines) + "\n"


def test_two_peers_with_a_password() -> None:
    found = transcript_with_password()
    if os.environ.get("GOLDEN_REWRITE") == "1":
        WITH_PASSWORD.write_text(found)
    assert WITH_PASSWORD.read_text() == found
    for word in ("PakeShare", "Resume", "Decline", "Confirm", "Secure", "reason=<Reason.PASSWORD: 7>"):
        assert word in found


def test_two_peers() -> None:
    found = transcript()
    if os.environ.get("GOLDEN_REWRITE") == "1":
        GOLDEN.write_text(found)
    assert GOLDEN.read_text() == found
    assert str(Address("10.0.0.0", 6783)) in found

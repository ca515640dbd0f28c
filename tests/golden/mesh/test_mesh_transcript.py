"""The exact conversation of two peers that meet, are cut apart, find each other again and part, octets included.

`GOLDEN_REWRITE=1` writes the transcript anew; a difference is a change of the wire and belongs into `docs/wire.md`.
"""

import os
from pathlib import Path

from virtual_mesh import Host, VirtualMesh

from overlay.config import Address
from overlay.effects import CloseTcp, Dial, Effect, SendDatagram, SendTcp
from overlay.env import MILLISECOND, SECOND
from overlay.inputs import Leave
from overlay.mesh.session import Session
from overlay.wire import encode_datagram, encode_message

GOLDEN = Path(__file__).with_name("two_peers.txt")


class Recorder(VirtualMesh):
    """Writes down what the peers want sent."""

    def __init__(self) -> None:
        super().__init__(2, 1)
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines += ["", f"# {text}"]

    def _carry_out(self, host: Host, effects: list[Effect]) -> None:
        for effect in effects:
            at = f"{self.now / MILLISECOND:10.3f} ms  host{host.index}"
            match effect:
                case Dial():
                    self.lines.append(f"{at} dials {effect.address}")
                case SendTcp():
                    self.lines += [f"{at} tcp {effect.message}", f"    {encode_message(effect.message).hex()}"]
                case SendDatagram():
                    self.lines += [f"{at} udp {effect.message}", f"    {encode_datagram(effect.message).hex()}"]
                case CloseTcp():
                    self.lines.append(f"{at} closes: {effect.reason}")
                case _:
                    self.lines.append(f"{at} wants {effect}")
        super()._carry_out(host, effects)


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


def test_two_peers() -> None:
    found = transcript()
    if os.environ.get("GOLDEN_REWRITE") == "1":
        GOLDEN.write_text(found)
    assert GOLDEN.read_text() == found
    assert str(Address("10.0.0.0", 6783)) in found

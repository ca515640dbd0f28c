"""nftables while another program changes tables all the time: no read goes on for ever, and none is misunderstood."""

import json
import textwrap

from overlay_hosts import PYTHON, underlay

PROGRAM = textwrap.dedent("""
    import json, socket
    received = 0
    class Busy(socket.socket):
        # After each answer of the kernel's another program changes a table: every dump is interrupted.
        disturb = None
        def recv(self, size):
            global received
            data = super().recv(size)
            received += 1
            if received > 20000:
                raise SystemExit("read without end")
            if Busy.disturb is not None:
                disturb, Busy.disturb = Busy.disturb, None
                disturb()
                Busy.disturb = disturb
            return data
    socket.socket = Busy
    from overlay.kernel import nft_words as expr
    from overlay.kernel import nftables as nft
    from overlay.kernel.firewall import Watch

    other = nft.Table(1, "other", [nft.Set("addresses", (nft.IPV4,), 4)], [], [])
    other.install({})
    turn = 0
    def disturb():
        global turn
        turn += 1
        other.fill({"addresses": [turn.to_bytes(4, "big")]})

    # Together several answers long.
    long = [expr.differs(number.to_bytes(4, "big")) for number in range(100)]
    rules = [nft.Rule("WEAVE", (expr.meta(3), *long, expr.counter()))] * 24
    jump = expr.goto("WEAVE").replace(b"\\xff\\xff\\xff\\xfc", b"\\xff\\xff\\xff\\xfd")
    jump = nft.Rule("FORWARD", (expr.counter(), jump))
    table = nft.Table(2, "filter", [], [nft.Chain("WEAVE"), nft.Chain("FORWARD", 2)], [*rules, jump])
    watch = Watch()
    found = {}
    def look(when):
        found[when] = [list(table.differences()), list(watch.changes())]

    table.install({})
    watch.settled([(4, "filter")])
    look("calm")
    Busy.disturb = disturb
    look("busy")
    table.install({})
    watch.settled([(4, "filter")])
    look("made while busy")
    Busy.disturb = None
    look("calm after that")
    table.install({})
    watch.settled([(4, "filter")])
    look("made again")
    print(json.dumps(found))
""")


def test_a_table_that_cannot_be_read_now_is_looked_at_later() -> None:
    with underlay() as made:
        found = json.loads(made.host("orion", 2).run(PYTHON, "-c", PROGRAM).stdout)
    unknown = [["rules of nftables table filter"], ["iptables chain WEAVE of table filter was changed"]]
    nothing: list[list[str]] = [[], []]
    assert found == {
        "calm": nothing,
        "busy": nothing,
        "made while busy": nothing,
        "calm after that": unknown,
        "made again": nothing,
    }

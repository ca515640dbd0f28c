"""The guard of the VXLAN port where the kernel's nftables cannot ask for routes: peers' addresses still count."""

import textwrap

from overlay_hosts import PYTHON, underlay

PROGRAM = textwrap.dedent("""
    import logging, sys
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    from overlay.kernel import nft_words as expr
    from overlay.kernel import vxlan_filter
    asked = expr.routed_back()
    assert b"fib" in asked
    expr.routed_back = lambda: asked.replace(b"fib", b"fob")  # as on a kernel without it: there is no such expression
    guard = vxlan_filter.VxlanFilter(6784, ("weave", "docker0"))
    guard.install(["192.168.0.3"])
    guard.restore()
""")


def test_without_route_look_ups_the_port_is_guarded_by_addresses() -> None:
    with underlay() as made:
        host = made.host("orion", 2)
        said = host.run(PYTHON, "-c", PROGRAM).stdout
        rules = host.run("nft", "list", "table", "inet", "weave-vxlan").stdout
    assert said.count("CONFIG_NFT_FIB_INET") == 1
    assert "192.168.0.3" in rules and "docker0" in rules and "@peers" in rules and "fib" not in rules

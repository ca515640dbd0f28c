"""The routes of `ethwe` around other subnets, against a route for each address by itself."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from overlay.plugin.container_routes import clash, ways

BASE = int(IPv4Address("10.32.0.0"))
HOSTS = [IPv4Address(BASE + offset) for offset in range(64)]


@st.composite
def networks(draw: st.DrawFn) -> IPv4Network:
    length = draw(st.integers(26, 32))
    return IPv4Network((BASE + draw(st.integers(0, 63)), length), strict=False)


held = st.builds(
    lambda offset, length: f"{IPv4Address(BASE + offset)}/{length}", st.integers(0, 63), st.integers(26, 31)
)


@given(st.lists(held, min_size=1, max_size=3), st.lists(networks(), max_size=4))
def test_what_is_not_others_is_reached_and_nothing_else(addresses: list[str], apart: list[IPv4Network]) -> None:
    routes = ways(addresses, apart)
    own = [IPv4Interface(address) for address in addresses]
    for host in HOSTS:
        expected = any(host in one.network for one in own) and not any(host in subnet for subnet in apart)
        assert any(host in network for network in routes) == expected
    for network, source in routes.items():
        assert not any(network.overlaps(subnet) for subnet in apart)
        assert any(source == str(one.ip) and network.subnet_of(one.network) for one in own)


def test_nothing_apart_is_what_the_kernel_makes() -> None:
    assert ways(["10.32.0.1/12", "10.2.0.7/24"], []) == {
        IPv4Network("10.32.0.0/12"): "10.32.0.1",
        IPv4Network("10.2.0.0/24"): "10.2.0.7",
    }


def test_an_address_within_the_subnet_is_named() -> None:
    assert clash(["10.32.0.1/12", "10.40.0.9/12"], IPv4Network("10.40.0.0/24")) == "10.40.0.9/12"
    assert clash(["10.32.0.1/12"], IPv4Network("10.40.0.0/24")) == ""

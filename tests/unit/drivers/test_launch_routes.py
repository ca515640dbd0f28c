"""`weave launch` looks at the host's routes: the default range gives way, a range that somebody named is theirs."""

from ipaddress import ip_network

import pytest
from command_hosts import CommandHost

from overlay.cli.client import RequestRefused
from overlay.cli.launch import launch
from overlay.cli.main import finish
from overlay.options import LaunchOptions


def launched(words: list[str], *routes: str) -> tuple[str, list[LaunchOptions]]:
    host = CommandHost([(ip_network(route), "eth0") for route in routes])
    return finish(launch(words, host)), host.started


def test_the_default_range_is_refused_where_a_route_leads_into_it() -> None:
    with pytest.raises(RequestRefused) as raised:
        launched([], "192.168.0.0/24", "10.40.0.0/16")
    for words in ("10.32.0.0/12 overlaps 10.40.0.0/16", "eth0", "--ipalloc-range"):
        assert words in str(raised.value)
    said, started = launched([], "192.168.0.0/24", "10.0.0.0/24", "fd00::/64")
    assert said == "the router runs" and len(started) == 1


@pytest.mark.parametrize(
    "words", [["--ipalloc-range", "10.32.0.0/12"], ["-iprange", "10.32.0.0/12"], ["--ipalloc-range=10.32.0.0/12"]]
)
def test_a_range_that_was_named_is_taken_with_a_warning(words: list[str]) -> None:
    said, started = launched(words, "10.0.0.0/8")
    assert said.startswith("warning: the range 10.32.0.0/12 overlaps 10.0.0.0/8") and len(started) == 1
    assert said.endswith("\nthe router runs")

"""The condition `reachable`: the targets answer the sources."""

from lab.expectations._pairs import PairChecker


class _Reachable(PairChecker):
    name = "reachable"
    form = "`reachable: all`, `{from, to}`"
    about = "the latest try of each probe between every such pair succeeded (HTTP, ICMP)"


KIND = _Reachable()

"""The condition `unreachable`: the targets do not answer the sources."""

from lab.expectations._pairs import PairChecker


class _Unreachable(PairChecker):
    name = "unreachable"
    form = "`unreachable: all`, `{from, to}`"
    about = "the latest try of each probe between every such pair failed"
    wanted = False


KIND = _Unreachable()

"""An overlay's options in a scenario: which there are, and what is wrong with them, told before anything starts.

Owns how options become flags of `weave launch`, whose own parser is asked. Pure; starts nothing.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from msgspec import Struct

from lab.scenario.base import listed, show
from lab.scenario.model import Scenario
from overlay.cli.launch import known_flags, parse_launch
from overlay.cli.proxy import parse_proxy, split_proxy_words
from overlay.cli.words import Usage
from overlay.ranges import Network

__all__ = [
    "DEFAULT_RANGE",
    "FLAGS",
    "Fault",
    "flags",
    "launch_faults",
    "names_of",
    "proxy_asked",
    "range_of",
    "ranges_of",
]

Options = Mapping[str, bool | int | str]
DEFAULT_RANGE = ip_network("10.32.0.0/12")
"""Where addresses come from unless a scenario says otherwise."""
FLAGS = {"iprange": "ipalloc-range", "subnet": "ipalloc-default-subnet", "init": "ipalloc-init"}
"""Short names of options; every other one is the flag's own name."""
_OWN: dict[str, tuple[str, ...]] = {"vxlan": ("iprange", "mtu"), "none": ()}
"""Options of overlays that have no command of their own."""
_RANGES = ("ipalloc-range", "ipalloc-default-subnet")
"""Which mean something together only."""


class Fault(Struct, frozen=True):
    """What is wrong with one option (`key` empty: with all of them together)."""

    key: str
    found: str
    expected: str
    unknown: bool = False


def flags(options: Options) -> list[str]:
    """Options of a scenario as arguments of `weave launch`: true `--x`, false `--no-x`, anything else `--x value`."""
    arguments: list[str] = []
    for key, value in options.items():
        name = _flag(key)
        if name == "wireguard" and isinstance(value, bool):  # YAML reads `off` as false
            value = "auto" if value else "off"
        if value is True:
            # These two are on unless switched off, and have no flag that says so.
            arguments += [] if name in ("dns", "discovery") else [f"--{name}"]
        elif value is False:
            arguments += [f"--no-{name}"] if name in ("dns", "discovery", "fastdp", "restart") else []
        else:
            arguments += [f"--{name}", str(value)]
    return arguments


def names_of(kind: str) -> list[str]:
    """The options of an overlay, in the spelling of flags."""
    return list(dict.fromkeys([*FLAGS, *known_flags()])) if kind == "weave" else list(_OWN[kind])


def range_of(options: Options) -> Network | None:
    """The range of addresses that the options name; None: none, or one that is no range."""
    for key, value in options.items():
        if _flag(key) == "ipalloc-range":
            try:
                return ip_network(str(value))
            except ValueError:
                return None
    return None


def ranges_of(scenario: Scenario) -> list[tuple[tuple[str | int, ...], Network]]:
    """Where a scenario names a range for the overlay to give out, and which."""
    steps = [
        (("timeline", index, "launch", "options"), step.launch.options)
        for index, step in enumerate(scenario.timeline)
        if step.launch is not None
    ]
    found = [
        (where, range_of(options)) for where, options in ((("overlay", "options"), scenario.overlay.options), *steps)
    ]
    return [(where, network) for where, network in found if network is not None]


def proxy_asked(options: Options) -> bool:
    """Whether these options start the Docker API proxy too."""
    return split_proxy_words(flags(options))[1] is not None


def launch_faults(kind: str, options: Options) -> Iterator[Fault]:
    """What is wrong with the options of an overlay, each by itself where that can be told."""
    if kind != "weave":
        yield from _plain_faults(kind, options)
        return
    whole = _refused(options)
    if not whole:
        return
    told = False
    for key, value in options.items():
        if _flag(key) in _RANGES:
            alone = {other: text for other, text in options.items() if _flag(other) == _RANGES[0]} | {key: value}
        else:
            alone = {key: value}
        if why := _refused(alone):
            told = True
            if "has no flag" in why:
                known = listed(names_of(kind), 12)
                yield Fault(key, f"the option {key!r}", f"one of `weave launch`: {known}", unknown=True)
            else:
                yield Fault(key, show(value), f"a value that `weave launch` takes ({why})")
    if not told:
        yield Fault("", "options", f"what `weave launch` takes together ({whole})")


def _plain_faults(kind: str, options: Options) -> Iterator[Fault]:
    for key, value in options.items():
        if key not in _OWN[kind]:
            known = f"one of {', '.join(_OWN[kind])}" if _OWN[kind] else "none: it has no options"
            yield Fault(key, f"the option {key!r} on overlay {kind}", known, unknown=True)
        elif key == "mtu" and (isinstance(value, bool) or not isinstance(value, int) or not 1280 <= value <= 65535):
            yield Fault(key, show(value), "a number from 1280 to 65535")
        elif key == "iprange" and range_of({key: value}) is None:
            yield Fault(key, show(value), "a range as 10.32.0.0/12")


def _refused(options: Options) -> str:
    """Why `weave launch` would not take these options; empty if it does."""
    try:
        words: Any = flags(options)
        words, proxy = split_proxy_words(words)
        if proxy is not None:
            parse_proxy(proxy)
        if parse_launch(words, {}).in_container:
            return "a lab starts the router as a process of its host, not in a container"
    except Usage as error:
        return str(error)
    return ""


def _flag(key: str) -> str:
    return FLAGS.get(key, key).replace("_", "-")

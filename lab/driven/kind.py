"""Creates the kind of an overlay that drivers run, with the facts that the lab needs before a lab exists.

Owns the options that all such overlays have. Knows no overlay by name.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from lab.contracts.driver import DriverFactory
from lab.contracts.lab import Lab
from lab.contracts.overlay import Overlay
from lab.driven.overlay import DrivenOverlay
from lab.kinds.options import OptionFault, Options
from lab.kinds.overlays import OverlayKind, range_among
from lab.scenario.base import show
from lab.scenario.resolve import Resolved

__all__ = ["DEFAULT_RANGE", "driven"]

DEFAULT_RANGE = ip_network("10.32.0.0/12")
"""The default range of addresses."""
RANGE = "iprange"

More = Callable[[Options], Iterator[OptionFault]]


def driven(
    *,
    name: str,
    about: str,
    make: DriverFactory | None = None,
    making: Callable[[Resolved], DriverFactory] | None = None,
    programs: Mapping[str, str] = {},
    options: Iterable[str] = (),
    faults: More | None = None,
    has_daemons: bool = True,
    default_range: IPv4Network | IPv6Network | None = DEFAULT_RANGE,
    commands: tuple[str, ...] = (),
    virtual: bool = False,
) -> OverlayKind:
    """The kind of an overlay with these drivers.

    `make` creates a host's driver, or `making` selects that function from the scenario. `programs`: those that must be
    installed where hosts run, each with its Debian package. `options`: names of its own options besides `iprange`;
    `faults` reports invalid values. `default_range`: None if addresses do not come from the lab (`own`). `commands`:
    the options that are command lines of programs next to the scenario. `virtual`: its driver needs only commands that
    simulated hosts have.
    """
    names = (*([RANGE] if default_range is not None else []), *options)

    def overlay(lab: Lab, scenario: Resolved) -> Overlay:
        factory = making(scenario) if making is not None else make
        assert factory is not None
        subnet = range_among(scenario.options, RANGE) or default_range or DEFAULT_RANGE
        return DrivenOverlay(lab, scenario, name, factory, subnet, has_daemons=has_daemons)

    def wrong(given: Options) -> Iterator[OptionFault]:
        own = {}
        for key, value in given.items():
            if key == RANGE and default_range is not None:
                if range_among({key: value}, RANGE) is None:
                    yield OptionFault(key, show(value), "a range as 10.32.0.0/12")
            else:
                own[key] = value
        if faults is not None:
            yield from faults(own)
            return
        for key in own:
            if key not in names:
                yield kind.unknown(key)

    def needs(given: Options) -> Mapping[str, str]:
        return {} if virtual else {"programs": f"overlay.kind: {name} is a program that hosts must have"}

    kind = OverlayKind(
        name=name,
        about=about,
        make=overlay,
        has_daemons=has_daemons,
        has_views=False,
        default_range=default_range,
        options=lambda: names,
        faults=wrong,
        range_of=lambda given: range_among(given, RANGE),
        needs=needs,
        programs=programs,
        commands=commands,
    )
    return kind

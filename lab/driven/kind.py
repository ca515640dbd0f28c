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
    numbers: Mapping[str, tuple[int, int]] = {},
    choices: Mapping[str, tuple[bool | str, ...]] = {},
    faults: More | None = None,
    only_ipv4: bool = False,
    has_daemons: bool = True,
    default_range: IPv4Network | IPv6Network | None = DEFAULT_RANGE,
    commands: tuple[str, ...] = (),
    virtual: bool = False,
    backends: tuple[str, ...] = (),
    variants: Mapping[str, Options] = {},
) -> OverlayKind:
    """The kind of an overlay with these drivers.

    `make` creates a host's driver, or `making` selects that function from the scenario. `programs`: those that must be
    installed where hosts run, each with its Debian package. `options`: names of its own options besides `iprange`,
    those of `numbers` and those of `choices` (`OverlayKind`); `faults` reports invalid values. `only_ipv4`: it carries
    nothing else. `default_range`: None if addresses do not come from the lab (`own`). `commands`: the options that are
    command lines of programs next to the scenario. `virtual`: its driver needs only commands that simulated hosts have.
    `backends`: see `OverlayKind`.
    `variants`: named sets of options (`lab.trials.entries`).
    """
    names = (*([RANGE] if default_range is not None else []), *options, *numbers, *choices)

    def overlay(lab: Lab, scenario: Resolved) -> Overlay:
        factory = making(scenario) if making is not None else make
        assert factory is not None
        subnet = range_among(scenario.options, RANGE) or default_range or DEFAULT_RANGE
        return DrivenOverlay(lab, scenario, name, factory, subnet, has_daemons=has_daemons)

    def wrong(given: Options) -> Iterator[OptionFault]:
        own = {}
        for key, value in given.items():
            if key == RANGE and default_range is not None:
                found = range_among({key: value}, RANGE)
                if found is None or (only_ipv4 and found.version != 4):
                    yield OptionFault(key, show(value), f"a range{' of IPv4' if only_ipv4 else ''} as 10.32.0.0/12")
            else:
                own[key] = value
        yield from (faults or kind.listed_faults)(own)

    def needs(given: Options) -> Mapping[str, str]:
        return {} if virtual or backends else {"programs": f"overlay.kind: {name} is a program that hosts must have"}

    kind = OverlayKind(
        name=name,
        about=about,
        make=overlay,
        has_daemons=has_daemons,
        has_views=False,
        has_reports=True,
        default_range=default_range,
        options=lambda: names,
        numbers=numbers,
        choices=choices,
        faults=wrong,
        range_of=lambda given: range_among(given, RANGE),
        needs=needs,
        programs=programs,
        commands=commands,
        backends=backends,
        variants=variants,
    )
    return kind

"""Overlays that are programs of Debian: whether a test that plays one can run here."""

import pytest
from netns_labs import require_netns
from tiers import cannot_run

from lab import this_machine
from lab.fabric.namespaces import privileged
from lab.kinds.overlays import OVERLAYS

_ROOT = ("bgp_evpn",)
"""Those whose programs do not start in the lab of an ordinary user."""


def require_overlay(name: str) -> None:
    """Skip where labs cannot run or the overlay is not installed (fail in CI)."""
    require_netns()
    programs = OVERLAYS.get(name).programs
    if lacking := [package for program, package in programs.items() if this_machine.program(program) is None]:
        cannot_run(f"{name} is not installed: `make overlays` as root, or apt install {' '.join(lacking)}")
    if name in _ROOT and not privileged():
        pytest.skip(f"{name} needs a lab of root")

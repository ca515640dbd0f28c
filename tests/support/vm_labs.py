"""Labs of virtual machines for tests: whether there can be any here."""

import os
import sys

import pytest
from netns_labs import require_netns, scenario
from tiers import cannot_run

from lab.errors import LabError
from lab.images import box


def require_vms(*, docker: bool = True) -> None:
    """Skip where no machine can run (fail in CI), naming what is missing; build the box if it is missing."""
    require_netns()
    if os.geteuid() != 0:
        pytest.skip("a libvirtd of the lab's own needs root")
    try:
        from lab.backends.vagrant.machines import VagrantMachines

        if box.find(docker=docker) is None:
            box.build(lambda text: print(text, file=sys.stderr), docker=docker)
    except (LabError, ModuleNotFoundError) as error:
        cannot_run(str(error))
    if reasons := VagrantMachines(docker=docker).refuse(scenario(2)):
        cannot_run("; ".join(reasons))

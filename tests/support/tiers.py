"""What all tests that need more than Python share.

Where a test cannot run: a machine that lacks something is a reason to skip; in CI it is a failure. And how what a test
starts ends with it, however that ends.
"""

import os
from typing import NoReturn

import pytest

ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Before a command that does not fork: it is killed when the process ends that started it, killed or not."""


def cannot_run(reason: str) -> NoReturn:
    """Skip, saying what is missing and how to get it; with `CI=true` fail, for there a whole tier would go unnoticed.

    For what every machine can be given. What only some kernels have (netem, htb) is skipped everywhere.
    """
    if os.environ.get("CI", "") not in ("", "0", "false"):
        pytest.fail(reason)
    pytest.skip(reason)

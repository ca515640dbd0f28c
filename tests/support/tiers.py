"""What a test does where it cannot run. A machine that lacks something is a reason to skip; in CI it is a failure."""

import os
from typing import NoReturn

import pytest


def cannot_run(reason: str) -> NoReturn:
    """Skip, saying what is missing and how to get it; with `CI=true` fail, for there a whole tier would go unnoticed.

    For what every machine can be given. What only some kernels have (netem, htb) is skipped everywhere.
    """
    if os.environ.get("CI", "") not in ("", "0", "false"):
        pytest.fail(reason)
    pytest.skip(reason)

"""The way to call the `lab` command from here, so that printed commands can be copied and run unchanged."""

import shlex
import shutil
import sys
from pathlib import Path


def lab_command() -> str:
    """`lab` if that is this installation's command on PATH, otherwise its path, relative to the working directory."""
    own = Path(sys.executable).parent / "lab"
    found = shutil.which("lab")
    if found is not None and Path(found).resolve() == own.resolve():
        return "lab"
    if not own.exists():
        return f"{shlex.quote(sys.executable)} -m lab.cli"
    try:
        return shlex.quote(str(own.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(own))

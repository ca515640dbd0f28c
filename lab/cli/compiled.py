"""`lab compile`, and the entries of `lab doctor` on compiled code and on the precedence of daemons."""

import os
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lab.fabric.features import Feature


def feature() -> "Feature":
    """Whether simulations run at full speed."""
    from lab.compiled.building import missing
    from lab.compiled.loading import complete
    from lab.compiled.parts import SWITCH, folder
    from lab.fabric.features import Feature

    built, left_alone = complete(folder()), os.environ.get(SWITCH) == "0"
    if built:
        remedy = f"there are some, but {SWITCH}=0 in the environment leaves them alone"
    else:
        remedy = missing() or "lab compile"
    return Feature(
        name="compiled cores",
        serves="--backend sim in half the time",
        required=False,
        found=built and not left_alone,
        remedy=remedy,
    )


def tunnel_features() -> "list[Feature]":
    """Whether the userspace tunnel runs at full speed: as machine code, and before the processes that it serves."""
    from lab.fabric.features import Feature
    from overlay.runtime.rows.loading import loaded
    from overlay.runtime.scheduling import refused

    library = loaded()
    missing = refused()
    return [
        Feature(
            name="compiled tunnel",
            serves="the userspace tunnel at a third of the processor time",
            required=False,
            found=not isinstance(library, str),
            remedy=library if isinstance(library, str) else "",
        ),
        Feature(
            name="precedence of daemons",
            serves="the userspace tunnel among many busy containers",
            required=False,
            found=not missing,
            remedy=f"this machine refuses {' and '.join(missing)}; as root it does not",
        ),
    ]


def compile_all(*, force: bool) -> None:
    """Build the compiled cores and the compiled tunnel, if those of these sources are missing."""
    from lab.compiled.building import build
    from lab.compiled.parts import MODULES, SWITCH
    from lab.errors import LabError
    from overlay.errors import EnvironmentProblem
    from overlay.runtime.rows.building import build as build_rows

    begun = time.monotonic()
    where = build(click.echo, force=force)
    took = time.monotonic() - begun
    done = f"compiled in {took:.0f} s" if took > 1 else "compiled already"
    click.echo(f"{len(MODULES)} modules {done}: {where}")
    try:
        click.echo(f"the userspace tunnel: {build_rows()}")
    except EnvironmentProblem as error:
        raise LabError(str(error)) from None
    click.echo(f"`--backend sim` takes them by itself from now on ({SWITCH}=0 leaves them alone)")

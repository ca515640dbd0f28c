"""`lab compile`, and the entry of `lab doctor` on compiled cores."""

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


def compile_all(*, force: bool) -> None:
    """Build the compiled cores, if those of these sources are missing."""
    from lab.compiled.building import build
    from lab.compiled.parts import MODULES, SWITCH

    begun = time.monotonic()
    where = build(click.echo, force=force)
    took = time.monotonic() - begun
    done = f"compiled in {took:.0f} s" if took > 1 else "compiled already"
    click.echo(f"{len(MODULES)} modules {done}: {where}")
    click.echo(f"`--backend sim` takes them by itself from now on ({SWITCH}=0 leaves them alone)")

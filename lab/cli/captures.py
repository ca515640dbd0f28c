"""`--capture` of `lab run` and `lab up`: a `capture` step that lasts from the beginning of a run to its end.

Owns the option's syntax and errors; the verb decides what such a step may contain, and what a backend refuses of it.
"""

from collections.abc import Sequence

import click

from lab.capture.places import CaptureRequest
from lab.cli.prepared import Prepared
from lab.scenario.load import one_more
from overlay.clean import LINES, clean

__all__ = ["requests_for"]


def requests_for(prepared: Prepared, places: Sequence[str]) -> list[CaptureRequest] | None:
    """The capture requests for these places; None, with the reasons printed, if they are not possible."""
    found, wrong = [], []
    for where in dict.fromkeys(places):
        longer, problems = one_more(prepared.model, {"capture": where})
        step = longer.timeline[-1]
        if not problems:
            found.append(step.body.request())
            place = f"timeline[{len(prepared.resolved.timeline)}]."
            more = prepared.resolved.with_step(step)
            problems = [why.removeprefix(place) for why in prepared.backend.refuse(more) if why.startswith(place)]
        wrong += [clean(f"--capture {where}: {why}", keep=LINES) for why in problems]
    for line in wrong:
        click.echo(line, err=True)
    return None if wrong else found

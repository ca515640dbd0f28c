"""`lab workshop`: the walk-through on two hosts, typed by the learner or (`--check`) by the lab."""

import time
from pathlib import Path

import click

from lab.workshop.course import Course, chosen, page, two_hosts


def hold_class(file: Path | None, *, backend: str, language: str, check: bool, parts: tuple[int, ...]) -> int:
    """Go through the page; 0 when every command did what it should."""
    where = file or page(language)
    selected = chosen(where, parts)
    begun = time.monotonic()
    with two_hosts(backend) as lab:
        if not check:
            click.echo("two hosts, orion.local and macbook.local. An empty line types the command for you; exit ends.")
        try:
            typed = Course(lab, selected, click.echo, None if check else input).walk()
        except EOFError:
            click.echo("\nuntil next time")
            return 3
    click.echo(f"\n{typed} commands did what they should ({time.monotonic() - begun:.0f} s)")
    return 0

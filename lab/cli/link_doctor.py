"""`lab doctor --links`: links on this machine, configured and achieved values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from lab.cli import table
from lab.scenario.link_words import link_words

if TYPE_CHECKING:
    from lab.backends.netns.link_check import LinkFlow, Measured

__all__ = ["examine_links", "lay_out_links"]

_MS = 1_000_000
_HEADERS = ("asked", "by", "median ms", "99 %", "spread", "lost %", "Mbit/s")


def _flows() -> "list[LinkFlow]":
    from lab.backends.netns.link_check import LinkFlow

    return [
        LinkFlow(name="nothing", link={}, rate=250, count=500),
        LinkFlow(name="", link={"delay": 1 * _MS}, rate=250, count=500),
        LinkFlow(name="", link={"delay": 50 * _MS}, rate=250, count=500),
        LinkFlow(name="", link={"delay": 20 * _MS, "jitter": 5 * _MS}, rate=1000, count=2000),
        LinkFlow(name="", link={"loss": 0.01}, rate=4000, count=10_000),
        LinkFlow(name="", link={"delay": 1 * _MS, "loss": 0.05}, rate=4000, count=10_000),
        LinkFlow(name="", link={"delay": 1 * _MS, "rate": 10_000_000}, rate=2000, count=4000),
        LinkFlow(name="", link={"rate": 2_000_000}, rate=400, count=800),
        LinkFlow(name="10,000 a second", link={"delay": 5 * _MS}, rate=10_000, count=20_000),
    ]


def examine_links(*, as_json: bool) -> int:
    """Measure links and print the results; raises `LabError` if a lab is not possible."""
    from lab.backends.netns.link_check import measure_links

    if not as_json:
        click.echo("Datagrams from one host to another of a lab of its own, some 25 seconds ...", err=True)
    found = measure_links(_flows(), "doctor-links")
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return 0
    rows = lay_out_links(found)
    table.show(_HEADERS, rows, right=_HEADERS[2:])
    click.echo(
        "\nmedian, 99 %, spread: of the way from host to host, in milliseconds; a busy machine\n"
        "adds its own, and the first line is what there is without a link. by: rules and\n"
        "queues of the kernel, or the lab's relay. Rates count IP packets (1028 bytes here)."
    )
    if over := sum(one.overruns for one in found):
        click.echo(f"The relay had no room for {over} packets: this machine is too slow or too busy.")
    return 0


def lay_out_links(found: "Sequence[Measured]") -> list[list[str]]:
    """The cells of a table."""
    rows = []
    for one in found:
        words = ", ".join(filter(None, (link_words(one.link) if one.link else "", one.name)))
        lost = 100 * (one.sent - one.received) / max(one.sent, 1)
        rate = f"{one.bytes * 8e3 / one.took:.2f}" if one.took else ""
        rows.append(
            [
                words,
                one.by,
                *(f"{value / 1e6:.2f}" for value in (one.p50, one.p99, one.spread)),
                f"{lost:.2f}",
                rate,
            ]
        )
    return rows

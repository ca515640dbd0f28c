"""The condition `status`: what an overlay reports of itself is what the lab did and what containers see.

Owns the comparison. A report is a claim of a foreign program (`lab.contracts.overlay.Reporting`), so it is compared
with facts that do not come from the overlay: which daemons the lab started and stopped, and answers to probes.
"""

from collections.abc import Iterator
from typing import Literal

from lab.contracts.fault import Bench
from lab.contracts.overlay import OverlayReport, Reporting
from lab.contracts.plan import Judgement
from lab.errors import LabError
from lab.kinds.checkers import Checker, Where
from lab.kinds.overlays import OVERLAYS, overlays_that
from lab.scenario.base import Problem
from lab.scenario.check import Known
from overlay.clean import clean

All = Literal["all"]
_SHOWN = 3
"""Processes that a sentence names."""


class _Status(Checker[All]):
    name = "status"
    model = All
    form = "`status: all`"
    about = (
        "what each overlay's driver reports is true: it runs exactly where the lab started it, nothing of it is left "
        "where the lab stopped it, and if it names peers, these are the connected hosts whose containers answer"
    )
    polls = True

    def check(self, where: Where, body: All, known: Known) -> Iterator[Problem]:
        """The overlay reports."""
        kind = known.scenario.overlay.kind
        if kind in OVERLAYS and not OVERLAYS.get(kind).has_reports:
            able = overlays_that(lambda one: one.has_reports)
            yield Problem(where, f"`status` with overlay {kind}", f"{able}: others report nothing")

    async def judge(self, body: All, bench: Bench, since: int) -> Judgement:
        """Ask every host that is on and on which the overlay was launched."""
        overlay = bench.overlay
        if not isinstance(overlay, Reporting):
            return Judgement(False, ("this overlay reports nothing",))
        missing: list[str] = []
        for host in bench.scenario.hosts:
            if host in bench.live.hosts_down:
                continue
            try:
                report = await overlay.report(host)
            except LabError as error:
                missing.append(str(error))
                continue
            if report is not None:
                missing += _lies(host, report, bench, since)
        return Judgement(not missing, tuple(missing))


def _lies(host: str, report: OverlayReport, bench: Bench, since: int) -> Iterator[str]:
    """What is not true of a report."""
    if report.stopped:
        if report.running:
            yield f"{host}: the overlay says that it runs, but the lab stopped it"
        if report.left:
            more = f" and {len(report.left) - _SHOWN} more" if len(report.left) > _SHOWN else ""
            yield f"{host}: stopped, but its processes still run: {', '.join(report.left[:_SHOWN])}{more}"
        return
    if not report.running:
        yield f"{host}: the overlay says that it does not run, but the lab started it"
    if not report.peers:
        return  # it cannot tell
    for peer in dict.fromkeys(report.peers):
        if peer not in report.connected:
            yield f"{host}: it names the peer {clean(peer, most=60)!r}, to which the lab has not connected it"
    for other in report.connected:
        answers = _answers(host, other, bench, since)
        if True in answers and other not in report.peers:
            yield f"{host}: it does not name the peer {other}, but containers there answer"
        if answers and True not in answers and other in report.peers:
            yield f"{host}: it names the peer {other}, but no container there answers"


def _answers(source: str, target: str, bench: Bench, since: int) -> list[bool]:
    """Results of fresh tries between containers that run on these hosts."""
    awake = bench.live.awake()
    found = []
    for key in bench.probing.series:
        here, there = awake.get(key[1]), awake.get(key[2])
        if here is None or there is None or (here.host, there.host) != (source, target):
            continue
        if sample := bench.live.fresh(key, since):
            found.append(sample.ok)
    return found


KIND = _Status()

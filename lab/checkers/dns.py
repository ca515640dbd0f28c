"""How long did names resolve to dead replicas, and how long not to live ones? Pure.

For each replica that stops (or is cut off) while its name is probed: the last answer that still contained its address,
counted from its end. For each replica that starts: the first answer that contained it. A scenario sets its own bounds;
here a run is invalid only if an answer is still wrong ten seconds after a change, with no other event since.

Findings: {name, source, replica, address, change (ns, when it stopped or started), what: "stale" | "missing", lasted
(ns from the change to the last wrong answer, 0 when there was none), streak (ns of the longest time without a right
answer in between: a returning host announces its names before its step has ended), tries (wrong ones), cleared}.
"""

from itertools import pairwise
from typing import Any

from lab.checkers.run import Epoch, RecordedRun
from lab.checkers.verdict import CheckResult
from lab.kinds.probes import asks_name
from lab.records.history import Sample
from lab.words import count

__all__ = ["BOUND", "check_dns", "staleness"]

BOUND = 10_000_000_000
"""Nanoseconds after which a wrong answer is a wrong result."""


def staleness(run: RecordedRun) -> list[dict[str, Any]]:
    """Wrong answers after each change of the replicas of a name, per probing replica."""
    findings: list[dict[str, Any]] = []
    changes = _changes(run)
    for key, samples in run.series.items():
        if not asks_name(key[0]):
            continue
        for index, (before, now) in enumerate(changes):
            old, new = before.answers.get(key), now.answers.get(key)
            if old is None or new is None or key not in now.should:
                continue
            until = next(
                (later.start for _, later in changes[index + 1 :] if later.answers.get(key) != new), run.end + 1
            )
            # A killed daemon withdraws its names: from then on they are missing for another reason.
            until = min([until, *(change.t for change in run.convergence if change.t > now.start)])
            there = samples if run.long is None else run.columns(key).between(now.start, until)
            after = [sample for sample in there if now.start <= sample.t < until and sample.error != "late"]
            for what, addresses in (("stale", set(old) - set(new)), ("missing", set(new) - set(old))):
                for address in sorted(addresses):
                    replicas = before.addresses if what == "stale" else now.addresses
                    owner = next((name for name, where in sorted(replicas.items()) if where == address), "")
                    findings.append(
                        _finding(after, now.start, what, address, until)
                        | {"name": key[2], "source": key[1], "replica": owner}
                    )
    return findings


def check_dns(run: RecordedRun) -> CheckResult:
    """No answer stays wrong for longer than `BOUND`."""
    findings = staleness(run)
    wrong = [finding for finding in findings if not finding["cleared"] and finding["streak"] >= BOUND]
    if wrong:
        return CheckResult(
            checker="dns",
            verdict="invalid",
            summary=f"{count(len(wrong), 'wrong answer')} lasted for more than {BOUND // 1_000_000_000} s.",
            findings=tuple(wrong),
        )
    if not findings:
        return CheckResult(checker="dns", verdict="valid", summary="Nobody asked for a name whose answer changed.")
    worst = {what: max((f["lasted"] for f in findings if f["what"] == what), default=None) for what in _WHAT}
    parts = [
        f"last {_WHAT[what]} {lasted / 1e9:.3f} s after a change" if lasted else f"never {_WHAT[what]}"
        for what, lasted in worst.items()
        if lasted is not None
    ]
    return CheckResult(
        checker="dns", verdict="valid", summary=f"Names were {' and '.join(parts)}.", findings=tuple(findings)
    )


_WHAT = {"stale": "stale", "missing": "incomplete"}


def _changes(run: RecordedRun) -> list[tuple[Epoch, Epoch]]:
    """Neighbouring epochs whose DNS answers differ."""
    return [(before, now) for before, now in pairwise(run.epochs) if before.answers != now.answers]


def _finding(after: list[Sample], change: int, what: str, address: str, until: int) -> dict[str, Any]:
    wrong = [sample for sample in after if (address in sample.answers) == (what == "stale")]
    last = wrong[-1] if wrong else None
    streak = 0
    since: int | None = change
    for sample in after:
        if (address in sample.answers) == (what == "stale"):
            since = sample.t if since is None else since
            streak = max(streak, sample.t - since)
        else:
            since = None
    return {
        "address": address,
        "change": change,
        "what": what,
        "lasted": last.t - change if last else 0,
        "streak": streak,
        "tries": len(wrong),
        "cleared": last is None or any(sample.t > last.t for sample in after),
        "until": until,
    }

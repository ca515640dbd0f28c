"""Small matrices of pairs before, during and after each fault, and the effect of the fault on them."""

from typing import Any, NamedTuple

from lab.checkers.reachability import transitions
from lab.checkers.run import FaultBand, RecordedRun
from lab.checkers.world import SeriesKey
from lab.figures.told import Told, seconds, table
from lab.words import count, were

__all__ = ["BandShares", "matrices", "shares"]

_BANDS = 6
"""Maximum number of faults shown."""
BandShares = list[tuple[str, dict[SeriesKey, tuple[int, float]]]]
"""Of one fault: (title of the time, pair -> (tries, share of them that succeeded)), before, during and after it."""


def shares(run: RecordedRun) -> list[tuple[FaultBand, BandShares]]:
    """For the first faults, the share of successful tries of every pair, counted after reachability has settled."""
    if not run.pairs:
        return []
    found: list[tuple[FaultBand, BandShares]] = []
    for band in run.bands[:_BANDS]:
        times: BandShares = []
        for title, start, end in _moments(run, band):
            share: dict[SeriesKey, tuple[int, float]] = {}
            for key in run.pairs:
                if run.long is not None:
                    from lab.figures.many_tries import share_between

                    part = share_between(run.columns(key), start, end)
                    share |= {} if part is None else {key: part}
                    continue
                tries = [s.ok for s in run.series[key] if start <= s.t < end and s.error != "late"]
                if tries:
                    share[key] = (len(tries), sum(tries) / len(tries))
            times.append((title, share))
        found.append((band, times))
    return found


def matrices(run: RecordedRun) -> Told | None:
    """The pairs that each fault cut off, and those that came back."""
    found = shares(run)
    if not found:
        return None
    data: list[tuple[Any, ...]] = [
        (band.label, title.split(" ")[0], key[1], key[2], tries, f"{good:.4f}")
        for band, times in found
        for title, share in times
        for key, (tries, good) in share.items()
    ]
    cuts = [
        _cut(band, [{key: good for key, (_, good) in share.items()} for _, share in times]) for band, times in found
    ]
    return Told(
        name="matrices",
        title=_cut_title(cuts),
        caption="Each cell is one pair, source to the left, target below; its colour is the share of its tries that "
        "succeeded once things had settled in that time.",
        csv=table(("fault", "when", "source", "target", "tries", "share_ok"), data),
    )


def _moments(run: RecordedRun, band: FaultBand) -> list[tuple[str, int, int]]:
    """(title, from, to): before, during and after a fault; "after" begins when reachability had settled again."""
    index = run.bands.index(band)
    earlier = max((other.end for other in run.bands[:index] if other.end <= band.start), default=run.start)
    later = min((other.start for other in run.bands[index + 1 :] if other.start >= band.end), default=run.stop)
    later = min(later, run.end)
    spans = transitions(run)

    def settled(start: int, end: int) -> int:
        done = max((stop for begin, stop in spans if start <= begin < end), default=start)
        return done if done < end else start

    moments = [
        (f"before · until {seconds(band.start):.1f} s", settled(earlier, band.start), band.start),
        (f"during · {seconds(band.start):.1f} to {seconds(band.end):.1f} s", settled(band.start, band.end), band.end),
    ]
    if band.healed and later > band.end:
        moments.append((f"after · from {seconds(band.end):.1f} s", settled(band.end, later), later))
    return moments


class _Cut(NamedTuple):
    """The effect of a fault on the pairs that were probed during it."""

    label: str
    asked: int
    lost: int
    """Pairs that it cut off: no try succeeded during it, although not all had failed before."""
    back: int
    gone: int
    """Of those, the pairs that were reached again after it, and those that were probed without success."""
    healed: bool


def _cut(band: FaultBand, shares: list[dict[SeriesKey, float]]) -> _Cut:
    before, during, after = (*shares, {})[:3]
    lost = [key for key, share in during.items() if share == 0 and before.get(key) != 0]
    return _Cut(
        label=band.label,
        asked=len(during),
        lost=len(lost),
        back=sum(after.get(key, 0) > 0 for key in lost),
        gone=sum(after.get(key) == 0 for key in lost),
        healed=band.healed,
    )


def _cut_title(cuts: list[_Cut]) -> str:
    """In words, for the fault that cut off the largest share of pairs."""
    worst = max(cuts, key=lambda cut: cut.lost)
    if not worst.lost:
        return "No pair was cut off"
    where = "the fault" if len(cuts) == 1 else worst.label
    title = f"{worst.lost} of {count(worst.asked, 'pair')} {were(worst.lost)} cut off while {where} lasted"
    if not worst.healed:
        return title
    if worst.back == worst.lost:
        return f"{title}, {'it' if worst.lost == 1 else 'all'} came back"
    unasked = worst.lost - worst.back - worst.gone
    title += f", {worst.back} came back" if worst.back else ""
    title += f", {worst.gone} did not come back" if worst.gone else ""
    return title + (f", {unasked} {were(unasked)} not asked again" if unasked else "")

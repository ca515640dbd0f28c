"""Which labs a league plays, how each of their repeats is known, and about how long they take. Starts nothing.

One lab plays one repeat of a question, or several one after the other. A repeat's key is made of everything that
decides what comes out: entry, version, question, settings, its lab's number, its place there, and code.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
from msgspec import Struct

from lab.errors import LabError
from lab.league.measures import NOT_ASKED, RunReading
from lab.sweep.ledger import code_version
from lab.trials import usage
from lab.trials.questions import QUESTIONS, REACHED_WITHIN
from lab.trials.trial import Entry, LeagueQuestion, OverlayFacts

__all__ = [
    "LeagueMatch",
    "LeagueRun",
    "Pairing",
    "estimate",
    "is_hopeless",
    "is_long",
    "labs_of",
    "matches",
    "pairings",
    "questions_of",
    "reading_version",
    "repeats_of",
]

SHORT = 15.0
"""Seconds below which a question is played often, by what it says, and by what it takes an overlay."""
OFTEN, SELDOM = 20, 5
IN_VAIN = 3
"""Repeats that waited for their whole time, after which an entry is not asked again."""
MOST_REPEATS = 1000
_START = 2.0
"""Seconds that a lab takes to come up and go down, until it was measured."""


class Pairing(Struct, frozen=True, kw_only=True):
    """One entry and one question: a row of cells."""

    entry: Entry
    question: LeagueQuestion
    why_not: str = ""
    """The question makes no sense for it."""
    broken: str = ""
    """The entry could not even be launched on one host, or what is known of it is wrong for this question."""


class LeagueMatch(Struct, frozen=True, kw_only=True):
    """One lab that is to be played."""

    key: str
    pairing: Pairing
    repeats: tuple[int, ...]
    """The numbers of the repeats that it plays."""
    scenario: dict[str, Any]
    seed: int = 0
    spare: bool = False
    """Only played if the first repeats show that the question is short for this entry."""

    @property
    def keys(self) -> dict[int, str]:
        """Repeat -> its key."""
        return {repeat: f"{self.key}-{index}" for index, repeat in enumerate(self.repeats)}

    @property
    def seconds(self) -> float:
        """How long it takes, as its question says."""
        question = self.pairing.question
        return _START + question.seconds + question.each * (len(self.repeats) - 1)

    @property
    def limit(self) -> float:
        """Seconds after which it is ended: every wait of it may take its longest, and then some."""
        return 4 * self.seconds + 3 * REACHED_WITHIN * len(self.repeats) + 240


class LeagueRun(Struct, frozen=True, kw_only=True):
    """One repeat that was played; a line of the league's ledger."""

    key: str
    entry: str
    question: str
    repeat: int
    verdict: str
    reason: str = ""
    run: str = ""
    """The folder of its lab's run, as the league's folder sees it; empty: there is none."""
    index: int = 0
    """Which repeat of that run it is."""
    wall: float = 0.0
    """Seconds: its part of the time that the lab took."""
    readings: dict[str, RunReading] = {}
    read_by: str = ""
    """Which version of the measures read it."""
    failed: bool = False
    """It said nothing, and is played again next time."""

    @property
    def asked(self) -> bool:
        """Whether the question was put; not if an earlier repeat in the same lab ended it."""
        return self.verdict != NOT_ASKED


def questions_of(words: Sequence[str]) -> list[LeagueQuestion]:
    """The questions that are named; all when none is. Raises `LabError`."""
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    known = {question.name: question for question in QUESTIONS}
    for name in names:
        if name not in known:
            raise LabError(f"no question named {name!r}, expected some of: {', '.join(known)}")
    return [question for name, question in known.items() if not names or name in names]


def repeats_of(question: LeagueQuestion, asked: int | None) -> int:
    """How often it is played on each entry."""
    return asked if asked is not None else OFTEN if question.seconds < SHORT else SELDOM


def pairings(
    entries: Sequence[Entry],
    questions: Sequence[LeagueQuestion],
    facts: Mapping[str, OverlayFacts],
    broken: Mapping[str, str],
) -> list[Pairing]:
    """All of them, question by question; `facts` and `broken` by the entry's label."""
    return [
        Pairing(
            entry=entry,
            question=question,
            why_not=question.not_for(facts[entry.label]) if entry.label in facts else "",
            broken=broken.get(entry.label) or question.wrong_for(facts[entry.label]),
        )
        for question in questions
        for entry in entries
    ]


def matches(
    found: Sequence[Pairing], facts: Mapping[str, OverlayFacts], repeats: int | None, *, salt: int = 0
) -> list[LeagueMatch]:
    """The labs in the order in which they are played: all entries in turn, then again, then the next question;
    spare ones last.

    `salt`: other seeds than those of a league before."""
    by_question: dict[str, list[Pairing]] = {}
    for pairing in found:
        if not pairing.why_not and not pairing.broken:
            by_question.setdefault(pairing.question.name, []).append(pairing)
    planned = []
    for mine in by_question.values():
        for numbers in labs_of(mine[0].question, repeats):
            spare = repeats is None and numbers[0] > SELDOM
            planned += [_match(pairing, facts[pairing.entry.label], numbers, salt, spare=spare) for pairing in mine]
    # Everything is played a few times before anything is played often; then all cells gain together.
    return sorted(planned, key=lambda match: match.repeats[-1] if match.spare else 0)


def labs_of(question: LeagueQuestion, repeats: int | None) -> list[tuple[int, ...]]:
    """The numbers of the repeats that each lab plays."""
    last = repeats_of(question, repeats)
    starts = range(1, last + 1, question.rounds)
    return [tuple(range(first, min(first + question.rounds, last + 1))) for first in starts]


def _match(pairing: Pairing, facts: OverlayFacts, numbers: tuple[int, ...], salt: int, *, spare: bool) -> LeagueMatch:
    scenario = pairing.question.scenario(pairing.entry, facts, len(numbers))
    decides = [scenario, pairing.entry.stamp, pairing.entry.backend, facts.version, numbers[0] + salt, code_version()]
    # As written: which host comes first decides where an overlay has its manager.
    key = sha256(msgspec.json.encode(decides)).hexdigest()[:24]
    return LeagueMatch(
        key=key, pairing=pairing, repeats=numbers, scenario=scenario, seed=numbers[0] + salt, spare=spare
    )


def is_long(match: LeagueMatch, done: Sequence[LeagueRun]) -> bool:
    """Whether the first repeats of this cell took too long for more of them."""
    walls = [run.wall for run in _first_of(match, done, SELDOM)]
    return bool(walls) and fmean(walls) >= SHORT


def is_hopeless(match: LeagueMatch, done: Sequence[LeagueRun]) -> bool:
    """Whether the first repeats of this cell waited for their whole time, and none of its times was reached."""
    first = [run for run in _first_of(match, done, IN_VAIN) if run.asked]
    return (
        match.repeats[0] > IN_VAIN
        and len(first) >= IN_VAIN
        and all(run.wall >= REACHED_WITHIN and run.readings for run in first)
        and not any(reading.reached for run in first for reading in run.readings.values())
    )


def _first_of(match: LeagueMatch, done: Sequence[LeagueRun], most: int) -> list[LeagueRun]:
    """The first repeats, at most this number of them, of the match's cell."""
    cell = (match.pairing.entry.label, match.pairing.question.name)
    return [run for run in done if (run.entry, run.question) == cell and run.repeat <= most]


def estimate(todo: Sequence[LeagueMatch], done: Sequence[LeagueRun], *, side_by_side: int = 1) -> float:
    """Seconds that these labs take: as they took before, or else as their questions say."""
    walls: dict[tuple[str, str], list[float]] = {}
    for run in done:
        if run.wall:
            walls.setdefault((run.question, run.entry), []).append(run.wall)
            walls.setdefault((run.question, ""), []).append(run.wall)
    total = 0.0
    for match in todo:
        question, label = match.pairing.question, match.pairing.entry.label
        before = walls.get((question.name, label)) or walls.get((question.name, ""))
        seconds = fmean(before) * len(match.repeats) if before else match.seconds
        total += seconds / (side_by_side if question.quiet else 1)
    return total


def reading_version() -> str:
    """Changes when a history may be read otherwise than before."""
    digest = sha256()
    for path in (Path(__file__).with_name("measures.py"), Path(usage.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]

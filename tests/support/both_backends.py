"""One small scenario played in the simulator and on real packets: what each says of it."""

from pathlib import Path

from netns_labs import carry_out, require_netns

from lab.checkers import check
from lab.contracts.lab import Virtual
from lab.kinds.backends import backend as find_backend
from lab.records.history import Event, Writer, read
from lab.runner.runner import Runner
from lab.scenario.load import parse
from lab.scenario.resolve import resolve

BACKENDS = ("sim", "netns")


class Played:
    """A run that is over: the verdict of the runner and of all checkers, and the reason."""

    def __init__(self, verdict: str, reason: str, history: Path) -> None:
        self.verdict, self.reason = verdict, reason
        self.records = tuple(read(history))
        checked = check(self.records)
        if verdict == "valid" and checked.verdict != "valid":
            self.verdict = checked.verdict
            self.reason = "; ".join(
                f"{one.checker}: {one.summary}" for one in checked.results if one.verdict != "valid"
            )

    def events(self, what: str, phase: str) -> list[Event]:
        return [one for one in self.records if isinstance(one, Event) and (one.what, one.phase) == (what, phase)]


def played(text: str, backend: str, folder: Path, *, seed: int = 5) -> Played:
    """Play a scenario on a backend; its history is left in the folder."""
    scenario, engine, history = resolve(parse(text), seed=seed), find_backend(backend), folder / f"{backend}.history"
    assert engine.refuse(scenario) == []
    said = folder / f"{backend}.verdict"

    async def work() -> None:
        with history.open("wb") as file:
            outcome = await Runner(scenario, engine, Writer(file)).run()
        said.write_text(f"{outcome.verdict} {outcome.reason}")

    if not isinstance(engine, Virtual):
        require_netns()
    carry_out(engine, work, name="both")
    verdict, _, reason = said.read_text().partition(" ")
    return Played(verdict, reason, history)

"""`lab watch --tui` at 80 columns and 24 lines, driven by textual's pilot: what it shows and does."""

import asyncio
from pathlib import Path

import pytest
from textual import events
from textual.widgets import DataTable, Input
from two_hosts_history import CUT, META, S, records, sample

from lab.errors import LabError
from lab.records.history import encode
from lab.watch.terminal import WatchTerminal

BOUND = 240.0


class StandIn:
    """Answers as a lab does, and keeps what it was asked."""

    name = "mine"

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict]] = []
        self.faults: list[dict] = []

    async def ask(self, do: str, **arguments):
        if do == "state":
            return {"faults": self.faults, "moves": 4, "now": 20 * S, "scenario": META.scenario}
        self.asked.append((do, arguments))
        if do == "step" and arguments["step"] == {"kill": "nobody"}:
            raise LabError("found 'nobody', expected a host: a, b")
        label = "kill daemon of a" if do == "step" else "cut"
        return {"index": 5, "event": {"what": "kill", "ok": True, "detail": {"label": label}}}


FAULT = {"step": 2, "what": "partition", "label": "partition a | b", "by": "jo", "since": 3 * S, "until": 25 * S}


def typed(line: str):
    if line.startswith("?"):
        raise LabError("that is no verb")
    verb, _, rest = line.partition(" ")
    return {verb: rest}


def completed(line, hosts, services):
    return ["kill", "partition", *hosts, *services]


def drive(tmp_path: Path, *more, lab: StandIn, work) -> None:
    history = tmp_path / "history.jsonl"
    history.write_bytes(b"".join(encode(record) for record in (*records(), *more)))

    async def run():
        app = WatchTerminal(lab, history, typed, completed, "jo (terminal)")
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: app.present.happened and app.state)
            await work(app, pilot)

    asyncio.run(run())


async def until(pilot, condition) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():
            await pilot.pause(0.02)


def text(app: WatchTerminal) -> str:
    return "\n".join("".join(part.text for part in line) for line in app.screen._compositor.render_strips())


def test_the_whole_view_fits_80_columns_and_24_lines(tmp_path):
    lab = StandIn()
    lab.faults = [FAULT]

    async def work(app, pilot):
        words = ("mine", "a    up", "5.00 s", "partition a | b (jo)", "run all", "x \\-", "y .\\", "verb", "quit")
        await until(pilot, lambda: all(word in text(app) for word in words))
        assert len(text(app).splitlines()) == 24

    drive(tmp_path, CUT, sample(4 * S, ok=False), lab=lab, work=work)


def test_a_typed_verb_is_a_step_and_is_completed(tmp_path):
    lab = StandIn()

    async def work(app, pilot):
        prompt = app.query_one("#prompt", Input)
        await pilot.press("k")
        assert prompt.value == "kill "
        await pilot.press("a", "enter")
        await until(pilot, lambda: lab.asked)
        await until(pilot, lambda: "kill daemon of a" in text(app))
        assert lab.asked == [("step", {"step": {"kill": "a"}, "by": "jo (terminal)", "seen": 4})]
        await pilot.press(":", "p", "a", "r")
        await until(pilot, lambda: "partition" in text(app).splitlines()[-2])
        await pilot.press("right")
        assert prompt.value == "partition"

    drive(tmp_path, lab=lab, work=work)


@pytest.mark.parametrize(("line", "why"), [("kill nobody", "expected a host: a, b"), ("?", "no verb")])
def test_a_refusal_is_shown_in_the_labs_words(tmp_path, line, why):
    lab = StandIn()

    async def work(app, pilot):
        await pilot.press(":")
        app.query_one("#prompt", Input).value = line
        await pilot.press("enter")
        await until(pilot, lambda: why in text(app))

    drive(tmp_path, lab=lab, work=work)


@pytest.mark.parametrize("opened", [False, True])
def test_a_pasted_verb_is_typed_wherever_the_cursor_is_and_done_by_enter(tmp_path, opened):
    lab = StandIn()

    async def work(app, pilot):
        prompt = app.query_one("#prompt", Input)
        if opened:
            await pilot.press(":")
        app.post_message(events.Paste("\n kill a \nheal all\n"))
        await until(pilot, lambda: prompt.value == "kill a" and "2 lines were pasted" in text(app))
        assert lab.asked == []
        await pilot.press("enter")
        await until(pilot, lambda: lab.asked)
        assert lab.asked[0][1]["step"] == {"kill": "a"}

    drive(tmp_path, lab=lab, work=work)


def test_a_line_that_comes_as_keys_at_once_is_one_verb(tmp_path):
    lab = StandIn()

    async def work(app, pilot):
        for key in (":", *"kill a", "\r", ":", *"heal all", "\r"):  # as fast as a terminal hands them over
            names = {":": "colon", " ": "space", "\r": "enter"}
            app.post_message(events.Key(names.get(key, key), key))
        await until(pilot, lambda: lab.asked and not app.query_one("#prompt", Input).display)
        await pilot.pause()
        assert [said["step"] for _, said in lab.asked] == [{"kill": "a"}]

    drive(tmp_path, lab=lab, work=work)


def test_undo_and_the_end_of_a_chosen_fault(tmp_path):
    lab = StandIn()
    lab.faults = [FAULT, FAULT | {"step": 7}]

    async def work(app, pilot):
        await until(pilot, lambda: app.query_one("#faults", DataTable).row_count == 2)
        await pilot.press("u")
        await until(pilot, lambda: len(lab.asked) == 1)
        app.query_one("#faults", DataTable).move_cursor(row=1)
        await pilot.press("e")
        await until(pilot, lambda: len(lab.asked) == 2)
        assert [(do, said["index"]) for do, said in lab.asked] == [("undo", None), ("undo", 7)]

    drive(tmp_path, lab=lab, work=work)


def test_hostile_words_stay_words(tmp_path):
    lab = StandIn()
    lab.faults = [FAULT | {"label": "[bold]\x1b]0;x\x07 \u202ecut", "by": "\x1b[31m"}]

    async def work(app, pilot):
        await until(pilot, lambda: "[bold]" in text(app))
        assert "\x1b" not in text(app)
        assert "\u202e" not in text(app)

    drive(tmp_path, lab=lab, work=work)

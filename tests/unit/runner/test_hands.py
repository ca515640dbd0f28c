"""Hands on a run in virtual time: turns, what fails half-way, and the end of the lab."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from memory_lab import SETTLE, MemoryBackend, MemoryHost, MemoryLab, run_virtual

from lab.errors import LabError
from lab.records.history import Event, Writer, decode
from lab.runner.hands import Hands
from lab.runner.open_timeline import OpenTimeline
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import parse
from lab.scenario.resolve import resolve
from lab.verbs.partition import PartitionFault

TEXT = """\
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 3}}
timeline: [{launch: all}, {connect: all}, {run: all}]
"""
Deed = Callable[[Hands, MemoryBackend], Awaitable[None]]


def stand(deed: Deed) -> tuple[RunOutcome, list[Event]]:
    """What a standing lab came to in which this was done, then taken down; and its events."""
    model = parse(TEXT)
    backend, file = MemoryBackend(), io.BytesIO()
    timeline = OpenTimeline(model, resolve(model), backend, model.timeline)
    hands = Hands(timeline, stands=True)

    async def go() -> RunOutcome:
        done = asyncio.Event()

        async def steps() -> Any:
            for step in timeline.first:
                yield step
            hands.open()
            await deed(hands, backend)
            done.set()
            await asyncio.Event().wait()

        async def beside(_: Any) -> None:
            await done.wait()

        runner = Runner(timeline.resolved, backend, Writer(file), hands=hands, beside=beside)
        return await runner.run(timeline=steps())

    outcome = run_virtual(go())
    return outcome, [one for one in map(decode, file.getvalue().splitlines()) if isinstance(one, Event)]


def test_changes_take_turns_and_questions_do_not_hold_them_up() -> None:
    async def deed(hands: Hands, backend: MemoryBackend) -> None:
        asked = {"expect": {"unreachable": {"from": "web-1", "to": "web-2"}, "within": "30s"}}
        question = asyncio.create_task(hands.step(step=asked, by="ada"))
        await asyncio.sleep(1)
        cut = {"partition": {"isolate": "a"}}
        answers = await asyncio.gather(*(hands.step(step=cut, by=who, seen=0) for who in ("bob", "eve")))
        assert [len(answer.get("meanwhile", ())) for answer in answers] == [0, 1]
        assert answers[1]["meanwhile"][0]["by"] == "bob"
        assert (await question)["event"]["ok"]
        assert [fault["by"] for fault in (await hands.state())["faults"]] == ["bob", "eve"]
        assert (await hands.undo(by="eve"))["index"] == answers[1]["index"]
        assert backend.lab.cuts[-1][1]  # bob's holds on
        await hands.step(step={"heal": "all"}, by="bob")
        assert not backend.lab.cuts[-1][1]

    outcome, events = stand(deed)
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    assert [event.detail["by"] for event in events if event.what == "partition" and event.phase == "start"] == [
        "bob",
        "eve",
    ]


def test_a_fault_that_cannot_be_injected_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    inject = PartitionFault.inject

    async def half(self: PartitionFault, bench: Any, step: int) -> None:
        await inject(self, bench, step)
        raise LabError("nft failed")

    async def deed(hands: Hands, backend: MemoryBackend) -> None:
        monkeypatch.setattr(PartitionFault, "inject", half)
        answer = await hands.step(step={"partition": {"isolate": "a"}}, by="ada", lease=10**9)
        assert not answer["event"]["ok"] and answer["event"]["detail"]["error"] == "nft failed"
        assert (await hands.state())["faults"] == [] and not backend.lab.cuts[-1][1]
        with pytest.raises(LabError, match=r"there is no move to undo: .*; nothing is in force"):
            await hands.undo()

    outcome, events = stand(deed)
    assert outcome.verdict == "valid" and outcome.expectations == ()
    assert [event.ok for event in events if event.what == "partition"] == [False]


def test_a_host_that_joins_is_cut_by_the_partitions_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    async def join(lab: MemoryLab, scenario: Any, name: str) -> None:
        lab.machines[name] = MemoryHost(lab, name, scenario.hosts[name].address)

    monkeypatch.setattr(MemoryLab, "join", join, raising=False)

    async def deed(hands: Hands, backend: MemoryBackend) -> None:
        await hands.step(step={"partition": {"groups": [["a"]]}})
        await hands.add_host(host="d")
        assert {pair for pair in backend.lab.cuts[-1][1] if "d" in pair} == {("a", "d"), ("d", "a")}
        await hands.undo()
        assert not backend.lab.cuts[-1][1], "its cut ends with the partition"
        await hands.add_host(host="e")
        assert not backend.lab.cuts[-1][1]

    _, events = stand(deed)
    joined = [event.groups for event in events if event.what == "host"]
    assert joined == [(("a",), ("b", "c", "d")), (("a", "b", "c", "d", "e"),)]


def test_undo_takes_steps_back_that_have_an_inverse_and_says_what_it_cannot() -> None:
    said: list[tuple[int, Any]] = []

    async def deed(hands: Hands, backend: MemoryBackend) -> None:
        for step in (
            {"scale": {"service": "web", "to": 5}},  # 3
            {"partition": {"isolate": "a"}},  # 4
            {"remove": "web"},  # 5
            {"connect": "all"},  # 6
        ):
            assert (await hands.step(step=step))["event"]["ok"]
        answer = await hands.undo()
        assert answer["index"] == 5 and answer["kept"] == [{"index": 6, "label": "connect all"}]
        for _ in range(2):
            answer = await hands.undo()
            said.append((answer["index"], answer["event"]["detail"]["label"]))
        with pytest.raises(
            LabError, match=r"no move to undo: .* takes back run, attach, detach, scale, move, remove where"
        ):
            await hands.undo()
        with pytest.raises(LabError, match="step 7 cannot be undone: undo ends a fault"):
            await hands.undo(index=6)

    outcome, events = stand(deed)
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    assert said == [(4, "partition isolate a"), (3, "scale web to 3")]
    steps = [(one.what, one.detail["replicas"]) for one in events if one.what in ("remove", "scale") and one.ok]
    found = [(what, len(replicas)) for what, replicas in steps]
    assert found == [("scale", 5), ("remove", 0), ("scale", 5), ("scale", 3)]


def test_a_lease_ends_a_fault_and_the_lab_ends_every_other() -> None:
    async def deed(hands: Hands, backend: MemoryBackend) -> None:
        await hands.step(step={"partition": {"isolate": "a"}}, lease=2 * 10**9)
        await hands.step(step={"partition": {"isolate": "b"}})
        await asyncio.sleep(3)
        assert [fault["until"] for fault in (await hands.state())["faults"]] == [None]
        await asyncio.sleep(SETTLE / 1e9)

    outcome, events = stand(deed)
    assert outcome.verdict == "valid"
    ends = [event for event in events if event.what == "partition" and event.phase == "end"]
    assert [event.step for event in ends] == [3] and events[-1].what == "down"


def test_while_the_lab_goes_down_nothing_is_begun_and_what_was_is_ended() -> None:
    told: list[str] = []
    late: list[asyncio.Task[Any]] = []

    async def deed(hands: Hands, backend: MemoryBackend) -> None:
        late.append(asyncio.create_task(hands.step(step={"scale": {"service": "web", "to": 2}}, by="ada")))
        await asyncio.sleep(0)  # it has its turn
        await asyncio.sleep(0)
        close = hands.close

        async def closing(why: str) -> None:
            await close(why)
            assert late[0].done() and late[0].result()["event"]["ok"]
            with pytest.raises(LabError, match="the lab is going down") as caught:
                await hands.step(step={"heal": "all"})
            told.append(str(caught.value))

        hands.close = closing  # type: ignore[method-assign]

    outcome, events = stand(deed)
    assert told and outcome.verdict == "valid"
    whats = [event.what for event in events]
    assert whats.index("scale") < whats.index("down") == len(whats) - 1


def test_before_its_first_steps_are_done_a_lab_takes_none() -> None:
    model = parse(TEXT)
    timeline = OpenTimeline(model, resolve(model), MemoryBackend(), model.timeline)
    with pytest.raises(LabError, match="the lab is coming up"):
        run_virtual(Hands(timeline).step(step={"heal": "all"}))

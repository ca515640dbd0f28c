"""Files of links: what they come to, and what is said of those that are wrong, with their line."""

from pathlib import Path

import pytest

from lab.kinds.verbs import verbs
from lab.links import Distribution
from lab.scenario.files import portable
from lab.scenario.from_json import from_json
from lab.scenario.link_files import LinkFileError, delays_of, packed, track_of, unpacked
from lab.scenario.load import ScenarioError, load, load_resolved, one_more, parse
from lab.watch.forms import form_of

MS = 1_000_000
HEAD = "version: 1\nunderlay: {hosts: {a: {}, b: {}}}\ntimeline:\n"


def test_a_mahimahi_trace() -> None:
    track = track_of("# cell\n0\n5\n5\n\n20\n")
    assert track.times == (0, 5 * MS, 5 * MS, 20 * MS)
    assert track.deliveries(loop=True).period == 20 * MS and not track.deliveries(loop=False).period


def test_columns_of_parameters() -> None:
    track = track_of("time, rate, loss\n0, 10mbit, 1%\n1.5, ,0%\n3s,0,\n")
    assert [(row.at, dict(row.values)) for row in track.rows] == [
        (0, {"rate": 10_000_000, "loss": 0.01}),
        (1500 * MS, {"rate": 10_000_000, "loss": 0.0}),
        (3000 * MS, {"rate": 0, "loss": 0.0}),
    ]
    assert track.period == 4500 * MS, "the last row lasts as long as the one before"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: found an empty file"),
        ("\n  \n", "line 1: found an empty file"),
        ("5\n7\nsix\n", "line 3: found 'six', expected milliseconds"),
        ("5\n-7\n", "line 2: found '-7'"),
        ("# c\n5\n4\n", "line 3: found 4, expected 5 or more"),
        ("0\n0\n", "found 0 in every line"),
        ("time,speed\n0,1mbit\n", "line 1: found a column 'speed', expected time, delay"),
        ("rate,loss\n1mbit,1%\n", "line 1: found rate, loss, expected `time`"),
        ("time\n1\n", "expected `time` and parameters"),
        ("time,rate\n", "found no rows"),
        ("time,rate\n0,1mbit\n1\n", "line 3: found 1 columns, expected 2"),
        ("time,rate\n0,quick\n", "line 2: rate: found 'quick', expected a rate"),
        ("time,rate\nsoon,1mbit\n", "line 2: time: found 'soon'"),
        ("time,loss\n0,1%\n0.001,2%\n", "line 3: found a row within 10 ms"),
        ("time,loss\n1,1%\n0.5,2%\n", "line 3: found a row within 10 ms of the one before"),
        ("time,loss\n0,120%\n", "line 2: loss: found '120%'"),
    ],
)
def test_traces_that_are_wrong(text: str, words: str) -> None:
    with pytest.raises(LinkFileError) as caught:
        track_of(text)
    assert words in str(caught.value)


def test_delays() -> None:
    table, mean, deviation = delays_of("# ping\n10\n20ms\n30.0\n")
    assert (mean, round(deviation / MS, 1)) == (20 * MS, 8.2)
    assert [round(each / 65536, 3) for each in table] == [-1.225, 0, 1.225]
    for text, words in (("10\nten\n", "line 2: found 'ten'"), ("5\n5\n", "the same delay in every line")):
        with pytest.raises(LinkFileError, match=words):
            delays_of(text)


def test_what_was_packed_comes_back_and_a_bomb_does_not() -> None:
    assert unpacked(packed("0\n1\n")) == "0\n1\n"
    for data in ("", "!", packed("0\n")[:-4], packed("0" * (33 << 20))):
        with pytest.raises(LinkFileError, match="no data of a trace"):
            unpacked(data)


def test_a_scenario_holds_the_data_of_its_files(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "version: 1\nunderlay: {hosts: {a: {}, b: {}}, links: {default: {distribution: delays.txt}}}\ntimeline:\n"
        "  - repeat: {count: 2, steps: [{trace: {file: up.trace, from: a, to: b, for: 1s}}]}\n"
        "  - link: {distribution: delays.txt, delay: 50ms, queue: 64KB, rate: 1mbit}\n"
    )
    (tmp_path / "up.trace").write_text("0\n5\n")
    (tmp_path / "delays.txt").write_text("10\n20\n30\n")
    resolved = load_resolved(file)
    (tmp_path / "up.trace").unlink()
    (tmp_path / "delays.txt").unlink()
    again = from_json(resolved.to_json())
    assert again.links == resolved.links and again.timeline == resolved.timeline
    assert again.links.default.distribution is Distribution.TABLE and again.links.default.delay == 20 * MS
    first, second, link = again.timeline
    assert first.body.track().times == second.body.track().times == (0, 5 * MS)
    values = link.body.values()
    assert values["delay"] == 50 * MS and values["queue"].bytes == 64_000 and len(values["table"]) == 3


def test_a_step_of_a_hand_brings_its_file(tmp_path: Path) -> None:
    scenario = parse(HEAD + "  - launch: all\n")
    file = tmp_path / "up.trace"
    _, problems = one_more(scenario, {"trace": {"file": str(file)}})
    assert problems == [f"trace.file: found {str(file)!r}, expected a file that can be used: no such file"]
    file.write_text("0\n5\n", "utf-8")
    longer, problems = one_more(scenario, {"trace": {"file": str(file), "from": "a", "to": "b"}})
    assert not problems and longer.timeline[-1].body.track().times == (0, 5 * MS)
    # What a session stores of it can be played where the file is not.
    file.unlink()
    data = longer.timeline[-1].body.data
    again = parse(HEAD + f"  - trace: {{file: {file}, data: {data}, from: a, to: b}}\n")
    assert again.timeline[0].body == longer.timeline[-1].body


def test_nobody_is_asked_for_what_the_lab_fills_in() -> None:
    for name, hidden, shown in (("trace", "data", "file"), ("link", "table", "distribution")):
        keys = {field.key for field in form_of(verbs()[name]).fields}
        assert hidden not in keys and shown in keys


def test_names_of_files_become_whole_when_a_scenario_moves(tmp_path: Path) -> None:
    text = (
        "version: 1\nunderlay: {hosts: {a: {}, b: {}}, links: {default: {distribution: d.txt}}}\ntimeline:\n"
        "  - link: {distribution: normal}\n"
        "  - repeat: {count: 2, steps: [{trace: {file: up.trace}}, {link: {distribution: d.txt}}]}\n"
    )
    tree = portable(text, "x", tmp_path)
    assert tree["underlay"]["links"]["default"]["distribution"] == str(tmp_path / "d.txt")
    assert tree["timeline"][0]["link"]["distribution"] == "normal"
    trace, link = tree["timeline"][1]["repeat"]["steps"]
    assert trace["trace"]["file"] == str(tmp_path / "up.trace")
    assert link["link"]["distribution"] == str(tmp_path / "d.txt")


@pytest.mark.parametrize(
    ("step", "content", "words"),
    [
        ("trace: {file: x.trace}", None, "4:19: timeline[0].trace.file: found 'x.trace', expected a file that can be"),
        ("trace: {file: x.trace}", "0\nno\n", "used: line 2: found 'no'"),
        ("trace: {file: x.trace, loop: true}", "time,rate\n0,1mbit\n", "expected two rows or more to be looped"),
        ("trace: {file: x.trace, queue: 5ms}", "time,rate\n0,1mbit\n", "`queue` with a Mahimahi trace only"),
        ("trace: {file: x.trace, from: a, to: a}", "5\n", "no link leads there"),
        ("trace: {file: x.trace, from: z}", "5\n", "expected a host: a, b"),
        ("link: {distribution: x.trace}", "nothing\n", "line 1: found 'nothing', expected a delay"),
        ("link: {from: a, to: b}", None, "expected at least one of delay, loss, rate"),
        ("link: {from: a, to: c, loss: 1%}", None, "expected a host: a, b"),
        ("link: {from: a, to: a, loss: 1%}", None, "a -> a: no link leads there"),
        ("link: {jitter: 5ms}", None, "a -> b: jitter (5000000 ns) exceeds delay"),
        ("link: {rate: 1mbit, queue: 0}", None, "a queue above 0"),
        ("link: {rate: 1mbit, queue: {time: 1ms, bytes: 5}}", None, "either a time (100ms) or bytes"),
        ("link: {queue: 5ms}", None, "queue needs a rate"),
        ("link: {mtu: 200}", None, "mtu is 200, expected at least 576"),
        ("flap: {}", None, "either `host` or `between`"),
        ("flap: {host: a, between: [a, b]}", None, "either `host` or `between`"),
        ("flap: {host: a, network: wan}", None, "expected a network of a: lan"),
        ("flap: {between: [a, a]}", None, "expected two hosts in `between`"),
        ("flap: {host: a, down: 1s}", None, "`down` with `every`"),
        ("flap: {host: a, every: 1s, down: 1s}", None, "`down` at least 10ms shorter"),
        ("flap: {between: [a, z]}", None, "expected a host: a, b"),
    ],
)
def test_steps_that_make_no_sense(tmp_path: Path, step: str, content: str | None, words: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"{HEAD}  - {step}\n")
    if content is not None:
        (tmp_path / "x.trace").write_text(content)
    with pytest.raises(ScenarioError) as caught:
        load(file)
    assert words in str(caught.value)

"""What stands in a file stays what it is: numbers where text is wanted; and all that is wrong is told at once."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.backends.simulated.backend import SimBackend
from lab.cli import lab
from lab.explore.case import first_case
from lab.overlays.weave import flags
from lab.scenario.load import ScenarioError, load_resolved, parse, read
from lab.scenario.resolve import Resolved, resolve
from lab.sweep.grid import parse_set, variants

HEAD = "version: 1\nunderlay: {hosts: {a: {}, b: {}}}\n"


def resolved(text: str) -> Resolved:
    return resolve(parse(HEAD + text))


WRITTEN = ["24.10", "0123", "0o755", "0x1F", "1e3", "1_000", "-7", ".5", "true", "TRUE", "2024-01-02", "-0", "1.0"]


@pytest.mark.parametrize("written", WRITTEN)
def test_text_is_what_is_written(written: str) -> None:
    service = f"{{image: i, args: [{written}], env: {{K: {written}}}, host: a}}"
    command = f"{{command: [echo, {written}], host: a}}"
    option = "x" if written.lower() == "true" else written  # there it is a switch
    found = resolved(
        f"overlay: {{options: {{nickname: {option}}}}}\n"
        f"services: {{svc: {service}, cmd: {command}}}\n"
        f"timeline:\n  - exec: {{host: a, command: [echo, {written}], expect: {{stdout: {written}}}}}\n"
        f"  - launch: {{options: {{nickname: {option}}}}}\n"
        f"  - expect: {{http: {{from: svc, url: {written}, body: {written}}}}}\n"
    )
    assert found.services["svc"].args == (written,) and found.services["svc"].env == {"K": written}
    assert found.services["cmd"].args == ("echo", written)
    step = found.timeline[0].body
    assert step.command == ("echo", written) and step.expect.stdout == written
    http = found.timeline[2].body.http
    assert (http.url, http.body) == (written, written)
    assert flags(found.options) == flags(found.timeline[1].body.options) == ["--nickname", option]


def test_a_line_for_the_shell_may_look_like_a_number() -> None:
    assert resolved("services: {svc: {command: 0755, host: a}}\ntimeline: [wait: 1s]\n").services["svc"].args == (
        "sh",
        "-c",
        "0755",
    )


def test_numbers_stay_numbers_where_numbers_are_wanted() -> None:
    found = resolved(
        "seed: 0x10\nservices: {svc: {image: i, port: 8_080, replicas: 2}}\n"
        "timeline: [slow_disk: {host: a, full: true}]\n"
    )
    assert (found.seed, found.services["svc"].port, found.services["svc"].replicas) == (16, 8080, 2)
    assert found.timeline[0].body.full is True
    options = resolved("overlay: {options: {conn-limit: 30, dns: false, mtu: 1400}}\ntimeline: [wait: 1s]\n").options
    assert options == {"conn-limit": 30, "dns": False, "mtu": 1400}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timeline: [wait: 5]\n", "timeline[0].wait: found 5, expected a duration"),
        ("timeline: [wait: 1.50]\n", "timeline[0].wait: found 1.50, expected a duration"),
        (
            "services: {svc: {image: i, replicas: 2.0}}\ntimeline: [wait: 1s]\n",
            "services.svc.replicas: found 2.0, expected",
        ),
        (
            "services: {svc: {image: i, env: {A: [1]}}}\ntimeline: [wait: 1s]\n",
            "env.A: found a list of 1, expected text",
        ),
        ("services: {svc: {image: i, env: {1: x}}}\ntimeline: [wait: 1s]\n", "found the key 1, expected text as a key"),
        ("timeline: [slow_disk: {host: a, full: 1}]\n", "full: found 1, expected true or false"),
    ],
)
def test_a_value_of_another_kind_is_shown_as_it_is_written(text: str, words: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(HEAD + text)
    assert words in str(raised.value)


def test_all_that_is_wrong_is_told_at_once_over_files_with_places(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(
        "version: 1\nunderlay: {hosts: {a: {}, a: {}}}\nservices: {svc: {image: ksahnine/dummy-http, env: {A: !x y}}}\n"
        "overlay: {options: {beat_intervall: 1s, iprange: 10.2.0.0/33}}\n"
        "timeline:\n  - wait: 5\n  - kill: {host: zz}\n  - wait: 1s\n"
    )
    two.write_text("version: 1\nunderlay: {hosts: {a: {}}}\nservices: {svc: {image: no/such}}\ntimeline: [wat: 1]\n")
    result = CliRunner().invoke(lab, ["validate", str(one), str(two)])
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    for start, words in (
        (f"{one}:2:27: ", "found the key 'a' twice, expected each key once"),
        (f"{one}:3:55: ", "found the tag !x, expected plain YAML"),
        (f"{one}:4:21: overlay.options.beat_intervall: ", "did you mean 'beat-interval'?"),
        (f"{one}:4:50: overlay.options.iprange: found '10.2.0.0/33', ", "weave launch"),
        (f"{one}:6:11: timeline[0].wait: found 5, ", "expected a duration"),
        (f"{one}:7:18: timeline[1].kill.host: found 'zz', ", "expected a host: a"),
        (f"{two}:4:12: timeline[0].wat: ", "expected one of"),
        (f"{two}:3:17: netns refuses: services.svc", "no/such"),
    ):
        assert sum(line.startswith(start) and words in line for line in lines) == 1, (start, words, lines)
    assert len(lines) == 8


def test_options_of_every_overlay_are_checked(tmp_path: Path) -> None:
    for overlay, words in (
        ("{kind: vxlan, options: {iprange: 10.2.0.0/33}}", "expected a range as 10.32.0.0/12"),
        ("{kind: vxlan, options: {beat-interval: 1s}}", "expected one of iprange, mtu"),
        ("{kind: none, options: {mtu: 1400}}", "expected none: it has no options"),
        ("{options: {iprange: 10.2.0.0/24, subnet: 10.3.0.0/24}}", "not within the range"),
        ("{options: {iprange: 127.0.0.0/8}}", "loopback"),
        ("{options: {proxy: true, tlsverify: 3}}", "tlsverify"),
    ):
        with pytest.raises(ScenarioError) as raised:
            parse(f"{HEAD}overlay: {overlay}\ntimeline: [wait: 1s]\n")
        assert words in str(raised.value)
    assert resolved("overlay: {options: {iprange: 10.2.0.0/16, subnet: 10.2.3.0/24}}\ntimeline: [wait: 1s]\n")


def test_a_byte_order_mark_hides_no_question(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbf# Is it?\n" + HEAD.encode() + b"timeline: [wait: 1s]\n")
    assert load_resolved(file).question == "Is it?"
    assert not read(file).problems


def test_what_a_simulated_host_cannot_launch_is_refused() -> None:
    timeline = "timeline: [launch: all]\n"
    said = SimBackend().refuse(resolved("overlay: {options: {proxy: true}}\n" + timeline))
    assert len(said) == 1 and said[0].startswith("overlay.options: ") and "proxy" in said[0]
    assert SimBackend().refuse(resolved("overlay: {options: {beat_interval: 1s}}\n" + timeline)) == []


def test_files_that_are_changed_and_written_again_keep_what_is_written() -> None:
    env = ", ".join(f"K{number}: {written}" for number, written in enumerate(WRITTEN))
    text = (
        f"{HEAD}seed: 0x10\nservices:\n  svc: {{image: i, port: 8_080, replicas: 1, env: {{{env}, Q: '0123'}}}}\n"
        "timeline:\n  - launch: all\n  - slow_disk: {host: a, full: TRUE}\n"
    )
    wanted = {f"K{number}": written for number, written in enumerate(WRITTEN)} | {"Q": "0123"}
    swept = variants(text, (parse_set("services.svc.env.NEW=24.20"),), file="x.yaml", name="x", question="")
    found = swept[0].scenario.services["svc"]
    assert found.env == wanted | {"NEW": "24.20"} and found.port == 8080
    explored = parse(first_case(text, "x", Path(), deadline=1_000_000_000).text())
    assert explored.services["svc"].env == wanted

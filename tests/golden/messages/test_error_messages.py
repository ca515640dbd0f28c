"""What both commands say to bad input, word by word: what was found, what was expected, what to type.

`GOLDEN_REWRITE=1` writes the messages again. Read the difference as somebody who has just made the mistake.
"""

import os
import sys
from pathlib import Path

import pytest

from lab.cli import lab
from lab.cli.ending import code_of
from overlay.cli import main as weave

KEPT = Path(__file__).parent / "messages.txt"
SCENARIOS = {
    "host.yaml": "version: 1\nunderlay: {hosts: {a: {}, b: {}}}\ntimeline:\n  - kill: {host: c}\n",
    "time.yaml": "version: 1\nunderlay: {hosts: {a: {}}}\ntimeline:\n  - wait: 5 parsecs\n",
    "version.yaml": "version: 7\nunderlay: {hosts: {a: {}}}\ntimeline: [{wait: 1s}]\n",
    "both.yaml": "version: 1\nunderlay: {generate: {kind: ring, hosts: 3}, edges: [[a, b]]}\ntimeline: [{wait: 1s}]\n",
    "names.yaml": "version: 1\nunderlay: {hosts: {a: {}, A: {}}}\ntimeline: [{wait: 1s}]\n",
    "bare.yaml": "version: 1\nunderlay: {hosts: {a: {}}}\n",
    "broken.yaml": "version: 1\nunderlay: {hosts: {a: {}\n",
    "empty.yaml": "",
    "list.yaml": "- version: 1\n",
}
LAB = [
    *(f"validate {name}" for name in SCENARIOS),
    "rn",
    "run nowhere.yaml",
    "run nosuch",
    "run --backend simm host.yaml",
    "run --seed x host.yaml",
    "check nowhere",
    "report nowhere",
    "replay nowhere",
    "compare nowhere",
    "exec",
    "sweep host.yaml --vary foo=1",
]
WEAVE = [
    "",
    "statsu",
    "status peer",
    "connect",
    "connect -x a",
    "attach 10.0.0.1/99 c",
    "expose foo",
    "dns-add",
    "rmpeer",
    "help nosuch",
    "completion ksh",
    "policies --remove x",
    "launch --nosuch",
    "launch --name x",
    "launch --port 0",
    "launch --mtu 10",
    "launch --ipalloc-range 10.0.0.0/99",
    "launch a:99999",
    "launch-proxy -H ftp://x",
    "run",
]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """All commands, each with its exit code and what it says."""
    parts = []
    for words in LAB:
        with pytest.raises(SystemExit) as ended:
            sys.exit(code_of(lambda words=words: lab.main(words.split(), prog_name="lab", standalone_mode=False)))
        shown = capsys.readouterr()
        parts.append(f"$ lab {words}\n{(shown.out + shown.err).strip()}\n-> {ended.value.code}\n")
    for words in WEAVE:
        code = weave.main(words.split())
        shown = capsys.readouterr()
        text = (shown.out + shown.err).strip()
        parts.append(f"$ weave {words}".rstrip() + f"\n{text if words else text.splitlines()[0]}\n-> {code}\n")
    return "\n".join(parts)


def test_both_commands_say_what_was_found_what_was_expected_and_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in SCENARIOS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAB_BACKEND", raising=False)
    found = said(capsys)
    if os.environ.get("GOLDEN_REWRITE") == "1":
        KEPT.write_text(found)
    assert found == KEPT.read_text()

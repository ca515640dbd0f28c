"""`lab overlay list` and `lab overlay check --list`: what a newcomer reads, in a pipe and for programs."""

import json

import pytest

from lab.cli.overlay import list_overlays, list_trials, plain


def test_it_fits_into_80_columns_and_has_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    list_overlays(as_json=False)
    list_trials(as_json=False)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "`" not in text and "](" not in text
    assert "nebula:tuned has mtu: 1440, alive: 1, deletion: 2" in text


def test_links_and_code_are_shown_by_their_words() -> None:
    assert (
        plain("an overlay of yours (`exec`, [overlays.md](overlays.md))") == "an overlay of yours (exec, overlays.md)"
    )


def test_programs_read_variants_options_and_trials(capsys: pytest.CaptureFixture[str]) -> None:
    list_overlays(as_json=True)
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["weave"]["variants"]["sleeve"] == {"fastdp": False}
    assert found["swarm"]["backends"][0] == "dind" and "keepalive" in found["wireguard"]["options"]
    list_trials(as_json=True)
    assert {"reach", "status", "cut"} <= {trial["trial"] for trial in json.loads(capsys.readouterr().out)}

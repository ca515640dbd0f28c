"""A benchmark says which version, of which year, it compares with: on the screen and in its JSON."""

import json
import shutil

import pytest

from benchmarks import rows, tunnels

WIREGUARD = """wireguard-go v0.0.20220316

Userspace WireGuard daemon for linux-amd64.
Copyright (C) Jason A. Donenfeld <Jason@zx2c4.com>.
"""
TINC = """tinc version 1.0.36 (built Sep 1 2023 12:00:00, protocol 17)
Copyright (C) 1998-2019 Ivo Timmermans, Guus Sliepen and others.
See the AUTHORS file for a complete list.
"""


@pytest.mark.parametrize(
    ("name", "said", "found"),
    [
        ("wireguard-go", WIREGUARD, "0.0.20220316 (2022)"),
        ("tinc", TINC, "1.0.36 (2019)"),
        ("nebula", "Version: 1.6.1\n", "1.6.1 (2022)"),
        ("nebula", "Version: 1.99.0\n", "1.99.0 (year unknown)"),
        ("nebula", "unknown command\n", "version unknown"),
    ],
)
def test_what_a_peer_says_of_itself(name: str, said: str, found: str) -> None:
    assert tunnels.release_of(name, said) == found


@pytest.mark.parametrize("name", tunnels.NAMES)
def test_what_is_installed_has_a_version_and_a_year(name: str) -> None:
    if shutil.which(tunnels.PEERS[name][0][0], path=tunnels.PATH) is None:
        pytest.skip(f"no {name}")
    assert "unknown" not in tunnels.release(name)


def test_it_is_printed_and_stored(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(str(tmp_path))
    peer = rows.row("nebula", "throughput", "Gbit/s", [0.45], version="1.6.1 (2022)")
    ours = rows.row("ours", "throughput", "Gbit/s", [0.9], against=peer)
    (stored, beside) = json.loads(rows.publish("path", [peer, ours]).read_text())
    assert (stored["name"], stored["version"]) == ("nebula", "1.6.1 (2022)")
    assert (beside["ratio"], beside["ratio_to"]) == (2.0, "nebula 1.6.1 (2022)")
    assert "nebula 1.6.1 (2022)" in capsys.readouterr().out

"""Throughput and round trip between two processes in a network namespace of the test's own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = """
import subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
tool = [sys.executable, "-m", "lab.probes.throughput"]
server = subprocess.Popen([*tool, "server", "--port", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
port = server.stdout.readline().split()[1]
for address in ("127.0.0.1", "::1"):
    subprocess.run([*tool, "client", address, "--port", port, "--seconds", "0.2", "--rounds", "1"], check=True)
server.communicate("")
print(server.returncode)
"""


def test_both_families_are_measured_and_the_server_ends_with_its_input() -> None:
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    *results, code = done.stdout.splitlines()
    assert code == "0", done.stderr
    for line in results:
        found = json.loads(line)
        assert found["throughput"]["median"] > 50_000_000
        assert 0 < found["round_trip"]["median"] <= found["round_trip"]["p99"] < 100_000_000
    assert len(results) == 2


def test_an_unreachable_server_is_named() -> None:
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-m", "lab.probes.throughput", "client", "10.1.2.3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1 and "unreachable" in done.stderr

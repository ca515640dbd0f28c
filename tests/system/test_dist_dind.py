"""`dist/weave` on hosts with a Docker Engine that have nothing else of this project: the walk-through, word by word."""

import subprocess
import sys
from pathlib import Path

import pytest
from dind_labs import require_dind
from dist_file import weave_file

from lab.workshop.course import Course
from lab.workshop.hosts import page, read, two_hosts

pytestmark = pytest.mark.turn(2)

ENTER = """
import sys
from lab.backends.netns import enter_host
sys.exit(enter_host(["sh", "-ec", sys.argv[3]], host=sys.argv[2], lab=sys.argv[1]))
"""
STRIP = """
rm -rf /usr/lib/python3/dist-packages/* /usr/local/bin/weave /usr/local/bin/lab
for module in overlay lab msgspec cryptography aiohttp pyroute2; do
    if python3 -c "import $module" 2>/dev/null; then echo "$module is there"; exit 1; fi
done
if command -v weave; then exit 1; fi
"""
INSTALL = "cat > /usr/local/bin/weave; chmod 755 /usr/local/bin/weave; weave version"
FILES = (
    "find / -xdev -name '*weave*' -not -path '/proc/*' -not -path '/sys/*' -not -path /var/lib/weave; "
    "find /run -name '*weave*'; find /var/lib/weave -mindepth 1"
)
"""/var/lib/weave itself is the lab's: the small disk of the host is mounted there."""
PARTS = (1, 2, 4)
AWAY = "weave stop-proxy; weave reset; rm -f /usr/local/bin/weave /var/log/weave.log /var/log/weave.proxy.log"


def test_the_walk_through_with_one_file_on_bare_hosts_and_nothing_is_left() -> None:
    require_dind()
    file = weave_file()
    said: list[str] = []
    with two_hosts("dind") as name:
        for host in ("orion.local", "macbook.local"):
            _on(name, host, STRIP)
            assert _on(name, host, INSTALL, file) == "weave 0.1.0\n"
        # Part 0 is about Docker alone, and the commands of part 3 are also in part 4.
        parts = [part for part in read(page("en")) if part.number in PARTS]
        course = Course(name, parts, said.append)
        try:
            walked = course.walk()
        finally:
            course.close()
        assert walked.typed > 25 and not walked.skipped
        for host in ("orion.local", "macbook.local"):
            _on(name, host, "docker rm -f $(docker ps -aq)")
            _on(name, host, AWAY)
            assert _on(name, host, f"{FILES} || true") == ""
            tables = _on(name, host, "ip -o link; nft list ruleset; iptables-save; ip6tables-save; docker network ls")
            assert "weave" not in tables.lower()


def _on(lab: str, host: str, script: str, data: Path | None = None) -> str:
    """What a script on a host writes; it must end with 0."""
    stdin = data.open("rb") if data else subprocess.DEVNULL
    words = [sys.executable, "-c", ENTER, lab, host, script]
    done = subprocess.run(words, stdin=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (host, script, done.stdout, done.stderr)
    return done.stdout

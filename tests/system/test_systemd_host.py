"""`weave systemd` with a real systemd: a crash, a boot, a restart, `weave stop`, and that nothing is left."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dist_file import weave_file
from overlay_hosts import eventually
from systemd_host import SystemdHost, need_systemd

pytestmark = pytest.mark.turn(3)

PATIENCE = 90.0
UNITS = ("weave", "weave-proxy")
BRIDGE = "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SystemdHost]:
    made = SystemdHost(tmp_path, need_systemd())
    try:
        made.boot()
        yield made
    finally:
        made.close()


def _pid(host: SystemdHost, unit: str) -> int:
    """Of a unit that is active; 0: it is not."""
    said = host.run(f"systemctl show -p ActiveState -p MainPID {unit}", check=False)
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return int(found.get("MainPID", "0")) if found.get("ActiveState") == "active" else 0


def test_units_come_back_after_a_crash_and_a_boot_and_go_without_a_trace(host: SystemdHost) -> None:
    host.run(BRIDGE)
    (host.root / "usr/local/bin/weave").write_bytes(weave_file().read_bytes())
    (host.root / "usr/local/bin/weave").chmod(0o755)
    host.run("touch -d '1 minute ago' /root/before")
    odd = "--nickname 'a \"b\" c\\d $HOME %h' --password 'wh$re \"v%er\\\\'"
    proxy = "--hostname-match '(.*) x' --hostname-replacement '$1'"
    said = host.run(f"weave systemd install --ipalloc-range 10.40.0.0/16 {odd} {proxy} 192.168.0.3")
    assert said == "weave.service and weave-proxy.service: started, now and at each boot\n"
    words = host.run("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    assert "wh$re" not in words and "$1" in words.splitlines() and "(.*) x" in words.splitlines()
    assert host.run("stat -c %a /etc/weave.env") == "600\n"
    status = host.run("weave status")
    assert '(a "b" c\\d $HOME %h)' in status and "Encryption: enabled" in status

    for unit in UNITS:
        pid = _pid(host, unit)
        assert pid
        host.run(f"kill -9 {pid}")
        eventually(lambda unit=unit, pid=pid: _pid(host, unit) not in (0, pid), PATIENCE, f"{unit} after kill -9")
    name = host.run("weave report -f '{{.Router.Name}}'")

    host.cut()
    host.boot()
    eventually(lambda: all(_pid(host, unit) for unit in UNITS), PATIENCE, "both units after a boot")
    assert host.run("weave report -f '{{.Router.Name}}'") == name
    before = _pid(host, "weave")
    host.run("systemctl restart weave")
    assert _pid(host, "weave") not in (0, before)
    assert "ends, to be started again" in host.run("cat /var/log/weave.log")

    host.run("weave stop")
    eventually(lambda: host.run("systemctl is-active weave", check=False) == "inactive\n", PATIENCE, "weave is down")
    assert host.run("systemctl show -P NRestarts weave") == "0\n"
    assert "`weave systemd remove` ends that" in host.run("weave reset 2>&1")
    host.run("weave systemd remove; weave reset; rm /usr/local/bin/weave")
    left = host.run("find / -xdev -name '*weave*' -not -path '/proc/*' -not -path '/sys/*'; find /run -name '*weave*'")
    assert set(left.split()) == {"/var/log/weave.log", "/var/log/weave.proxy.log"}
    assert "weave" not in host.run("ip -o link; nft list ruleset; systemctl list-unit-files --no-pager").lower()

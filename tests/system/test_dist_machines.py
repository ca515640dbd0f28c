"""`dist/weave` on fresh virtual machines that have nothing else of this project: systemd units, a crash, a boot, and
that nothing is left afterwards. Machines take minutes where processors are emulated."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dist_file import weave_file
from netns_labs import in_namespaces, scenario
from overlay_hosts import eventually
from vm_labs import require_vms

BOOT, PATIENCE = 400, 240.0
"""Seconds: a machine's processor may be emulated, on one that others use too."""
STRIP = """
rm -rf /usr/lib/python3/dist-packages/* /usr/local/bin/weave /usr/local/bin/lab /var/lib/overlay-lab
! python3 -c 'import overlay' 2>/dev/null && ! python3 -c 'import msgspec' 2>/dev/null && ! command -v weave
touch /root/before
"""
PLUG = (
    "device=$(grep -lx {mac} /sys/class/net/*/address | cut -d/ -f5); "
    "ip address replace {address}/24 dev $device; ip link set $device up"
)
HOSTS = {"h1": ("02:4c:c0:a8:00:02", "192.168.0.2"), "h2": ("02:4c:c0:a8:00:03", "192.168.0.3")}


@pytest.mark.turn(2)
def test_one_file_and_systemd_on_fresh_machines() -> None:
    require_vms()

    async def work() -> None:
        from lab.backends.vagrant.machines import VagrantMachines

        machines = VagrantMachines(docker=True, timeout=BOOT)
        async with asyncio.timeout(4 * BOOT):
            await machines.up(scenario(2))
            await asyncio.to_thread(_install_and_crash, machines.ssh_config)
            await machines.power_off("h1")
            await machines.power_on("h1")
            await asyncio.to_thread(_after_a_boot_and_away, machines.ssh_config)

    in_namespaces(work, name="test-dist-machines")


def _install_and_crash(config: Path) -> None:
    h1, h2 = (_shell(config, name) for name in HOSTS)
    for name, ssh in (("h1", h1), ("h2", h2)):
        ssh(STRIP)
        mac, address = HOSTS[name]
        ssh(PLUG.format(mac=mac, address=address))
        ssh("cat > /usr/local/bin/weave && chmod 755 /usr/local/bin/weave", data=weave_file().read_bytes())
    flags = "--ipalloc-range 10.40.0.0/16 --nickname 'a \"b\" c\\d' --password 'wh$re v%er'"
    proxy = "--proxy --hostname-match '(.*)' --hostname-replacement '$1'"
    said = h1(f"weave systemd install {flags} {proxy} 192.168.0.3")
    assert said == "weave.service and weave-proxy.service: started, now and at each boot\n"
    assert h2(f"WEAVE_PASSWORD='wh$re v%er' weave systemd install {flags.partition(' --password')[0]}").startswith(
        "weave.service:"
    )
    assert "wh$re" not in h1("cat /proc/[0-9]*/cmdline | tr '\\0' ' '") and h1("stat -c %a /etc/weave.env") == "600\n"
    eventually(lambda: "established" in h1("weave status connections"), PATIENCE, "a connection")
    assert '"nickname": "a \\"b\\" c\\\\d"' in h1("weave report") or 'a "b" c\\d' in h1("weave status")

    # As the walk-through does it: by hand, and through the proxy.
    h2("weave run --name svc2 ksahnine/dummy-http svc2")
    h1("eval $(weave env); docker run -d --name svc1 --restart always ksahnine/dummy-http svc1")
    assert h1("docker exec svc1 hostname") == "svc1\n"
    fetch = "docker exec svc1 wget -q -O - http://svc2.weave.local:8080/"
    eventually(lambda: h1(fetch, check=False).startswith("Hi! I'm [svc2] service"), PATIENCE, "svc1 asks svc2")

    ps = h1("weave ps")
    for unit in ("weave", "weave-proxy"):
        pid = h1(f"systemctl show -P MainPID {unit}").strip()
        h1(f"kill -9 {pid}")

        def back(unit: str = unit, pid: str = pid) -> bool:
            state = h1(f"systemctl show -P MainPID -P ActiveState {unit}").split()
            return "active" in state and pid not in state and "0" not in state

        eventually(back, PATIENCE, f"{unit} is back after a kill")
    eventually(lambda: h1("weave ps", check=False) == ps, PATIENCE, "the router has its containers")
    eventually(lambda: h1(fetch, check=False).startswith("Hi! I'm [svc2] service"), PATIENCE, "svc1 asks svc2 again")
    h1("systemctl restart weave; sync")
    eventually(lambda: h1("weave ps", check=False) == ps, PATIENCE, "the router has its containers")
    h1("sync")


def _after_a_boot_and_away(config: Path) -> None:
    h1, h2 = (_shell(config, name) for name in HOSTS)
    mac, address = HOSTS["h1"]
    h1(PLUG.format(mac=mac, address=address))
    eventually(
        lambda: h1("systemctl is-active weave weave-proxy docker", check=False) == "active\n" * 3, PATIENCE, "units"
    )
    fetch = "docker exec svc1 wget -q -O - http://svc2.weave.local:8080/"
    eventually(lambda: h1(fetch, check=False).startswith("Hi! I'm [svc2] service"), PATIENCE, "svc1 after the boot")

    # `weave stop` is not undone by systemd; and then everything goes.
    h1("weave stop")
    assert h1("systemctl is-active weave", check=False) == "inactive\n"
    for ssh, reset in ((h1, "weave systemd remove; weave reset"), (h2, "weave reset 2>&1")):
        ssh("docker rm -f $(docker ps -aq)")
        said = ssh(reset)
        assert ssh is h1 or "`weave systemd remove` ends that" in said
        ssh("weave systemd remove; rm /usr/local/bin/weave")
        left = ssh(
            "find / -xdev -newer /root/before -name '*weave*' -not -path '/proc/*' -not -path '/sys/*' | sort"
        ).split()
        assert set(left) <= {"/var/log/weave.log", "/var/log/weave.proxy.log"}, left
        assert "weave" not in ssh("ip -o link; nft list ruleset; systemctl list-unit-files; ls /run").lower()


def _shell(config: Path, name: str) -> Callable[..., str]:
    def ssh(command: str, *, data: bytes = b"", check: bool = True) -> str:
        words = ["ssh", "-F", str(config), "-l", "root", "-o", "LogLevel=ERROR", name, command]
        done = subprocess.run(words, input=data, capture_output=True, check=False, timeout=PATIENCE)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            journal = (
                ""
                if "systemd" not in command
                else ssh("journalctl -n 40 --no-pager; cat /var/log/weave*.log", check=False)
            )
            pytest.fail(f"{name}: {command}: {done.returncode}\n{out}{err}\n{journal}")
        return out

    return ssh

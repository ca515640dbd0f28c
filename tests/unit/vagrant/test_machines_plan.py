"""What Vagrant and libvirt are told: the Vagrantfile's JSON, names, the emulator's script; nothing is started."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from netns_labs import scenario

from lab.backends.vagrant import libvirt, machines
from lab.errors import LabError
from lab.images import box
from lab.images.box import Box


@pytest.fixture
def found(tmp_path: Path) -> Box:
    (tmp_path / "box.img").write_bytes(b"QFI")
    os.utime(tmp_path / "box.img", (1_700_000_000.5, 1_700_000_000.5))
    return Box(name="overlay-lab/bookworm-1", directory=str(tmp_path), docker=False, base="", project="")


def test_the_vagrantfile_is_told_the_scenario_and_what_its_machines_are_like(found: Box) -> None:
    resolved = scenario(2, subnets=("192.168.0.0/24", "fd00:1::/64"))
    told = json.loads(json.dumps(machines.plan(resolved, found, kvm=False, emulator=Path("/q"), timeout=5)))
    assert told["underlay"] == json.loads(json.dumps(resolved.to_json()))["underlay"]
    assert told["machines"]["box"] == found.name
    assert told["machines"]["driver"] == "qemu"
    assert told["machines"]["macs"]["192.168.0.2"] == "02:4c:c0:a8:00:02"
    addresses = {place.address for host in resolved.hosts.values() for place in host.interfaces}
    assert set(told["machines"]["macs"]) == addresses
    assert len(set(told["machines"]["macs"].values())) == len(addresses)
    assert machines.plan(resolved, found, kvm=True, emulator=Path("/q"), timeout=5)["machines"]["driver"] == "kvm"


def test_the_vagrantfile_knows_every_setting_that_it_is_told(found: Box) -> None:
    told = machines.plan(scenario(1), found, kvm=False, emulator=Path("/q"), timeout=5)["machines"]
    text = machines.vagrantfile().read_text()
    for key in told:
        assert f'"{key}" =>' in text
    assert f'default_prefix = "{machines.PREFIX}"' in text


def test_ssh_knows_hosts_by_their_own_names_and_misses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines.VagrantMachines, "ssh_config", tmp_path / "config")
    two = machines.VagrantMachines()
    two._names = ("a", "h1")
    said = "Host host_a\n  HostName 192.168.121.2\n\nHost h1\n  HostName 192.168.121.3\n"
    assert two._write_ssh_config(said) == []
    assert (tmp_path / "config").read_text() == said.replace("host_a", "a")
    assert two._write_ssh_config("Host host_a\n  HostName 192.168.121.2\n") == ["h1"]


def test_ssh_gets_a_network_that_the_scenario_does_not_use() -> None:
    assert machines.management(["192.168.0.0/24", "fd00::/64"]) == "192.168.121.0/24"
    assert machines.management(["192.168.0.0/16"]) == "172.30.121.0/24"
    assert machines.management(["192.0.0.0/8", "172.16.0.0/12", "10.0.0.0/8"]) is None


def test_the_boxs_disk_has_the_name_that_the_provider_looks_for(found: Box) -> None:
    assert machines.volume_name(found) == "overlay-lab-VAGRANTSLASH-bookworm-1_vagrant_box_image_0_1700000000_box.img"


def test_the_emulator_keeps_little_translated_code_and_every_other_word(tmp_path: Path) -> None:
    script = tmp_path / "qemu"
    script.write_text(libvirt.emulator_script("printf '%s|'"))
    words = ["-accel", "tcg", "-name", "a b", "-append", "x='y'"]
    done = subprocess.run(["sh", str(script), *words], capture_output=True, text=True, check=True)
    assert done.stdout.split("|")[:-1] == ["-accel", "tcg,tb-size=128", *words[2:]]


def test_what_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(box, "find", lambda *, docker: None)
    monkeypatch.setattr(machines, "free_memory", lambda: 1000 << 20)
    text = "\n".join(machines.VagrantMachines().refuse(scenario(2, subnets=("172.17.0.0/24", "192.168.0.0/16"))))
    for word in (
        "vagrant, which makes the virtual machines, is not installed: `sudo",
        "qemu-system-x86",
        "lab images box --docker",
        "1000 MB are free",
        "172.17.0.0/16",
    ):
        assert word in text
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo" in machines.VagrantMachines().refuse(scenario(1))[0]


def test_a_log_ends_with_its_last_lines_that_say_something(tmp_path: Path) -> None:
    log = tmp_path / "console"
    assert libvirt.tail(log, 3) == ""
    log.write_bytes(b"one\r\n\r\ntwo\xff\r\nthree\r\n\r\n")
    assert libvirt.tail(log, 2) == "two\ufffd\nthree"


def test_without_machines_nothing_can_be_asked_of_them() -> None:
    import asyncio

    with pytest.raises(LabError, match="no machines yet"):
        asyncio.run(machines.VagrantMachines().status())

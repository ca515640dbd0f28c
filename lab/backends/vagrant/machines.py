"""A scenario's hosts as virtual machines, by Vagrant and the lab's own libvirtd.

    VagrantMachines().up(scenario)   all booted, ssh answers; `ssh_config` says how
    power_off, power_on              a machine's power, by libvirt: Vagrant takes seconds a call
    halt, reload, suspend, resume    by Vagrant, as a user would
    down()                           all of them gone

Owns the input of Vagrant (`plan`), its directories (on the lab's tmpfs, so nothing outlives the lab), and the list of
missing requirements (`refuse`). Must run inside `lab.backends.netns.launch`. Knows nothing of what is done in a machine
once ssh answers.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import IO, Any

import vagrant

import lab
from lab.backends.netns.paths import STATE
from lab.backends.vagrant import libvirt
from lab.backends.vagrant.libvirt import Libvirt, tail
from lab.errors import LabError
from lab.fabric.plan import mac_of
from lab.images import box
from lab.images.box import Box
from lab.scenario.resolve import Resolved
from lab.this_machine import free_memory, program

DIRECTORY = STATE / "vagrant"
PREFIX = "lab_"
"""Prefix of a machine's name in libvirt; the Vagrantfile uses it too."""
_ODD = "host_"
MEMORY = 768
"""Memory of a machine in MB: enough for a Docker Engine and some containers."""
_OVERHEAD = 250
"""MB that an emulator uses on top of its machine's memory, and MB of a machine's disk in the lab's tmpfs."""
_MANAGEMENT = ("192.168.121.0/24", "172.30.121.0/24", "10.121.121.0/24")
"""Candidate networks for Vagrant's ssh: the first that does not overlap a network of the scenario is used."""
_DOCKER = "172.17.0.0/16"
"""The network of the bridge of the Docker Engine in a machine."""
_BOOT = 600
"""Timeout for a boot, in seconds."""
_PROVIDERS = "/usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json"
INSTALL = "sudo sh .ci/setup vms"


class VagrantMachines:
    """The machines of one lab. `docker`: with the Docker Engine in them. `say` gets messages about slow operations."""

    ssh_config = DIRECTORY / "ssh_config"

    def __init__(
        self, *, docker: bool = True, timeout: int = _BOOT, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._docker, self._timeout, self._say = docker, timeout, say
        self._libvirt = Libvirt()
        self._vagrant: Vagrant | None = None
        self._names: tuple[str, ...] = ()

    def refuse(self, scenario: Resolved) -> list[str]:
        """Missing requirements on this machine for this scenario, one sentence each with a remedy; starts nothing."""
        if os.geteuid() != 0:
            return ["only root can start the libvirtd that runs the machines: run the same command with sudo"]
        reasons = []
        if program("vagrant") is None:
            reasons.append(
                f"the program vagrant, which makes the virtual machines, is not installed: `{INSTALL}` installs it and "
                "what it needs (Debian: packages vagrant and vagrant-libvirt)"
            )
        elif not _has_provider():
            reasons.append(
                "Vagrant has no provider libvirt: sudo apt-get install vagrant-libvirt (or: vagrant plugin install "
                "vagrant-libvirt)"
            )
        if missing := libvirt.missing():
            reasons.append(f"machines need {', '.join(missing)}: {INSTALL}")
        if box.find(docker=self._docker) is None:
            reasons.append(f"there is no box yet: {box.build_command(docker=self._docker)}")
        if not Path("/dev/net/tun").exists():
            reasons.append("there is no /dev/net/tun, which machines are plugged in by: sudo modprobe tun")
        need, have = len(scenario.hosts) * (MEMORY + _OVERHEAD), free_memory() >> 20
        if need > have:
            reasons.append(
                f"{len(scenario.hosts)} machines need {need} MB of memory and {have} MB are free: fewer hosts, or netns"
            )
        for name, subnet in scenario.networks.items():
            if self._docker and _overlap(subnet, _DOCKER):
                reasons.append(
                    f"underlay.networks.{name}: {subnet} is in use in every machine, whose Docker Engine has "
                    f"{_DOCKER}; take another"
                )
        if management(scenario.networks.values()) is None:
            reasons.append(
                f"underlay.networks: they leave none of {', '.join(_MANAGEMENT)} for ssh into the machines; take others"
            )
        return reasons

    async def up(self, scenario: Resolved) -> None:
        """Boot all machines and wait until ssh answers in each. Raises `LabError`, with the end of the consoles."""
        found = box.find(docker=self._docker)
        if reasons := self.refuse(scenario):
            raise LabError("\n".join(reasons))
        assert found is not None
        self._names = tuple(scenario.hosts)
        DIRECTORY.mkdir(exist_ok=True)
        _consoles().mkdir(exist_ok=True)
        await self._libvirt.start()
        kvm = await libvirt.kvm_works(found.image)
        if not kvm:
            self._say(f"{libvirt.no_kvm()}: the machines' processors are emulated, about ten times slower")
        libvirt.bring_in(found.image, volume_name(found))
        emulator = DIRECTORY / "qemu"
        emulator.write_text(libvirt.emulator_script(program(libvirt.QEMU) or libvirt.QEMU), encoding="utf-8")
        emulator.chmod(0o755)
        resolved = DIRECTORY / "scenario.json"
        resolved.write_text(
            json.dumps(plan(scenario, found, kvm=kvm, emulator=emulator, timeout=self._timeout)), encoding="utf-8"
        )
        self._vagrant = _vagrant(found, resolved)
        try:
            async with asyncio.timeout(self._timeout):
                await self._call("up", provider="libvirt", no_provision=True)
                text = await self._call("ssh_config")
        except TimeoutError:
            raise LabError(f"machines did not come up within {self._timeout} s\n{await self._last_words()}") from None
        except subprocess.CalledProcessError:
            raise LabError(f"vagrant up failed:\n{tail(_log(), 12)}\n{await self._last_words()}") from None
        missing = self._write_ssh_config(text)
        if missing:
            raise LabError(f"vagrant ssh-config says nothing of {', '.join(missing)}; it printed:\n{text.strip()}")

    def _write_ssh_config(self, text: str) -> list[str]:
        """Write it with the hosts' own names. Returns the hosts that it lacks."""
        for name in self._names:
            text = re.sub(rf"^Host {re.escape(machine_name(name))}$", f"Host {name}", text, flags=re.MULTILINE)
        self.ssh_config.write_text(text, encoding="utf-8")
        said = set(re.findall(r"^Host (\S+)$", text, re.MULTILINE))
        return [name for name in self._names if name not in said]

    async def status(self) -> dict[str, str]:
        """Host -> its machine's state: `running`, `poweroff` (a suspended one too), `not_created`."""
        found = {one.name: one.state for one in await self._run("status")}
        return {name: found[machine_name(name)] for name in self._names}

    async def halt(self, name: str) -> None:
        """Shut a machine down gracefully."""
        await self._run("halt", vm_name=machine_name(name))

    async def reload(self, name: str) -> None:
        """Shut a machine down gracefully and boot it again."""
        await self._run("reload", vm_name=machine_name(name), provision=False)

    async def suspend(self, name: str) -> None:
        """Save a machine's memory to its disk and stop it."""
        await self._run("suspend", vm_name=machine_name(name))

    async def resume(self, name: str) -> None:
        """Resume a suspended machine."""
        await self._run("resume", vm_name=machine_name(name))

    async def destroy(self, name: str) -> None:
        """Remove one machine with its disk; a network stays while another machine uses it."""
        await self._run("destroy", vm_name=machine_name(name))

    async def power_off(self, name: str) -> None:
        """Cut a machine's power: unsynced data is lost."""
        await self._domain("destroy", name)

    async def off(self, name: str) -> None:
        """Wait until a machine has no power, for whatever reason."""
        try:
            await self._libvirt.ended(PREFIX + machine_name(name))
        except (OSError, ValueError):  # the process is already gone
            return

    async def power_on(self, name: str) -> None:
        """Boot a machine that is off and wait until ssh answers. Raises `LabError` with its console's last lines."""
        await self._domain("start", name)
        try:
            async with asyncio.timeout(self._timeout):
                while not await self._answers(name):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
        except TimeoutError:
            words = await self.console_tail(name)
            raise LabError(
                f"{name} did not come up within {self._timeout} s; its console's last lines:\n{words}"
            ) from None

    async def console_tail(self, name: str, lines: int = 12) -> str:
        """The last lines of a machine's console."""
        return tail(_consoles() / f"{name}.log", lines)

    async def down(self) -> None:
        """End all machines, whatever their state. Their disks and all else are removed with the lab's tmpfs."""
        for name in self._names:
            with contextlib.suppress(LabError):
                await self._libvirt.virsh("destroy", PREFIX + machine_name(name))
        self._names = ()

    async def _call(self, verb: str, **arguments: Any) -> Any:
        if self._vagrant is None:
            raise LabError("there are no machines yet")
        try:
            return await asyncio.to_thread(getattr(self._vagrant, verb), **arguments)
        except asyncio.CancelledError:
            self._vagrant.end()
            raise

    async def _run(self, verb: str, **arguments: Any) -> Any:
        try:
            return await self._call(verb, **arguments)
        except subprocess.CalledProcessError:
            name = arguments.get("vm_name", "")
            raise LabError(f"vagrant {verb} {name} failed:\n{tail(_log(), 12)}") from None

    async def _domain(self, verb: str, name: str) -> None:
        try:
            await self._libvirt.virsh(verb, PREFIX + machine_name(name))
        except LabError as error:
            raise LabError(
                f"{name}: {error}; if somebody has destroyed the machine, end the lab (`lab down`) and start it again"
            ) from None

    async def _answers(self, name: str) -> bool:
        command = ["ssh", "-F", str(self.ssh_config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", name, "true"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return await process.wait() == 0

    async def _last_words(self) -> str:
        said = [(name, await self.console_tail(name)) for name in self._names]
        return "\n".join(f"{name}'s console ends with:\n{text or '(nothing)'}" for name, text in said)


def plan(scenario: Resolved, found: Box, *, kvm: bool, emulator: Path, timeout: int) -> dict[str, Any]:
    """Input of the Vagrantfile: the resolved scenario, and `machines` with their properties."""
    addresses = [place.address for spec in scenario.hosts.values() for place in spec.interfaces]
    return scenario.to_json() | {
        "machines": {
            "box": found.name,
            "driver": "kvm" if kvm else "qemu",
            "emulator": str(emulator),
            "memory": MEMORY,
            "timeout": timeout,
            "consoles": str(_consoles()),
            "management": management(scenario.networks.values()),
            "macs": {address: mac_of(address) for address in addresses},
        }
    }


def machine_name(host: str) -> str:
    """Vagrant's name for a host's machine; the Vagrantfile computes the same.

    Vagrant takes a name that is a prefix of any machine's id, 32 hexadecimal digits, for that machine: `b` for the
    machine of `a` once in sixteen times. Host names have no underscore, so no host has such a name.
    """
    return _ODD + host if re.fullmatch("[0-9a-f]{1,32}", host) else host


def management(subnets: Any) -> str | None:
    """The network for ssh to the machines, which overlaps none of these; None if all candidates do."""
    taken = list(subnets)
    return next((one for one in _MANAGEMENT if not any(_overlap(one, subnet) for subnet in taken)), None)


def volume_name(found: Box) -> str:
    """The provider's name for the box's disk in libvirt's pool; if a disk of that name exists, it copies none."""
    place = found.name.replace("/", "-VAGRANTSLASH-")
    return f"{place}_vagrant_box_image_0_{int(found.image.stat().st_mtime)}_box.img"


def vagrantfile() -> Path:
    """The project's Vagrantfile: next to this package in a checkout, in it when installed."""
    inside = Path(__file__).parent / "Vagrantfile"
    return inside if inside.exists() else Path(str(lab.__file__)).parents[1] / "Vagrantfile"


class Vagrant(vagrant.Vagrant):
    """Vagrant with commands that can be killed, so that a user who interrupts a lab does not wait for a boot."""

    def __init__(self, env: Mapping[str, str]) -> None:
        super().__init__(root=str(vagrantfile().parent), env=dict(env))  # type: ignore[no-untyped-call]
        self._running: set[subprocess.Popen[bytes]] = set()

    def end(self) -> None:
        """Kill the running commands; the methods that wait for them raise `CalledProcessError`."""
        for process in self._running:
            process.kill()

    def _call_vagrant_command(self, args: Sequence[str | None]) -> None:
        with _log().open("ab") as log:
            self._wait(args, log)

    def _run_vagrant_command(self, args: Sequence[str | None]) -> str:
        return self._wait(args, subprocess.PIPE).decode(errors="replace")

    def _wait(self, args: Sequence[str | None], out: IO[bytes] | int) -> bytes:
        command: list[str] = self._make_vagrant_command(args)  # type: ignore[no-untyped-call]
        with (
            _log().open("ab") as log,
            subprocess.Popen(
                command, cwd=self.root, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=log
            ) as process,
        ):
            self._running.add(process)
            said, _ = process.communicate()
            self._running.remove(process)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return said or b""


def _vagrant(found: Box, resolved: Path) -> Vagrant:
    """Vagrant with its own home directory, in which this box is already added."""
    home = DIRECTORY / "home"
    place = home / "boxes" / found.name.replace("/", "-VAGRANTSLASH-") / "0"
    place.mkdir(parents=True)
    (place / "libvirt").symlink_to(found.directory)
    (home / "setup_version").write_text("1.5", encoding="utf-8")
    theirs = Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d")
    for name in ("plugins.json", "gems"):  # if Vagrant is not Debian's, its provider is a plugin of the user
        if (theirs / name).exists():
            (home / name).symlink_to(theirs / name)
    settings = {
        "VAGRANT_HOME": str(home),
        "VAGRANT_DOTFILE_PATH": str(DIRECTORY / "state"),
        "VAGRANT_CWD": str(vagrantfile().parent),
        "VAGRANT_VAGRANTFILE": "Vagrantfile",
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "VAGRANT_DEFAULT_PROVIDER": "libvirt",
        "VAGRANT_NO_COLOR": "1",
        "LAB_SCENARIO": str(resolved),
        "TMPDIR": str(DIRECTORY),
    }
    return Vagrant(libvirt.environment() | settings)


def _log() -> Path:
    return DIRECTORY / "vagrant.log"


def _consoles() -> Path:
    return DIRECTORY / "consoles"


def _has_provider() -> bool:
    if Path(_PROVIDERS).exists():
        return True
    home = Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d")
    try:
        installed: Mapping[str, Any] = json.loads((home / "plugins.json").read_text(encoding="utf-8"))["installed"]
    except (OSError, ValueError, KeyError):
        return False
    return "vagrant-libvirt" in installed


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one), ip_network(other)
    return first.version == second.version and first.overlaps(second)

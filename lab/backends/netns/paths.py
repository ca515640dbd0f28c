"""Where a lab keeps its files: every path is in the lab's own mount namespace, on a tmpfs that is removed with the lab.

The supervisor and the runner see `/run/lab`; a host sees its own directory of it bound to the usual places, and of
`/run/lab` only `bin`. Knows nothing of who mounts what.
"""

from pathlib import Path

STATE = Path("/run/lab")
"""The lab's state, in the supervisor's and the runner's mount namespace."""

BIN = STATE / "bin"
"""`weave`, `sudo`: the first entry of PATH in hosts; the same path in every mount namespace of the lab."""

NEIGHBOURS = STATE / "neighbours"
"""Tables of neighbours that the inits of all hosts read (`lab.fabric.host_messages`)."""

HOSTS_FILE = STATE / "hosts"
"""What every host has in its /etc/hosts when it boots."""

RUNNER_LOG = STATE / "runner.log"
"""Log of a detached lab's runner, after the command that started it has returned."""

MACHINE = ".machine"
"""In a shadowed directory: the name of the machine's original one."""

HOST_MOUNTS = {
    "run": "/run",
    "tmp": "/tmp",
    "log": "/var/log",
    "weave": "/var/lib/weave",
    "docker": "/var/lib/docker",
    "home": "/root",
    "shm": "/dev/shm",
}
"""Directory of a host's disk -> where the host sees it."""

VOLATILE = ("run", "shm")
"""Directories that a host loses when its power is cut."""

HOST_FILES = ("hosts", "hostname", "resolv.conf")
"""Files of /etc that each host has its own copy of."""

ENGINE_SOCKET = "/var/run/docker.sock"
ENGINE_STATE = "/var/lib/docker"
WEAVE_SOCKET = "weave/router.sock"
"""The daemon's control socket, below /var/run."""


def host_dir(index: int) -> Path:
    """The disk of the host with this index. Indexes keep socket paths far below their limit of 107 bytes."""
    return STATE / "h" / str(index)


def search_path(inherited: str) -> str:
    """PATH for hosts: the lab's commands, then the inherited path, then the system's tool directories."""
    system = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return ":".join(dict.fromkeys(part for part in (str(BIN), *inherited.split(":"), *system) if part))

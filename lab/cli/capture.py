"""`lab capture`: packets of a running lab, live, into a file or a pipe that Wireshark reads.

Owns the naming of a place and how it is entered; `lab.capture.sniff` captures there. That process is a child of this
command, and detects when the command is gone, however it ends.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.capture.filters import compiled
from lab.capture.places import halves
from lab.cli.ended import find_running
from lab.errors import LabError
from lab.words import natural

__all__ = ["capture"]


def capture(
    where: str,
    words: Sequence[str],
    *,
    name: str,
    to: Path | None,
    interfaces: Sequence[str],
    seconds: float,
    most: int,
) -> int:
    """Capture at a host, a service's (first) container, or `A->B`: packets between hosts A and B; returns the exit
    code."""
    from lab.backends.netns import LabClient
    from lab.backends.netns.entering import enter

    if to is None and sys.stdout.isatty():
        raise LabError("packets are no text for a terminal: say `-w FILE`, or `-w - | wireshark -k -i -`")
    try:
        lab = find_running(name)
    except LabError as error:
        why, line, rest = str(error).partition("\n")
        told = "a lab on sim does not stay: `lab run SCENARIO --backend sim --capture WHERE` captures it"
        raise LabError(f"{why}; {told}{line}{rest}") from None
    with LabClient(lab) as client:
        facts = client.call("inspect")
        containers = client.call("status", peers=False)["containers"]
        addresses = {host["name"]: host["address"] for host in facts["hosts"]}
        host, container, between = _place(where, addresses, containers)
        program = compiled(" ".join(words), addresses)
        answer, pidfd = client.call_pidfd("host", host=host, container=container)
    if "doorway" in answer:
        os.close(pidfd)
        raise LabError(_elsewhere(facts["backend"], host))
    # A host that is a container has a Python with this project in its image; others see the machine's.
    shared = facts["backend"] == "netns"
    argv = [sys.executable if shared else "python3", "-m", "lab.capture.sniff", "--label", where]
    argv += ["--most", str(most), "--seconds", str(seconds)]
    argv += ["--comment", f"lab {facts['lab']}: {facts.get('scenario', '')} on {facts['backend']}"]
    argv += [word for one in interfaces for word in ("--interface", one)]
    argv += ["--pid", str(answer["container"])] if container else []
    argv += ["--filter", program] if program else []
    argv += ["--between", between] if between else []
    argv += ["--overwrite"] if to is not None else []
    environment = dict(answer["environment"])
    if shared:
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path and Path(path).is_dir())
    try:
        return _as_child(lambda: enter(pidfd, argv, environment=environment, uid=lab.uid), where, to)
    finally:
        os.close(pidfd)


def _elsewhere(backend: str, host: str) -> str:
    """Advice if a host cannot be entered from here."""
    if backend == "dind":
        return (
            "hosts in your own engine cannot be entered by `lab capture`: `lab up SCENARIO --backend dind --capture "
            f"{host}` writes their packets into the run directory"
        )
    return (
        f"packets of machines of {backend} are not captured: `lab exec {host} -- tcpdump …` does it where the machine "
        "has tcpdump"
    )


def _as_child(work: Callable[[], int], where: str, to: Path | None) -> int:
    """Run the work in a child whose input ends with this process, and whose output is the file."""
    made = to if to is not None and not to.exists() else None
    if to is not None:
        try:
            os.dup2(os.open(to, os.O_WRONLY | os.O_CREAT, 0o644), 1)
        except OSError as error:
            raise LabError(f"cannot write {to}: {error.strerror}") from None
    alive, here = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        os.dup2(alive, 0)
        os._exit(work())
    os.close(alive)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the child handles it, and then ends gracefully
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(here)
    code = code if code >= 0 else 128 - code
    if code == 128 + signal.SIGKILL:
        print(f"{where} is gone, and the capture ends with it", file=sys.stderr)
    if code and made is not None and not os.fstat(1).st_size:
        made.unlink()
    return code


def _place(where: str, addresses: dict[str, str], containers: dict[str, Any]) -> tuple[str, str, str]:
    """The selected host, container and addresses."""
    if where in addresses:
        return where, "", ""
    for replica, container in containers.items():
        if where in (replica, container["service"]):
            return container["host"], container.get("container", replica), ""
    pair = halves(where)
    if pair is not None and pair[0] in addresses and pair[1] in addresses:
        return pair[0], "", addresses[pair[1]]
    raise LabError(
        f"no host, service or pair of hosts named {where}; hosts: {', '.join(addresses)}; containers: "
        f"{', '.join(sorted(containers, key=natural))}; a pair is written `{next(iter(addresses), 'a')}->b`"
    )

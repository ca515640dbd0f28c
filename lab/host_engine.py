"""The container engine of a host, accessed through its own API from inside the host.

Owns the few requests that the lab makes without a `weave` command: run, remove, kill, start, inspect. A Python
one-liner on the host sends them, so neither a `docker` client nor this package needs to be installed there.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lab.contracts.lab import Host
from lab.errors import LabError
from lab.scenario.names import DNS_DOMAIN
from lab.scenario.resolve import Replica

API = "/v1.41"
CLIENT = """\
import socket, sys
method, path, body = sys.argv[1], sys.argv[2], sys.argv[3].encode()
head = "%s %s HTTP/1.0\\r\\nHost: docker\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n"
with socket.socket(socket.AF_UNIX) as engine:
    engine.connect("/var/run/docker.sock")
    engine.sendall((head % (method, path, len(body))).encode() + body)
    answer = b"".join(iter(lambda: engine.recv(65536), b""))
head, _, body = answer.partition(b"\\r\\n\\r\\n")
print(head.split()[1].decode())
sys.stdout.write(body.decode())
"""
"""HTTP/1.0 by hand: the interpreter starts faster without its HTTP library, and the response is not chunked."""


class EngineError(LabError):
    """The engine refused a request; `status` is the HTTP status."""

    def __init__(self, host: str, what: str, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{host}: the engine refused {what} with {status}: {text}")


class HostEngine:
    """The engine of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def run(self, replica: Replica) -> None:
        """Create and start a container on the engine's own network; its service port is published on a free port."""
        exposed = {f"{replica.port}/tcp": [{"HostPort": ""}]} if replica.port and not replica.publish else {}
        for entry in replica.publish:
            *outside, inside = entry.removesuffix("/tcp").split(":")
            exposed[f"{inside}/tcp"] = [{"HostPort": outside[-1] if outside else ""}]
        body: dict[str, Any] = {
            "Image": replica.image,
            "Hostname": replica.hostname.removesuffix(f".{DNS_DOMAIN}"),
            "Env": [f"{key}={value}" for key, value in replica.env.items()],
            "Labels": replica.labels,
            "ExposedPorts": {port: {} for port in exposed},
            "HostConfig": {"PortBindings": exposed},
        }
        if replica.args:
            body["Cmd"] = list(replica.args)
        else:
            body |= {"Tty": True, "OpenStdin": True}
        await self.ask("POST", f"/containers/create?name={quote(replica.name)}", body)
        await self.start(replica.name)

    async def start(self, name: str) -> None:
        """Start a container; does nothing if it runs already."""
        await self.ask("POST", f"/containers/{quote(name)}/start", fine=(304,))

    async def kill(self, name: str) -> None:
        """SIGKILL; does nothing if it does not run."""
        await self.ask("POST", f"/containers/{quote(name)}/kill", fine=(409,))

    async def remove(self, name: str) -> None:
        """`docker rm -f`; does nothing if it does not exist."""
        await self.ask("DELETE", f"/containers/{quote(name)}?force=1", fine=(404,))

    async def inspect(self, name: str) -> Mapping[str, Any]:
        """The engine's data about a container."""
        answer: Mapping[str, Any] = json.loads(await self.ask("GET", f"/containers/{quote(name)}/json"))
        return answer

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, fine: tuple[int, ...] = ()
    ) -> str:
        """Send a request and return the body of its answer; raises `EngineError` for an error status not in `fine`."""
        text = json.dumps(body) if body is not None else ""
        result = await self._host.exec(["python3", "-ISc", CLIENT, method, API + path, text], timeout=90.0)
        status, _, answer = result.out.partition("\n")
        if result.code != 0 or not status.isdigit():
            raise EngineError(self._host.name, f"{method} {path}", 0, result.err.strip().rpartition("\n")[2])
        if int(status) >= 300 and int(status) not in fine:
            raise EngineError(self._host.name, f"{method} {path}", int(status), answer.strip())
        return answer

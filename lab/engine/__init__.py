"""A container engine whose containers are processes in namespaces: the Docker of a `netns` host.

It speaks a subset of the Docker Engine API (v1.41) on a unix socket, so that clients need not know which engine they
talk to, and needs neither root nor images on disk. From the bottom up:

    namespaces.py   fork into new or existing namespaces; what a forked child must shed
    reaper.py       the one place that waits for children
    spec.py         what a create request means: frozen, stored as JSON
    network.py      docker0, addresses, published ports
    inside.py       the container's own first process: mounts, eth0, the command, reaping
    streams.py      pipes and terminals, fan-out to those attached, backpressure
    logs.py         the log files and the state kept on the host's disk
    container.py    one container's life
    engine.py       all containers of one host
    views.py        the JSON that Docker's clients expect
    api.py hijack.py server.py   HTTP on a unix socket
"""

from lab.engine.reaper import Reaper
from lab.engine.server import serve_engine, until_signalled

__all__ = ["Reaper", "serve_engine", "until_signalled"]

"""A host's address changes on real packets: containers' TCP goes on over each data path, and peers name the new one."""

from pathlib import Path

import pytest
from both_backends import played

SCENARIO = """
version: 1
underlay:
  networks: {{lan: {{subnet: 192.168.0.0/24}}}}
  hosts: {{a: {{address: 192.168.0.2}}, b: {{address: 192.168.0.3}}}}
overlay: {{kind: weave, options: {{{options}}}}}
services:
  server:
    host: a
    address: 10.0.1.1/24
    command: [python3, -u, -c, "{server}"]
  client:
    host: b
    address: 10.0.1.2/24
    command: [python3, -u, -c, "{client}"]
probes:
  - {{kind: icmp, every: 100ms, timeout: 1s}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {{converged: all, within: 90s}}
  - expect:
      exec: {{service: client, command: "cat /tmp/talk", expect: {{stdout: "^1 [0-9]"}}}}
      within: 60s
  - address: {{host: b, to: 192.168.0.77}}
  - expect:
      exec:
        host: a
        command: [weave, status, connections]
        expect: {{stdout: "192[.]168[.]0[.]77:6783 +established"}}
      within: 60s
  - exec: {{service: client, command: "cp /tmp/talk /tmp/before"}}
  - expect: {{reachable: all, within: 60s, for: 1s}}
  # The same connection as ever, and it has exchanged more since.
  - expect:
      exec:
        service: client
        command: "read a x < /tmp/before; read b y < /tmp/talk; echo $a $b $(test $y -gt $x && echo more)"
        expect: {{stdout: "^1 1 more"}}
      within: 60s
"""
SERVER = """
import socket
s = socket.create_server(('', 9000))
while True:
    c, _ = s.accept()
    while d := c.recv(64):
        c.sendall(d)
"""
CLIENT = """
import os, socket, time
n = total = 0
while True:
    try:
        c = socket.create_connection(('10.0.1.1', 9000), 5)
        n += 1
        c.settimeout(60)
        while True:
            c.sendall(b'x')
            if not c.recv(64): break
            total += 1
            open('/tmp/talk.new', 'w').write('%d %d' % (n, total) + chr(10))
            os.rename('/tmp/talk.new', '/tmp/talk')
            time.sleep(0.05)
    except OSError:
        time.sleep(0.2)
"""


def quoted(text: str) -> str:
    return text.strip().replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@pytest.mark.parametrize("options", ["", "fastdp: false", "password: secret"], ids=["fastdp", "sleeve", "encrypted"])
def test_a_connection_of_containers_goes_on(options: str, tmp_path: Path) -> None:
    text = SCENARIO.format(options=options, server=quoted(SERVER), client=quoted(CLIENT))
    outcome = played(text, "netns", tmp_path)
    assert outcome.verdict != "invalid", outcome.reason

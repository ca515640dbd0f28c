"""What a test suite does with testcontainers: containers with ports, logs, commands and networks of their own.

Run by `tests/system/test_client_testcontainers.py`, with the Python of `.ci/clients`. Prints what it found as JSON.
"""

import json
import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs

IMAGE = "alpine:3.10"
found = {}

web = DockerContainer(IMAGE).with_name("web").with_exposed_ports(80)
web.with_command("sh -c 'echo it serves; exec httpd -f -p 80 -h /etc'")
with web:
    wait_for_logs(web, "it serves", timeout=60)
    url = f"http://{web.get_container_host_ip()}:{web.get_exposed_port(80)}/passwd"
    found["published"] = urllib.request.urlopen(url, timeout=60).read().decode()
    code, out = web.exec("ip -o -4 addr show ethwe")
    found["address"], found["code"] = out.decode(), code

    asker = DockerContainer(IMAGE).with_env("WEAVE_CIDR", "net:default 10.2.1.7/24")
    with asker.with_command("wget -qO- web.weave.local/passwd"):
        found["exit code"] = asker.get_wrapped_container().wait(timeout=60)["StatusCode"]
        found["logs"] = asker.get_logs()[0].decode()

    with Network() as network:
        one = DockerContainer(IMAGE).with_network(network).with_network_aliases("one").with_command("sleep 1000")
        two = DockerContainer(IMAGE).with_network(network).with_command("sleep 1000")
        with one, two:
            found["alias"] = two.exec("ping -c1 -W5 one")[0]
            found["overlay"] = two.exec("wget -qO- web.weave.local/passwd")[0]

print(json.dumps(found))

"""The proxy over TCP with TLS: who may come in, and that one direction of a stream may end before the other."""

import shutil
from pathlib import Path

import pytest
from docker_hosts import BUSYBOX, DockerHost, clients
from overlay_hosts import PYTHON
from tiers import cannot_run

pytestmark = pytest.mark.turn(3)

HOST = "tcp://127.0.0.1:12376"


@pytest.fixture(scope="module")
def certificates(docker_host: DockerHost) -> Path:
    """An authority, a server's and a client's certificate, as `docker --tlsverify` wants them."""
    if shutil.which("openssl") is None:
        cannot_run("no openssl: apt-get install openssl")
    folder = docker_host.disk / "tls"
    folder.mkdir()
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    script = [f"cd {folder}", f"openssl req -x509 {key} -keyout ca-key.pem -out ca.pem -subj /CN=ca -days 2"]
    for name, use in (("server", "serverAuth"), ("client", "clientAuth")):
        extensions = f"extendedKeyUsage={use}\\nsubjectAltName=IP:127.0.0.1\\n"
        script.append(f"openssl req {key} -keyout {name}-key.pem -out {name}.csr -subj /CN={name}")
        script.append(f"printf '{extensions}' > {name}.ext")
        script.append(
            f"openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2"
            f" -out {name}.pem -extfile {name}.ext"
        )
    docker_host.sh("\n".join(script))
    return folder


@pytest.mark.parametrize("client", clients() or ["docker"])
def test_only_clients_with_a_certificate_come_in(docker_host: DockerHost, certificates: Path, client: str) -> None:
    other = f"WEAVE_PROXY_SOCK={docker_host.disk}/tls.sock"
    server = f"--tlscacert={certificates}/ca.pem --tlscert={certificates}/server.pem"
    server += f" --tlskey={certificates}/server-key.pem"
    weave = ["env", other, PYTHON, "-m", "overlay.cli.main"]
    docker_host.run(*weave, "launch-proxy", "-H", HOST, "--tlsverify", *server.split())
    try:
        files = f"--tlscert={certificates}/client.pem --tlskey={certificates}/client-key.pem"
        trusted = [client, "--host", HOST, "--tlsverify", f"--tlscacert={certificates}/ca.pem"]
        run = ("run", "--rm", "-i", BUSYBOX, "sh", "-c", "cat; echo after; ip -o addr show ethwe")
        process = docker_host.popen(*trusted, *files.split(), *run, stdin=-1)
        out, err = process.communicate("before\n", timeout=60)
        assert process.returncode == 0, err
        assert out.startswith("before\nafter\n") and " inet 10." in out
        assert docker_host.run(*trusted, "version", check=False).returncode == 1
        assert docker_host.run(client, "--host", HOST, "version", check=False).returncode == 1
        words = docker_host.run(*weave, "config").stdout
        assert "--tlsverify" in words and HOST in words
    finally:
        docker_host.run(*weave, "stop-proxy")

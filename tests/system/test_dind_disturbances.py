"""What disturbs hosts, and the lab's own probes, on hosts with a Docker Engine; so do the kinds of NAT."""

from pathlib import Path

import pytest
from dind_labs import lab, require_dind, summary

from lab.api.played import load
from lab.records.history import Sample

DISTURBED = """\
version: 1
name: disturbed
underlay: {hosts: {orion: {}, macbook: {}}}
services:
  web: {image: ksahnine/dummy-http, args: [web], hosts: [orion, macbook], replicas: 2}
  client: {image: tutum/curl, host: orion}
probes:
  - {kind: http}
  - {kind: udp, from: client, to: web}
  - {kind: jitter, from: client, to: web, every: 500ms}
  - {kind: throughput, from: client, to: web, every: 2s, timeout: 2s, options: {size_kb: 200}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 90s}
  - load: {from: client, to: web, rate: 20/s, by: http, timeout: 5s}
    for: 5s
  - load: {from: web-1, to: web-2, rate: 20/s, by: udp, timeout: 5s}
    for: 5s
  - address: {host: macbook, to: 192.168.0.99}
  - exec: {host: orion, command: getent hosts macbook, expect: {stdout: '192\\.168\\.0\\.99'}}
  - expect: {converged: all, within: 90s}
  - address: {host: macbook, to: 192.168.0.3}
  - expect: {converged: all, within: 90s}
  - clock: {host: macbook, offset: 1h, drift_ppm: 500, for: 2s}
  - pause: {daemon: macbook, for: 1s}
  - pause: {service: web-1, for: 1s}
  - wait: 2s
  - expect: {converged: all, within: 90s}
  - pause: {host: orion, for: 1s}
  - wait: 2s
  - expect: {converged: all, within: 90s}
  - slow_disk: {host: macbook, latency: 300ms, for: 2s}
  - scale: {service: web, to: 3}
  - slow_disk: {host: macbook, latency: 0s, torn: true}
  - scale: {service: web, to: 4}
  - kill: {host: macbook}
  - restart: {host: macbook}
  - expect: {converged: all, within: 90s}
  - exec: {host: macbook, command: ls /var/lib/weave, expect: {stdout: damaged}}
  - stress: {host: orion, cores: 1.5, memory: 16MiB}
  - exec: {host: orion, command: 'pgrep -fc "[o]verlay-lab-stress"', expect: {stdout: '^[2-9]'}}
  - slow_disk: {host: orion, full: true}
  - exec: {host: orion, command: docker create ksahnine/dummy-http 2>&1, expect: {code: 1, stdout: no space left}}
  - exec: {host: orion, command: dd if=/dev/zero of=/tmp/filler bs=4k count=64, expect: {code: 1}}
  - expect: {reachable: all, within: 90s}
"""
TRANSLATED = """\
version: 1
name: translated
underlay:
  networks: {lan: {subnet: 192.168.1.0/24}, wan: {subnet: 192.168.2.0/24}}
  hosts: {inside: {network: lan}, outside: {network: wan}}
  routers: {gw: {networks: [lan, wan], nat: {network: lan, kind: KIND, timeout: 20s}}}
services:
  web: {image: ksahnine/dummy-http, args: [web], hosts: [inside, outside], replicas: 2}
probes:
  - {kind: http}
  - {kind: udp, from: web, to: web}
timeline:
  - launch: all
  - connect: {from: inside, to: [outside]}
  - run: all
  - expect: {converged: all, within: 120s}
  - exec: {host: outside, command: weave status connections, expect: {stdout: '192\\.168\\.2\\.'}}
  - exec: {host: outside, command: '! weave status connections | grep 192.168.1.'}
"""


def played(text: str, folder: Path) -> Path:
    require_dind()
    file = folder / "scenario.yaml"
    file.write_text(text)
    out = lab("run", str(file), "--backend", "dind", "--json", "--out", str(folder))
    assert summary(out)["verdict"] == "valid", out
    (run,) = folder.glob("*/latest")
    return run


@pytest.mark.turn(2)
def test_disturbances_are_real_and_probes_measure(tmp_path: Path) -> None:
    samples = load(played(DISTURBED, tmp_path)).samples
    good: dict[str, Sample] = {one.probe: one for one in samples if one.ok}
    assert good.keys() >= {"http", "udp", "jitter", "throughput", "load"}
    assert (
        good["jitter"].measured.keys() >= {"jitter", "sent", "lost"} and good["throughput"].measured["throughput"] > 0
    )
    assert {one.source for one in samples if one.probe == "load" and one.ok} == {"client", "web-1"}


@pytest.mark.turn(3)
@pytest.mark.parametrize("kind", ["symmetric", "full-cone"])
def test_kinds_of_nat_translate_for_engines_too(kind: str, tmp_path: Path) -> None:
    played(TRANSLATED.replace("KIND", kind), tmp_path)

"""What a scenario can say is honoured on simulated hosts: verbs, faults, links, generators and the other overlays."""

import asyncio
import io
from typing import Any

import pytest

from lab.backends.simulated.backend import SimBackend
from lab.records.history import AnyRecord, Event, Sample, Writer, decode
from lab.runner.runner import Runner, RunOutcome
from lab.scenario.load import parse
from lab.scenario.resolve import Resolved, resolve

MS = 1_000_000


def played(text: str, seed: int = 1) -> tuple[RunOutcome, list[AnyRecord]]:
    scenario: Resolved = resolve(parse(text), seed=seed)
    backend, history = SimBackend(), io.BytesIO()
    assert backend.refuse(scenario) == []
    outcome = backend.run(Runner(scenario, backend, Writer(history)).run())
    return outcome, [decode(line) for line in history.getvalue().splitlines()]


def valid(text: str) -> list[AnyRecord]:
    outcome, records = played(text)
    assert (outcome.verdict, outcome.reason) == ("valid", "")
    return records


def samples(records: list[AnyRecord], **which: Any) -> list[Sample]:
    found = [record for record in records if isinstance(record, Sample)]
    return [sample for sample in found if all(getattr(sample, key) == value for key, value in which.items())]


TWO = """
version: 1
underlay:
  hosts: {a: {}, b: {}}
%s
services:
  left: {image: ksahnine/dummy-http, args: [left], host: a}
  right: {image: ksahnine/dummy-http, args: [right], host: b}
%s
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {reachable: all, within: 20s}
%s
"""


@pytest.mark.parametrize("kind", ["vxlan", "none"])
def test_other_overlays(kind: str) -> None:
    steps = """
  - partition: {groups: [[a], [b]], for: 3s}
  - expect: {unreachable: {from: left, to: right}, within: 3s}
  - expect: {reachable: all, within: 5s}
  - kill: {host: b}
  - expect: {unreachable: {from: left, to: right}, within: 3s}
  - restart: {host: b}
  - expect: {reachable: all, within: 5s}
"""
    valid(TWO % (f"overlay: {kind}", "", steps))


def test_link_takes_its_time_in_each_direction() -> None:
    links = '  links: {"a -> b": {delay: 30ms}, "b -> a": {delay: 10ms}}'
    records = valid(TWO % (links, "probes: [{kind: icmp, every: 100ms}]", "  - wait: 2s"))
    took = [sample.latency or 0 for sample in samples(records, source="left", target="right", ok=True)]
    assert len(took) >= 15 and all(40 * MS < latency < 42 * MS for latency in took)


def test_link_loses_the_part_of_packets_that_it_should() -> None:
    links = '  links: {"a -> b": {loss: 20%}}'
    records = valid(TWO % (links, "probes: [{kind: icmp, every: 20ms, timeout: 100ms}]", "  - wait: 40s"))
    for source, target in (("left", "right"), ("right", "left")):
        tries = samples(records, source=source, target=target)[100:]
        lost = sum(not sample.ok for sample in tries) / len(tries)
        assert 0.15 < lost < 0.25  # 20 % in one direction costs every try, whichever way it is asked


def test_link_delays_what_exceeds_its_rate() -> None:
    links = '  links: {"a -> b": {rate: 100kbit}}'
    records = valid(TWO % (links, "probes: [{kind: icmp, every: 200ms}]", "  - wait: 4s"))
    took = [sample.latency or 0 for sample in samples(records, source="left", target="right", ok=True)]
    # An echo request in its tunnel has 134 bytes: 10.7 ms at this rate.
    assert min(took) > 10 * MS


def test_faults_of_every_kind() -> None:
    steps = """
  - partition: {one_way: {from: a, to: b}, for: 2s}
  - expect: {unreachable: {from: right, to: left}, within: 3s}
  - expect: {reachable: all, within: 10s}
  - {slow_disk: {host: a, latency: 400ms}, for: 2s}
  - exec: {host: a, command: "weave run --name late ksahnine/dummy-http late"}
  - {slow_disk: {host: b, full: true}, for: 2s}
  - exec: {host: b, command: weave run --name never ksahnine/dummy-http never, expect: {code: 1}}
  - wait: 3s
  - {clock: {host: b, offset: 90s, drift_ppm: 500}, for: 5s}
  - expect: {converged: all, within: 10s, for: 6s}
  - kill: {service: right}
  - expect: {unreachable: {from: left, to: right}, within: 3s}
  - restart: {service: right}
  - expect: {reachable: all, within: 10s}
  - {kill: {daemon: a}, for: 1s}
  - wait: 2s
  - attach: {service: left, address: 10.5.0.1/24}
  - exec: {service: left, command: ifconfig ethwe, expect: {stdout: 10\\.5\\.0\\.1}}
  - detach: {service: left, address: 10.5.0.1/24}
  - forget: {from: a, to: b}
  - remove: right
  - reset: b
  - launch: b
  - connect: {from: b, to: a}
  - run: right
  - expect: {reachable: all, converged: all, within: 20s}
"""
    valid(TWO % ("", "", steps))


def test_slow_disk_makes_an_address_slow() -> None:
    steps = """
  - {slow_disk: {host: a, latency: 700ms}, for: 5s}
  - exec: {host: a, command: weave run --name late ksahnine/dummy-http late}
"""
    records = valid(TWO % ("", "", steps))
    exec_end = next(r for r in records if isinstance(r, Event) and r.what == "exec" and r.phase == "end")
    assert exec_end.detail["took"] > 700 * MS


def test_churn_in_a_generated_mesh() -> None:
    records = valid("""
version: 1
seed: 3
underlay: {generate: {kind: full_mesh, hosts: 8}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 3}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 20s}
  - {churn: {rate: 1/s, crash: 50%, downtime: 2s}, for: 15s}
  - wait: 15s
  - expect: {converged: all, within: 30s}
""")
    told = [record.what for record in records if isinstance(record, Event)]
    assert told.count("leave") >= 5 and told.count("leave") == told.count("join")


def test_graph_of_peers_converges_over_several_hops() -> None:
    valid("""
version: 1
underlay: {generate: {kind: random_regular, hosts: 12, degree: 3}}
timeline:
  - launch: all
  - connect: all
  - expect: {converged: all, within: 20s}
  - {partition: {isolate: [host1, host2]}, for: 8s}
  - wait: 8s
  - expect: {converged: all, within: 20s}
""")


def test_regions_and_bursts() -> None:
    valid("""
version: 1
underlay:
  hosts: {a: {region: eu}, b: {region: eu}, c: {region: us}}
  links:
    "region:eu <-> region:us": {delay: 40ms, jitter: 5ms, distribution: normal, burst: {enter: 1%, leave: 40%}}
services: {web: {image: ksahnine/dummy-http, args: [web], replicas: 3}}
timeline:
  - launch: all
  - connect: all
  - run: all
  - expect: {converged: all, within: 30s}
""")


def test_hosts_without_a_common_network_do_not_meet() -> None:
    valid("""
version: 1
underlay:
  networks: {one: {subnet: 192.168.1.0/24}, two: {subnet: 192.168.2.0/24}}
  hosts: {a: {network: one}, both: {networks: {one: null, two: null}}, b: {network: two}}
services: {}
timeline:
  - launch: all
  - exec: {host: a, command: ping -c 1 -W 1 both}
  - exec: {host: a, command: ping -c 1 -W 1 b, expect: {code: 1}}
  - exec: {host: b, command: ping -c 1 -W 1 192.168.2.2}
""")


def test_peers_of_one_password_meet_and_those_of_another_are_refused() -> None:
    valid("""
version: 1
underlay: {hosts: {a: {}, b: {}, c: {}}}
overlay: {kind: weave, options: {password: hush, trusted-subnets: 192.168.0.0/24}}
services: {web: {image: ksahnine/dummy-http, args: [web], hosts: [a, b], replicas: 2}}
timeline:
  - launch: [a, b]
  - launch: {hosts: c, options: {password: other}}
  - connect: {from: a, to: [b, c]}
  - run: all
  - expect: {reachable: all, within: 20s}
  - expect: {exec: {host: a, command: "weave status connections | grep 192.168.0.3 | grep established"}, within: 5s}
  - exec: {host: a, command: "weave status connections | grep 192.168.0.4 | grep -v established"}
  - exec: {host: c, command: "weave status peers | grep established", expect: {code: 1}}
""")


def test_an_exposed_host_reaches_containers_and_is_reached_until_it_is_hidden() -> None:
    steps = """
  - exec: {host: a, command: ping -c 1 -W 1 10.0.1.2, expect: {code: 1}}
  - exec: {host: a, command: "weave expose 10.0.1.100/24 fd00::100/64 -h alpha.weave.local"}
  - exec: {host: a, command: ping -c 1 -W 1 10.0.1.2}
  - exec: {host: a, command: curl -s -m 3 http://10.0.1.2:8080/, expect: {stdout: right}}
  - exec: {host: a, command: ping -c 1 -W 1 10.9.1.2, expect: {code: 1}}
  - expect: {exec: {service: right, command: ping -c 1 -W 1 alpha.weave.local}, within: 2s}
  - exec: {host: a, command: ip addr show weave, expect: {stdout: "inet6 fd00::100/64"}}
  - kill: {daemon: a, for: 1s}
  - exec: {service: right, command: ping -c 1 -W 1 10.0.1.100}
  - wait: 3s
  - exec: {service: right, command: ping -c 1 -W 1 10.0.1.100}
  - exec: {host: a, command: weave hide 10.0.1.100/24}
  - exec: {service: right, command: ping -c 1 -W 1 10.0.1.100, expect: {code: 1}}
  - exec: {host: a, command: weave hide --all}
  - exec: {host: a, command: weave ps weave:expose, expect: {stdout: "^weave:expose [0-9a-f:]+$"}}
"""
    text = TWO.replace("[right], host: b", "[right], host: b, address: 10.0.1.2/24")
    valid(text.replace("[left], host: a", "[left], host: a, address: 10.0.1.1/24") % ("", "", steps))


def test_subnets_are_apart() -> None:
    steps = """
  - exec: {host: b, command: weave run 10.0.2.1/24 --name apart ksahnine/dummy-http apart}
  - exec: {host: a, command: weave run 10.0.2.2/24 --name other ksahnine/dummy-http other}
  - exec: {host: b, command: weave ps other, expect: {code: 1}}
  - expect: {exec: {service: left, command: ping -c 1 -W 1 10.0.1.2}, within: 2s}
  - exec: {service: left, command: ping -c 1 -W 1 10.0.2.2, expect: {code: 1}}
  - exec: {service: left, command: ping -c 1 -W 1 10.0.2.1, expect: {code: 1}}
  - attach: {service: left, address: 10.0.2.9/24}
  - expect: {exec: {service: left, command: ping -c 1 -W 1 10.0.2.1}, within: 2s}
"""
    text = TWO.replace("[right], host: b", "[right], host: b, address: 10.0.1.2/24")
    valid(text.replace("[left], host: a", "[left], host: a, address: 10.0.1.1/24") % ("", "", steps))


REFUSED = {
    "exec: {host: a, command: tcpdump -i eth0}": "timeline[0].exec: no simulated host has a command `tcpdump`",
    "exec: {host: a, command: 'for i in 1 2; do ping -c 1 b; done'}": "timeline[0].exec: `for i in 1 2`: the shell",
    "exec: {host: a, command: 'echo $(hostname)'}": "timeline[0].exec: `$(hostname)`",
    "exec: {service: own, command: [python3, -c, 'print(1)']}": "programs of one's own cannot be simulated",
    "exec: {service: own, command: weave status}": "`weave` is a command of hosts",
    "exec: {host: a, command: bash}": "an interactive shell cannot be simulated",
    "expect: {exec: {host: a, command: nmap b}}": "timeline[0].expect.exec: no simulated host",
    "expect: {http: {from: own, url: 'http://own.weave.local:80/', body: x}}": "cannot be simulated",
    "expect: {http: {from: own, url: 'http://own.weave.local/page', body: x}}": "cannot be simulated",
}


@pytest.mark.parametrize("step", REFUSED)
def test_refuses_by_step_and_reason_before_anything_starts(step: str) -> None:
    scenario = resolve(
        parse(f"""
version: 1
underlay: {{hosts: {{a: {{}}, b: {{}}}}}}
services: {{own: {{command: [my-server], port: 80, host: a}}}}
timeline:
  - {step}
""")
    )
    reasons = SimBackend().refuse(scenario)
    assert len(reasons) == 1 and REFUSED[step] in reasons[0] and reasons[0].startswith("timeline[0].")


def test_refuses_images() -> None:
    scenario = resolve(
        parse("""
version: 1
underlay: {hosts: {a: {}}}
services: {db: {image: postgres, host: a}}
timeline: [{wait: 1s}]
""")
    )
    assert [reason.partition(":")[0] for reason in SimBackend().refuse(scenario)] == ["services.db"]


ROUTED = """
version: 1
underlay:
  networks: {one: {subnet: 192.168.1.0/24}, two: {subnet: 192.168.2.0/24}}
  hosts: {a: {network: one}, b: {network: two}, c: {network: two}}
  routers: {gw: {networks: [one, two]%s}}
services:
  left: {image: ksahnine/dummy-http, args: [left], host: a}
  right: {image: ksahnine/dummy-http, args: [right], host: b}
timeline:
  - launch: all
  - connect: {from: a, to: [b, c]}
  - run: all
%s
"""


def test_a_router_forwards_and_what_goes_over_it_can_be_cut() -> None:
    steps = """
  - expect: {reachable: all, converged: all, within: 20s}
  - exec: {host: c, command: weave status connections, expect: {stdout: fastdp}}
  - exec: {host: b, command: ping -c 1 -W 1 a}
  - {partition: {groups: [[a], [b, c]]}, for: 5s}
  - expect: {unreachable: {from: left, to: right}, within: 3s}
  - expect: {reachable: all, converged: all, within: 15s}
"""
    valid(ROUTED % ("", steps))


def test_a_router_drops_what_it_filters() -> None:
    steps = """
  - exec: {host: a, command: ping -c 1 -W 1 b, expect: {code: 1}}
  - expect: {exec: {host: a, command: weave status connections, expect: {stdout: established}}, within: 5s}
  - wait: 5s
  - exec: {service: left, command: curl -s -m 3 http://right.weave.local:8080/, expect: {code: 28}}
"""
    # Control passes over TCP, and neither VXLAN nor the tunnel does.
    valid(ROUTED % (", drop: [udp, icmp]", steps))


def test_hosts_behind_a_translating_router_are_reached_by_answers_only() -> None:
    steps = """
  - exec: {host: a, command: ping -c 1 -W 1 b}
  - exec: {host: b, command: ping -c 1 -W 1 a, expect: {code: 1}}
  - expect: {reachable: all, within: 20s}
  - exec: {host: b, command: "weave status connections | grep -F 192.168.2.1:"}
"""
    valid(ROUTED % (", nat: one", steps))


def test_block_stops_what_it_names_and_nothing_else() -> None:
    steps = """
  - {block: {tcp: 6783, hosts: all}, for: 20s}
  - exec: {host: a, command: ping -c 1 -W 1 b}
  - exec: {host: b, command: weave run --name late ksahnine/dummy-http late}
  - wait: 2s
  - exec: {host: a, command: "weave dns-lookup late | grep .", expect: {code: 1}}
  - expect: {reachable: all, within: 3s}
  - expect: {exec: {host: a, command: weave status connections | grep established, expect: {code: 1}}, within: 18s}
  - expect: {converged: all, within: 30s}
  - exec: {host: a, command: "weave dns-lookup late | grep ."}
"""
    valid(TWO % ("", "", steps))


def test_full_packets_vanish_above_the_mtu_on_every_overlay() -> None:
    files = "  files: {command: [sh, -c, 'cd /tmp; head -c 100000 /dev/zero > big; exec python3 -m http.server 9000'], "
    services = TWO.replace("services:\n", f"services:\n{files}host: b, port: 9000, address: 10.0.9.2/24}}\n")
    services = services.replace("[left], host: a", "[left], host: a, address: 10.0.9.1/24")
    services = services.replace("[right], host: b", "[right], host: b, address: 10.0.9.3/24")
    fetch = 'exec: {service: left, command: "curl -s -m 4 -o /dev/null -w %%{size_download} http://10.0.9.2:9000/big"'
    steps = f"""
  - {fetch}, expect: {{stdout: ^100000$}}}}
  - mtu: {{to: 1300, for: 10s}}
  - {fetch}, expect: {{code: 28}}}}
  - wait: 8s
  - {fetch}, expect: {{stdout: ^100000$}}}}
""".replace("%%", "%")
    # A static VXLAN knows no other way; the overlay's tunnel takes over while the fetch goes on.
    valid(services % ("overlay: vxlan", "", steps))
    valid(services % ("", "", steps.replace("code: 28", "stdout: ^100000$")))


def test_what_runs_on_a_host_dies_with_it() -> None:
    backend = SimBackend()

    async def work() -> int:
        lab = await backend.up(resolve(parse("version: 1\nunderlay: {hosts: {a: {}}}\ntimeline: [{wait: 1s}]\n")))
        sleeping = asyncio.create_task(lab.hosts["a"].exec(["sleep", "3"]))
        await lab.sleep_until(lab.now() + 1000 * MS)
        await lab.hosts["a"].kill()
        return (await sleeping).code

    assert backend.run(work()) == 137


@pytest.mark.parametrize(
    "command",
    ["weave stop; sleep 1", "weave stop && true", "weave stop || true", "true\\nweave stop", "sh -c 'weave stop'"],
)
def test_a_daemon_that_a_command_stops_has_not_crashed(command: str) -> None:
    steps = f"""
  - exec: {{host: a, command: "{command}"}}
  - wait: 3s
  - exec: {{host: a, command: weave launch b}}
  - wait: 2s
"""
    valid(TWO % ("", "", steps))

"""Written by `make schema` from the registry of verbs; a test compares. Do not edit."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.records.history import Event

class VerbMethods:
    def do(self, verb: str, /, *short: Any, **arguments: Any) -> Event: ...
    def launch(
        self,
        *short: Any,
        hosts: str | Sequence[Any] | None = None,
        options: Mapping[str, Any] | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `launch: all`, `launch: [a, b]`, `{hosts, options}`: start the overlay on hosts"""
    def connect(
        self,
        *short: Any,
        from_: str | None = None,
        to: str | Sequence[Any] | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `connect: all`: the first host connects to every other; or `{from: a, to: [b, c]}`"""
    def forget(
        self,
        *,
        from_: str | None = None,
        to: str | Sequence[Any] | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `forget: {from, to}`: undo a `connect`"""
    def run(
        self,
        *short: Any,
        services: str | Sequence[Any] | None = None,
        ipam: bool | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `run: all`, `run: [svc1]`: start services; with `{services, ipam: true}` the overlay chooses
        the addresses, even if a service sets one"""
    def attach(
        self,
        *short: Any,
        service: str | None = None,
        address: str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `attach: svc1`, `{service, address}`: give the containers of a service one more address"""
    def detach(
        self,
        *short: Any,
        service: str | None = None,
        address: str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `detach: svc1`, `{service, address}`: take one address from the containers of a service, or
        all of them"""
    def policy(
        self,
        *short: Any,
        rule: str | None = None,
        host: str | None = None,
        remove: bool | None = None,
        force: bool | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `policy: deny from all to db`, `{host, rule, remove: true}`: `weave deny` or `weave allow` on
        `host`, by default the first host (docs/policy.md); `force: true` sets a policy even if it matches no
        container yet. `converged` then expects what the policies allow"""
    def exec(
        self,
        *,
        host: str | None = None,
        service: str | None = None,
        command: str | Sequence[Any] | None = None,
        timeout: int | str | None = None,
        expect: str | Mapping[str, Any] | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `exec: {host or service, command, expect: {code, stdout}}`: run a command; `stdout` is a
        regular expression that must match somewhere in its output, in [RE2's
        syntax](https://github.com/google/re2/wiki/Syntax) (linear time). An expression that only Python's `re`
        supports (lookahead, `\1`) works too; matching stops at the step's `timeout`"""
    def partition(
        self,
        *,
        groups: str | Sequence[Any] | None = None,
        one_way: str | Mapping[str, Any] | None = None,
        isolate: str | Sequence[Any] | None = None,
        bridge: str | None = None,
        ring: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `partition: {…, for: 10s}`: cut the underlay, see below"""
    def heal(
        self,
        *short: Any,
        what: str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `heal: all`: end all partitions, and all `link`, `trace` and `flap`"""
    def link(
        self,
        *,
        delay: int | str | None = None,
        jitter: int | str | None = None,
        distribution: str | None = None,
        correlation: float | str | None = None,
        ordered: bool | None = None,
        loss: float | str | None = None,
        loss_correlation: float | str | None = None,
        burst: str | Mapping[str, Any] | None = None,
        duplicate: float | str | None = None,
        reorder: float | str | None = None,
        corrupt: float | str | None = None,
        rate: int | str | None = None,
        queue: str | Mapping[str, Any] | None = None,
        mtu: int | str | None = None,
        from_: str | Sequence[Any] | None = None,
        to: str | Sequence[Any] | None = None,
        both: bool | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `link: {from: a, to: b, delay: 50ms, loss: 1%, rate: 1mbit, both: true, for: 10s}`: change
        parameters of links; the others stay, see docs/links.md. Ends with `for` or `heal`"""
    def trace(
        self,
        *,
        from_: str | Sequence[Any] | None = None,
        to: str | Sequence[Any] | None = None,
        both: bool | None = None,
        file: str | None = None,
        loop: bool | None = None,
        queue: str | Mapping[str, Any] | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `trace: {file: lte.trace, from: a, to: b, for: 60s}`: a link changes as a file says: a
        Mahimahi trace of packet deliveries, or CSV with `time` and columns of link parameters, see docs/links.md;
        ends with `for` or `heal`"""
    def flap(
        self,
        *,
        host: str | None = None,
        network: str | None = None,
        between: str | Sequence[Any] | None = None,
        every: int | str | None = None,
        down: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `flap: {host: a, every: 2s, down: 500ms, for: 10s}`, `{between: [a, b], …}`: unplug the cables
        of a host (or only its cable to `network`) again and again, so that the host loses the carrier; or cut the
        path between two hosts. Each period of `every` begins with `down` (by default half of it) unplugged; without
        `every` unplugged until the end. Ends with `for` or `heal`"""
    def block(
        self,
        *,
        udp: int | str | None = None,
        tcp: int | str | None = None,
        hosts: str | Sequence[Any] | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `block: {udp: 6784, hosts: all, for: 10s}`: drop a protocol (`udp` or `tcp`), one port of it
        or `all`, between these hosts"""
    def mtu(
        self,
        *,
        to: int | str | None = None,
        hosts: str | Sequence[Any] | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `mtu: {to: 1200, hosts: all, for: 10s}`: packets above that size are dropped between these
        hosts, without ICMP. On real packets offloads are off meanwhile, so that the size of packets on the wire
        counts"""
    def kill(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        engine: str | None = None,
        live_restore: bool | None = None,
        farewell: bool | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `kill: {daemon: a}`, `{host: a}`, `{engine: a}`, `{service: s}`: SIGKILL to the overlay's
        daemon (also `kill: a`), power off a host, SIGKILL to its container engine, or kill containers; with `for`
        they start again by themselves. With `farewell: true` a daemon stops in good order. With `live_restore:
        true` an engine that is back takes over its containers, else it ends them, see below"""
    def restart(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        engine: str | None = None,
        live_restore: bool | None = None,
        farewell: bool | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `restart:` the same: start the daemon, host (with its containers), engine or containers again.
        An engine that runs is ended by SIGTERM first, as by `systemctl restart docker`"""
    def churn(
        self,
        *,
        rate: int | str | None = None,
        every: int | str | None = None,
        kind: str | None = None,
        hosts: str | Sequence[Any] | None = None,
        target: str | None = None,
        crash: float | str | None = None,
        downtime: int | str | None = None,
        keep: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `churn: {rate: 2/s, …}` with `for`: peers leave and join at a rate, see below"""
    def slow_disk(
        self,
        *,
        host: str | None = None,
        latency: int | str | None = None,
        full: bool | None = None,
        torn: bool | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `slow_disk: {host: a, latency: 200ms}`, `{host: a, full: true}`, `{host: a, torn: true}`:
        every synced write takes `latency`, or the disk is full; ends with `for`. With `torn` the disk confirms
        syncs that it has not done: data written meanwhile is torn if the host loses power (`kill: {host: a}`)"""
    def clock(
        self,
        *,
        host: str | None = None,
        offset: int | str | None = None,
        drift_ppm: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `clock: {host: a, offset: 3s, drift_ppm: 200}`: the host's clock is ahead by `offset` and
        drifts; `for` ends the drift, but the clock keeps its error"""
    def scale(
        self,
        *,
        service: str | None = None,
        to: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `scale: {service, to: 6}`: start or remove replicas until there are `to`; the highest numbers
        are removed first"""
    def move(
        self,
        *,
        service: str | None = None,
        to: str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `move: {service, to: host2}`: remove the only container of a service and start it on another
        host, with its address if the service sets one; otherwise the overlay chooses a new one"""
    def remove(
        self,
        *short: Any,
        services: str | Sequence[Any] | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `remove: all`, `remove: [svc1]`: remove all containers of services"""
    def reset(
        self,
        *short: Any,
        hosts: str | Sequence[Any] | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `reset: all`: `weave reset`"""
    def rmpeer(
        self,
        *,
        hosts: str | Sequence[Any] | None = None,
        peers: str | Sequence[Any] | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `rmpeer: {hosts: a, peers: b}`: tell `hosts` (by `weave rmpeer`) that the peers of the hosts
        `peers` will never come back; their addresses are taken over. They must be down, and it must have been
        noticed. Such a host is usable again after a `reset`"""
    def expect(
        self,
        *,
        reachable: str | Mapping[str, Any] | None = None,
        unreachable: str | Mapping[str, Any] | None = None,
        converged: str | None = None,
        dns: str | Mapping[str, Any] | None = None,
        http: str | Mapping[str, Any] | None = None,
        exec: str | Mapping[str, Any] | None = None,
        status: str | None = None,
        within: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `expect: {…}`: wait until a condition is true; the step fails if it does not come true in
        time, see below"""
    def wait(
        self,
        *short: Any,
        at: str | None = None,
    ) -> Event:
        """In a scenario `wait: 2s`: let time pass"""
    def address(
        self,
        *,
        host: str | None = None,
        to: str | None = None,
        network: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `address: {host: a, to: 192.168.0.99, for: 20s}`: replace the underlay address of a running
        host (`network` says in which of its networks), and update /etc/hosts; with `for` the old address comes back"""
    def cable(
        self,
        *,
        delay: int | str | None = None,
        jitter: int | str | None = None,
        distribution: str | None = None,
        correlation: float | str | None = None,
        ordered: bool | None = None,
        loss: float | str | None = None,
        loss_correlation: float | str | None = None,
        burst: str | Mapping[str, Any] | None = None,
        duplicate: float | str | None = None,
        reorder: float | str | None = None,
        corrupt: float | str | None = None,
        rate: int | str | None = None,
        queue: str | Mapping[str, Any] | None = None,
        mtu: int | str | None = None,
        between: str | Sequence[Any] | None = None,
        down: bool | None = None,
        routes: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `cable: {between: [A, B], down: true, for: 10s}`, `cable: {between: [A, B], delay: 50ms, loss:
        1%}`: break the cables between two nodes of the topology, or change their parameters. Routes go around what
        is down; with `routes: static` they do not. Ends with `for` or `heal`"""
    def capture(
        self,
        *short: Any,
        on: str | Sequence[Any] | None = None,
        filter: str | None = None,
        interfaces: str | Sequence[Any] | None = None,
        name: str | None = None,
        limit: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `capture: a`, `{on: [a, web, a->b], filter: udp port 6783, name: wire, limit: 10MB}` with
        `for`: write the packets of hosts, containers or pairs of hosts into `captures/NAME.pcapng` of the run
        directory, with the steps of the timeline as comments; ends with `for`, at `limit` (100 MB) or with the run.
        `filter` is a tcpdump expression, `interfaces` are names or `any`. On `sim` the packets are made from what
        simulated hosts send. See [capture.md](capture.md)"""
    def load(
        self,
        *,
        from_: str | Sequence[Any] | None = None,
        to: str | Sequence[Any] | None = None,
        rate: int | str | None = None,
        by: str | None = None,
        timeout: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `load: {from: client, to: web, rate: 200/s, by: http}` with `for`: send requests (`http`,
        `icmp`, `udp`) at `rate` from all containers of `from` together, whether they are answered or not (open
        loop); ends with `for`. Latency counts from when a request was due. See below"""
    def pause(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `pause: {daemon: a}`, `{host: a}`, `{service: s}`: SIGSTOP to the overlay's daemon (also
        `pause: a`), to all processes of a host, or to containers; with `for` they continue by themselves. The
        kernel is not paused: it forwards and answers pings. Whether a paused container or peer answers is not
        judged"""
    def publish(
        self,
        *,
        from_: str | Sequence[Any] | None = None,
        messages: int | str | None = None,
        every: int | str | None = None,
        size: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `publish: {from: a, messages: 50, every: 100ms, size: 100}`: members of a protocol
        ([docs/protocols.md](protocols.md)) bring this number of messages of `size` bytes to all, each host of
        `from` in turn; the step ends with the last one"""
    def resume(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `resume:` the same: SIGCONT: the paused processes continue"""
    def stress(
        self,
        *,
        host: str | None = None,
        cores: float | str | None = None,
        percent: float | str | None = None,
        memory: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `stress: {host: a, cores: 2, memory: 64MiB}`, `{host: a, percent: 80%}`: processes of normal
        priority on a host use `cores` cores (or `percent` of all cores) and hold `memory`; ends with `for`. The
        loads of several steps add up. On `sim` the daemon gets its share of the cores of `underlay.machine` (by
        default 2 cores and 50 µs a message)"""

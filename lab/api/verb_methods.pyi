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
        """In a scenario `forget: {from, to}`: undo that"""
    def run(
        self,
        *short: Any,
        services: str | Sequence[Any] | None = None,
        ipam: bool | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `run: all`, `run: [svc1]`: start services; `{services, ipam: true}`: with addresses of the
        overlay's choice, whatever the service says"""
    def attach(
        self,
        *short: Any,
        service: str | None = None,
        address: str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `attach: svc1`, `{service, address}`: one more address for its containers"""
    def detach(
        self,
        *short: Any,
        service: str | None = None,
        address: str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `detach: svc1`, `{service, address}`: one address less, or all of them"""
    def policy(
        self,
        *short: Any,
        rule: str | None = None,
        host: str | None = None,
        remove: bool | None = None,
        force: bool | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `policy: deny from all to db`, `{host, rule, remove: true}`: `weave deny` or `allow` on a
        host, the first one if none is named (docs/policy.md); `force: true` sets one that names nobody yet. What
        `converged` demands follows"""
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
        knows (lookahead, `\1`) works too, and is given up at the step's `timeout`"""
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
        correlation: int | str | None = None,
        ordered: bool | None = None,
        loss: int | str | None = None,
        loss_correlation: int | str | None = None,
        burst: str | Mapping[str, Any] | None = None,
        duplicate: int | str | None = None,
        reorder: int | str | None = None,
        corrupt: int | str | None = None,
        rate: int | str | None = None,
        queue: str | Mapping[str, Any] | None = None,
        mtu: int | str | None = None,
        from_: str | Sequence[Any] | None = None,
        to: str | Sequence[Any] | None = None,
        both: bool | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `link: {from: a, to: b, delay: 50ms, loss: 1%, rate: 1mbit, both: true, for: 10s}`: links
        change while they run, parameter by parameter, see docs/links.md; ends with `for` or `heal`"""
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
        """In a scenario `trace: {file: lte.trace, from: a, to: b, for: 60s}`: a link follows a file: a Mahimahi trace
        of packet deliveries, or CSV with `time` and columns of a link's parameters, see docs/links.md; ends with
        `for` or `heal`"""
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
        """In a scenario `flap: {host: a, every: 2s, down: 500ms, for: 10s}`, `{between: [a, b], …}`: the cables of a
        host (of one `network`) are pulled and plugged in, and the host sees the carrier go; or the way between two
        hosts is cut. Down for `down` (half) of each `every`, from the start; without `every` all the time. Ends
        with `for` or `heal`"""
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
        """In a scenario `mtu: {to: 1200, hosts: all, for: 10s}`: packets above that size vanish between these hosts,
        without ICMP. On real packets offloads are off meanwhile, so that wire packets count"""
    def kill(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `kill: {daemon: a}`, `{host: a}`, `{service: s}`: SIGKILL of the overlay's daemon (also `kill:
        a`), power off a host, kill containers; with `for` restarted by itself"""
    def restart(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `restart:` the same: start it again; a host's containers too"""
    def churn(
        self,
        *,
        rate: int | str | None = None,
        every: int | str | None = None,
        kind: str | None = None,
        hosts: str | Sequence[Any] | None = None,
        target: str | None = None,
        crash: int | str | None = None,
        downtime: int | str | None = None,
        keep: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `churn: {rate: 2/s, …}` with `for`: peers leave and join, see below"""
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
        every synced write takes so long, or there is no room; with `for` until then. With `torn` the disk lies
        about syncs: what is written meanwhile is torn if the host's power is cut (`kill: {host: a}`)"""
    def clock(
        self,
        *,
        host: str | None = None,
        offset: int | str | None = None,
        drift_ppm: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `clock: {host: a, offset: 3s, drift_ppm: 200}`: the host's clock is ahead and drifts; with
        `for` the drift ends, what it gained it keeps"""
    def scale(
        self,
        *,
        service: str | None = None,
        to: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `scale: {service, to: 6}`: start or remove replicas, those with the highest numbers first"""
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
    def expect(
        self,
        *,
        reachable: str | Mapping[str, Any] | None = None,
        unreachable: str | Mapping[str, Any] | None = None,
        converged: str | None = None,
        dns: str | Mapping[str, Any] | None = None,
        http: str | Mapping[str, Any] | None = None,
        exec: str | Mapping[str, Any] | None = None,
        within: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `expect: {…}`: something must come true, see below"""
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
        """In a scenario `address: {host: a, to: 192.168.0.99, for: 20s}`: the host's underlay address is replaced
        while it runs (`network` says in which of its networks); names in /etc/hosts follow, and with `for` the old
        address comes back"""
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
        """In a scenario `load: {from: client, to: web, rate: 200/s, by: http}` with `for`: so many requests (`http`,
        `icmp`, `udp`) a second from all of `from` together, whether they are answered or not (open loop); with
        `for` until then. Times count from when a request was due. See below"""
    def pause(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `pause: {daemon: a}`, `{host: a}`, `{service: s}`: SIGSTOP of the overlay's daemon (also
        `pause: a`), of all processes of a host, of containers; with `for` they go on by themselves. The kernel goes
        on: it forwards, and answers pings. A container or peer that is paused is neither expected to answer nor not
        to"""
    def resume(
        self,
        *short: Any,
        daemon: str | None = None,
        host: str | None = None,
        service: str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `resume:` the same: SIGCONT: what was paused goes on"""
    def stress(
        self,
        *,
        host: str | None = None,
        cores: int | str | None = None,
        percent: int | str | None = None,
        memory: int | str | None = None,
        for_: int | str | None = None,
        at: str | None = None,
    ) -> Event:
        """In a scenario `stress: {host: a, cores: 2, memory: 64MiB}`, `{host: a, percent: 80%}`: so many cores' worth
        of a host's processors (or such a part of all of them) is taken by processes of normal priority, and so much
        memory is held; with `for` until then. Of several the loads add up. On `sim` the daemon gets its share of
        `machine`'s cores (2 of 50 µs a message unless the underlay says others)"""

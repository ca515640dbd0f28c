"""The abilities of backends: the rows of the table of backends, and the words by which steps require them.

Owns the list. Each backend's kind says for every row how it does it (`can`), or why not (`lacks`); its refusals, the
table in docs/scenarios.md and a verb's `needs` use these words. Knows no backend and no verb.
"""

from collections.abc import Mapping

__all__ = ["ABILITIES"]

ABILITIES: Mapping[str, str] = {
    "hosts": "hosts, several networks, `edges`, `generate`",
    "topology": "topologies (`topology`, `file`, topohub), `cable` steps",
    "routers": "`routers`",
    "nat": "kinds of `nat`",
    "cuts": "partitions of every form",
    "obstacles": "`block`, `mtu` steps",
    "drops": "links: `loss`, `mtu`",
    "rates": "links: `rate`",
    "delays": "links: `delay`, `jitter`, `distribution`, `duplicate`, `reorder`, `corrupt`, `burst`",
    "models": "links: `correlation`, `ordered`, files of delays",
    "links": "`link`, `trace` steps",
    "carrier": "`flap` of a host",
    "machine": "`underlay.machine`",
    "power": "`kill`, `restart` of daemons, hosts, containers; `churn`, `scale`, `attach` …",
    "engine": "`kill`, `restart` of an `engine`",
    "live-restore": "the same with `live_restore`",
    "signals": "`pause`, `resume`",
    "stress": "`stress`",
    "disk": "`slow_disk`: `latency`, `torn`",
    "full": "`slow_disk`: `full`",
    "clock": "`clock`",
    "address": "`address`",
    "packets": "`capture`",
    "join": "`lab add host`, `lab remove host`",
    "probes": "the lab's own probes, `load`",
    "foreign-probes": "probes of other packages",
    "overlays": "overlays `weave`, `vxlan`, `none`",
    "password": "`password` of the overlay",
    "images": "services with an `image`",
    "commands": "services with a `command`",
    "exec": "`exec`, `expect: exec`",
    "own-answers": "`expect: http` to a service with a `command`",
    "standing": "`lab up`, `--keep`, `lab exec`, `lab shell`",
    "repeat": "repeat a run",
}
"""Ability -> its form in a scenario (Markdown)."""
